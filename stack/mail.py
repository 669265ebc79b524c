"""The private mail server: Postfix accepts and delivers, Dovecot checks passwords and serves mailboxes."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from stack.authority import Authority
from stack.dovecot import Dovecot
from stack.mailbox import Mailbox
from stack.postfix import Postfix

DEFAULT_MAX_BYTES = 35 * 1024 * 1024

SPAM = "550 5.7.1 Message rejected as spam"
BUSY = "451 4.7.1 Service unavailable, please try again later"


class MailServer:
    """Mailboxes with SMTP and IMAP.

    `domains` are the domains it receives for, in addition to those of the first `mailboxes`. They are fixed at start;
    mailboxes in them can be added any time. `hosts` are further names that its certificates cover.
    """

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        *,
        mailboxes: Iterable[Mailbox] = (),
        domains: Iterable[str] = (),
        hosts: Iterable[str] = (),
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self.authority = authority
        self._mailboxes = {mailbox.address: mailbox for mailbox in mailboxes}
        self._verdicts: dict[str, str] = {}
        self._domains = {*domains, *(mailbox.domain for mailbox in self._mailboxes.values())}
        self._tables_lock = asyncio.Lock()
        directory.mkdir(parents=True)
        certificate = authority.issue("mail", *hosts)
        self.dovecot = Dovecot(directory / "dovecot", certificate)
        self.postfix = Postfix(
            _made(directory / "postfix"),
            certificate,
            mail_directory=self.dovecot.mail_directory,
            auth_socket=self.dovecot.auth_socket,
            domains=self._domains,
            max_bytes=max_bytes,
        )
        for mailbox in self._mailboxes.values():
            self.dovecot.add(mailbox)

    @property
    def mailboxes(self) -> tuple[Mailbox, ...]:
        """All mailboxes, in the order they were added."""
        return tuple(self._mailboxes.values())

    async def start(self) -> None:
        """Start both servers, or restart them with their letters."""
        await self._write_tables()
        await asyncio.gather(self.dovecot.start(), self.postfix.start())

    async def stop(self) -> None:
        """Stop both servers; the letters stay."""
        await asyncio.gather(self.dovecot.stop(), self.postfix.stop())

    async def add(self, *mailboxes: Mailbox) -> None:
        """Add mailboxes, or replace those with the same address. Raises ValueError for a foreign domain."""
        for mailbox in mailboxes:
            if mailbox.domain not in self._domains:
                raise ValueError(f"{mailbox.domain} is not one of the domains received for: {sorted(self._domains)}")
        for mailbox in mailboxes:
            self._mailboxes[mailbox.address] = mailbox
            self.dovecot.add(mailbox)
        await self._write_tables()

    async def answer(self, recipient: str, reply: str) -> None:
        """Answer RCPT for this recipient, who need not exist, with `reply` from now on: SPAM, BUSY, …"""
        self._verdicts[recipient] = reply
        await self._write_tables()

    async def _write_tables(self) -> None:
        async with self._tables_lock:
            await self.postfix.write_tables(self._mailboxes.values(), self._verdicts)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory
