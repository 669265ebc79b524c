"""Refuses servers without encryption: `security: none` is for a relay on a network that the operator vouches for."""

from datetime import datetime

from worker.delivery.ports import BeforeFinalDot, CopyTarget, MailTransport, Route, SavedCopy, SentFolder
from worker.domain.letters import ComposedLetter
from worker.domain.transmission import Fault, Transmission, Trouble
from worker.domain.vocabulary import CopyOutcome, Phase, Security

PLAINTEXT_REFUSED = Trouble(Phase.CONNECT, Fault.EGRESS, detail="connections without encryption are not allowed here")


class EncryptedTransport:
    """A `MailTransport` that hands letters only to servers with TLS or STARTTLS."""

    def __init__(self, inner: MailTransport) -> None:
        self._inner = inner

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        if route.smtp.security is Security.NONE:
            return Transmission(refused=dict.fromkeys(letter.envelope_to, PLAINTEXT_REFUSED))
        return await self._inner.send(route, letter, before_final_dot)

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None:
        await self._inner.close_idle(account_id, mailbox_id, keep)

    async def close(self) -> None:
        await self._inner.close()


class EncryptedSentFolder:
    """A `SentFolder` that signs in only to servers with TLS."""

    def __init__(self, inner: SentFolder) -> None:
        self._inner = inner

    async def save(self, target: CopyTarget, message_id: str, date: datetime, copy: bytes) -> SavedCopy:
        if target.imap.security is Security.NONE:
            return SavedCopy(CopyOutcome.FAILED, target.folder, trouble=PLAINTEXT_REFUSED)
        return await self._inner.save(target, message_id, date, copy)

    async def find(self, target: CopyTarget, message_id: str) -> bool | Trouble:
        if target.imap.security is Security.NONE:
            return PLAINTEXT_REFUSED
        return await self._inner.find(target, message_id)

    async def close(self) -> None:
        await self._inner.close()
