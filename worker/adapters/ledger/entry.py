"""An entry as an operator sees it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.delivery.ledger import HandOver
from worker.domain.vocabulary import Outcome


class State(StrEnum):
    """How far a recipient's entry has come."""

    CLAIMED = "claimed"
    HANDED_OVER = "handed_over"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger knows of one recipient; `owner` is who had it last, None when it was let go or is forgotten."""

    recipient: int
    state: State
    account_id: str
    owner: str | None
    is_owner_alive: bool
    claimed_at: datetime
    hand_over: HandOver | None
    outcome: Outcome | None = None
    result_id: str | None = None
    recorded_at: datetime | None = None

    @property
    def is_in_doubt(self) -> bool:
        """Handed over, and nobody living is busy finding out what became of it."""
        return self.state is State.HANDED_OVER and not self.is_owner_alive


def hand_overs_of(entries: Iterable[Entry]) -> dict[int, HandOver | None]:
    """The hand-overs of one event's entries, by recipient."""
    return {entry.recipient: entry.hand_over for entry in entries}
