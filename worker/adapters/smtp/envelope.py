"""The envelope of a letter as SMTP commands."""

from dataclasses import dataclass
from typing import Self

from worker.adapters.smtp.session import Session
from worker.domain.addresses import parse_address
from worker.domain.letters import ComposedLetter
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import Phase

_NO_SMTPUTF8 = "the server takes only ASCII before the @ of an address: it does not offer SMTPUTF8"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sender, and recipients by the key that the caller knows them by; addresses in the form for the wire.

    Everything is checked before the first command: an address that fails after MAIL leaves a transaction open.
    """

    sender: str
    recipients: dict[str, str]
    size_bytes: int
    is_8bit: bool
    needs_smtputf8: bool

    @classmethod
    def of(cls, letter: ComposedLetter) -> Self:
        """The letter's envelope. Raises ValueError for a letter that can be sent nowhere: the caller's mistake."""
        if not letter.envelope_to:
            raise ValueError("the letter has no recipient")
        sender = parse_address(letter.envelope_from)
        recipients = {text: parse_address(text) for text in letter.envelope_to}
        return cls(
            sender=sender.wire,
            recipients={text: address.wire for text, address in recipients.items()},
            size_bytes=len(letter.wire),
            is_8bit=not letter.wire.isascii(),
            needs_smtputf8=letter.needs_smtputf8
            or any(address.needs_smtputf8 for address in (sender, *recipients.values())),
        )

    def impediment(self, session: Session) -> Trouble | None:
        """Why this server cannot take the letter at all, from what it announced."""
        limit_bytes = session.max_letter_bytes
        if limit_bytes is not None and self.size_bytes > limit_bytes:
            detail = f"the letter has {self.size_bytes} bytes, the server takes {limit_bytes}"
            return Trouble(Phase.MAIL, Fault.TOO_LARGE, detail=detail)
        if self.needs_smtputf8 and not session.offers("smtputf8"):
            return Trouble(Phase.MAIL, Fault.NO_SMTPUTF8, detail=_NO_SMTPUTF8)
        return None

    def mail_command(self, session: Session) -> bytes:
        """MAIL with the parameters that the server offers (RFC 1870, 6152, 6531)."""
        command = f"MAIL FROM:<{self.sender}>"
        if session.offers("size"):
            command += f" SIZE={self.size_bytes}"
        if self.needs_smtputf8:
            command += " SMTPUTF8"
        if (self.is_8bit or self.needs_smtputf8) and session.offers("8bitmime"):
            command += " BODY=8BITMIME"
        return command.encode()

    def rcpt_command(self, recipient: str) -> bytes:
        """RCPT for one of `recipients`."""
        return f"RCPT TO:<{self.recipients[recipient]}>".encode()
