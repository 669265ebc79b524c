"""How copies stand to their objective: each line of what docs/slo.md says about them."""

from typing import Any

import pytest

from tests.builders import NOON
from worker.delivery.ports import SavedCopy
from worker.delivery.sent_copy.results import copy_promptness
from worker.domain.failure.classify import Classification
from worker.domain.slo import Promptness
from worker.domain.vocabulary import Action, CopyOutcome, Reason, Scope
from worker.domain.work import Work


def judged(
    outcome: CopyOutcome, seconds: float, reason: Reason | None = None, scope: Scope = Scope.MAILBOX, **work: Any
) -> Promptness | None:
    why = Classification(reason, scope, Action.FAIL) if reason else None
    return copy_promptness(SavedCopy(outcome), seconds, Work(NOON, **work), why)


@pytest.mark.parametrize("outcome", [CopyOutcome.SAVED, CopyOutcome.ALREADY_THERE])
def test_a_saved_copy_counts_unless_its_folder_kept_it_waiting(outcome: CopyOutcome) -> None:
    assert judged(outcome, 300) is Promptness.IN_TIME
    assert judged(outcome, 301) is Promptness.LATE
    assert judged(outcome, 301, last_reason="connect_failed") is Promptness.EXCUSED
    assert judged(outcome, 301, turn=NOON) is Promptness.EXCUSED
    assert judged(outcome, 299, last_reason="connect_failed") is Promptness.IN_TIME


@pytest.mark.parametrize("outcome", [CopyOutcome.TURNED_OFF, CopyOutcome.PROVIDER_SAVES, CopyOutcome.NO_IMAP])
def test_a_copy_that_nobody_wanted_does_not_count(outcome: CopyOutcome) -> None:
    assert judged(outcome, 0) is None
    assert copy_promptness(SavedCopy(outcome), 0, None, None) is None


def test_a_copy_that_no_folder_would_have_taken_is_excused() -> None:
    assert judged(CopyOutcome.NO_FOLDER, 5) is Promptness.EXCUSED
    assert judged(CopyOutcome.FAILED, 5, Reason.AUTH_FAILED) is Promptness.EXCUSED
    assert judged(CopyOutcome.FAILED, 90_000, Reason.EXPIRED, last_reason="mailbox_full") is Promptness.EXCUSED


def test_a_copy_is_lost_by_us_when_the_folder_is_not_to_blame() -> None:
    """If it expired while it waited for us, met a mistake of ours, or is too large for the broker, then we lost it."""
    assert judged(CopyOutcome.FAILED, 90_000, Reason.EXPIRED) is Promptness.LOST
    assert judged(CopyOutcome.FAILED, 5, Reason.INTERNAL_ERROR, Scope.PLATFORM) is Promptness.LOST
    too_large = Classification(Reason.MESSAGE_TOO_LARGE, Scope.MESSAGE, Action.FAIL)
    assert copy_promptness(SavedCopy(CopyOutcome.FAILED), 0, None, too_large) is Promptness.LOST
