"""The moment of the final dot: noted durably before it, and known for certain when it was never written."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.delivery.case import LetterCase
from worker.delivery.ledger import HandOver, Ledger
from worker.domain.letters import ComposedLetter


@dataclass(slots=True)
class FinalDot:
    """What a transport awaits before it writes the dot (`ports.BeforeFinalDot`).

    While `is_allowed` is False the dot was not written, whatever else happened: also when the ledger did not answer,
    and so may have noted a hand-over that then did not take place. Only those recipients are noted whom the server
    accepted: the others get nothing by this dot, and must not be in doubt after a crash.
    """

    ledger: Ledger
    event_key: str
    envelope: Mapping[str, int]
    note: HandOver
    is_allowed: bool = False

    @property
    def positions(self) -> tuple[int, ...]:
        """All of the letter's recipients, accepted or not."""
        return tuple(self.envelope.values())

    async def __call__(self, accepted: Collection[str]) -> None:
        positions = sorted(self.envelope[address] for address in accepted)
        await self.ledger.hand_over(self.event_key, positions, self.note)
        self.is_allowed = True


def hand_over_of(item: LetterCase, composed: ComposedLetter, at: datetime) -> HandOver:
    """What the ledger is to know of a letter that is about to be sent."""
    mailbox = item.case.sender.mailbox
    return HandOver(
        account_id=item.case.event.data.account_id,
        mailbox_id=mailbox.id if mailbox else None,
        message_id=composed.message_id,
        attempt=item.case.attempt,
        at=at,
    )
