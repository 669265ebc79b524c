"""One attempt to send a letter."""

from collections.abc import Iterable
from dataclasses import dataclass

from worker.delivery.case import LetterCase
from worker.delivery.ledger import HandOver
from worker.delivery.ways import Way
from worker.domain.letters import ComposedLetter
from worker.domain.provider_ids import rewritten_message_id
from worker.domain.providers import provider_of
from worker.domain.transmission import Transmission


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a letter: what was sent on which way, and what the ledger noted before the dot."""

    item: LetterCase
    composed: ComposedLetter
    way: Way
    hand_over: HandOver

    def positions_by_address(self) -> dict[str, int]:
        """The position of each address of the envelope."""
        return dict(zip(self.composed.envelope_to, self.item.letter.envelope, strict=True))

    def positions(self, addresses: Iterable[str]) -> tuple[int, ...]:
        """The positions of addresses as they stand in the envelope."""
        of_address = self.positions_by_address()
        return tuple(sorted(of_address[address] for address in addresses))

    def provider_message_id(self, transmission: Transmission) -> str | None:
        """The Message-ID that the server gave the letter in the place of its own, where it said so."""
        mailbox, reply = self.item.case.sender.mailbox, next(iter(transmission.accepted.values()), None)
        if mailbox is None or reply is None:
            return None
        host = mailbox.smtp.host
        return rewritten_message_id(reply, self.composed.message_id, provider_of(host), host)

    @property
    def provider(self) -> str:
        """Name of the provider that the letter leaves through."""
        mailbox = self.item.case.sender.mailbox
        return provider_of(mailbox.smtp.host).name if mailbox else "platform"
