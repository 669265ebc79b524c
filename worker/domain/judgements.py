"""What a failure can mean: reason, scope and action together, and how to say them in the tables of rules."""

from dataclasses import dataclass

from worker.domain.vocabulary import Action, Reason, Scope

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a failure means; `pause_s` in seconds, for the action `pause`."""

    reason: Reason
    scope: Scope
    action: Action
    pause_s: int | None = None


def suspend(reason: Reason) -> Judgement:
    """Nothing changes by itself: the mailbox stops until somebody acts."""
    return Judgement(reason, Scope.MAILBOX, Action.SUSPEND)


def pause(reason: Reason, pause_s: int) -> Judgement:
    """The mailbox rests; its letters lose no attempt."""
    return Judgement(reason, Scope.MAILBOX, Action.PAUSE, pause_s)


def fail(reason: Reason, scope: Scope = Scope.MESSAGE) -> Judgement:
    """Another attempt would end in the same way."""
    return Judgement(reason, scope, Action.FAIL)


def retry(reason: Reason, scope: Scope = Scope.MESSAGE) -> Judgement:
    """It may pass by itself."""
    return Judgement(reason, scope, Action.RETRY)
