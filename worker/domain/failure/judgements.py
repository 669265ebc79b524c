"""What a failure can mean: reason, scope and action, and the functions that state them in tables of rules."""

from dataclasses import dataclass
from enum import Enum

from worker.domain.vocabulary import Action, Reason, Scope

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Remedy(Enum):
    """A better remedy where the reason's own hint would mislead."""

    ADDRESS = "correct the recipient's address"
    EHLO_NAME = "the operator gives the worker a name that is a domain"
    MECHANISM = "name another way to sign in"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a failure means; `pause_s` in seconds, for the action `pause`."""

    reason: Reason
    scope: Scope
    action: Action
    pause_s: int | None = None
    remedy: Remedy | None = None


def suspend(reason: Reason, remedy: Remedy | None = None) -> Judgement:
    """It will not pass by itself: the mailbox is suspended until someone acts."""
    return Judgement(reason, Scope.MAILBOX, Action.SUSPEND, remedy=remedy)


def pause(reason: Reason, pause_s: int) -> Judgement:
    """The mailbox cools down; its letters lose no attempt."""
    return Judgement(reason, Scope.MAILBOX, Action.PAUSE, pause_s)


def fail(reason: Reason, scope: Scope = Scope.MESSAGE, remedy: Remedy | None = None) -> Judgement:
    """Another attempt would end the same way."""
    return Judgement(reason, scope, Action.FAIL, remedy=remedy)


def retry(reason: Reason, scope: Scope = Scope.MESSAGE, remedy: Remedy | None = None) -> Judgement:
    """It may pass by itself."""
    return Judgement(reason, scope, Action.RETRY, remedy=remedy)
