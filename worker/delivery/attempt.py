"""One attempt to send a letter."""

from collections.abc import Iterable
from dataclasses import dataclass

from worker.delivery.case import LetterCase
from worker.delivery.ledger import HandOver
from worker.delivery.ways import Way
from worker.domain.letters import ComposedLetter
from worker.domain.providers import provider_of


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a letter: what was sent on which way, and what the ledger noted before the dot."""

    item: LetterCase
    composed: ComposedLetter
    way: Way
    hand_over: HandOver

    def positions(self, addresses: Iterable[str]) -> tuple[int, ...]:
        """The positions of addresses as they stand in the envelope."""
        of_address = dict(zip(self.composed.envelope_to, self.item.letter.envelope, strict=True))
        return tuple(sorted(of_address[address] for address in addresses))

    def position(self, address: str) -> int:
        return self.positions((address,))[0]

    @property
    def provider(self) -> str:
        """Name of the provider that the letter leaves through."""
        mailbox = self.item.case.sender.mailbox
        return provider_of(mailbox.smtp.host).name if mailbox else "platform"
