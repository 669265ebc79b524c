"""How a copy that came to its end stands to its objective."""

from worker.delivery.ports import SavedCopy
from worker.domain.classification import Classification
from worker.domain.objectives import COPY_WITHIN_S, Promptness, is_end_excused, is_wait_excused, promptness
from worker.domain.vocabulary import CopyOutcome
from worker.domain.work import Work

_SAVED = frozenset({CopyOutcome.SAVED, CopyOutcome.ALREADY_THERE})
_NOT_WANTED = frozenset({CopyOutcome.TURNED_OFF, CopyOutcome.PROVIDER_SAVES, CopyOutcome.NO_IMAP})


def copy_promptness(
    saved: SavedCopy, seconds: float, work: Work | None, why: Classification | None
) -> Promptness | None:
    """The copy's standing so many seconds after its letter; None when no copy was wanted.

    `work` None: it was not even asked for, because it is too large for the broker. That is our limit, not the folder's.
    """
    if saved.outcome in _NOT_WANTED:
        return None
    if work is None:
        return Promptness.LOST
    was_waiting = is_wait_excused(work.last_reason, has_turn=work.turn is not None)
    if saved.outcome in _SAVED:
        return promptness(seconds, COPY_WITHIN_S, is_excused=was_waiting)
    # Without a folder, or with one that refuses, there is nothing that would have taken the copy.
    is_excused = why is None or is_end_excused(why, is_wait_excused=was_waiting)
    return promptness(None, COPY_WITHIN_S, is_excused=is_excused)
