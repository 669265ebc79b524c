"""Ports of a check, implemented by the adapters."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from worker.delivery.ports import Route, SavedCopy
from worker.domain.letter.model import ComposedLetter
from worker.domain.probe import (
    Lookup,
    RecordType,
    ResolvedHost,
    SentFolderFacts,
    SignatureName,
    SignatureVerdict,
    SmtpOffer,
    TlsFacts,
)
from worker.domain.providers import Provider, provider_of
from worker.domain.snapshot.model import Auth, ImapServer, Mailbox
from worker.domain.transmission import DeliveryFailure, Reply, Transmission


class NameServer(Protocol):
    """A DNS resolver."""

    async def ask(self, name: str, kind: RecordType) -> Lookup:
        """Look up a name's records of one type, within a few seconds. Never raises."""


class SignatureReader(Protocol):
    """Reads and verifies the DKIM signatures of a received letter."""

    def names(self, letter: bytes) -> Sequence[SignatureName]:
        """The domains and selectors that claim to have signed the letter. Never raises."""

    async def verify(self, letter: bytes, keys: Mapping[SignatureName, str]) -> Sequence[SignatureVerdict]:
        """Verify every signature that has a key record. Never raises."""


class SmtpVisit(Protocol):
    """One connection to a mailbox's SMTP server, step by step, using the same code that sends letters.

    Call `secure` and `greet` once each, in the order the server's security requires: `secure` first with `tls`, `greet`
    first with `starttls`, only `greet` with `none`. Call nothing after a failure. Nothing raises because of a server or
    the network.
    """

    async def resolve(self) -> ResolvedHost | DeliveryFailure:
        """Resolve the host, and vet its addresses."""

    async def connect(self) -> DeliveryFailure | None: ...

    async def secure(self) -> TlsFacts | DeliveryFailure: ...

    async def greet(self) -> str | DeliveryFailure:
        """Return the text of the greeting, then send EHLO."""

    def offer(self) -> SmtpOffer:
        """What the server offers; after STARTTLS, what it offered then."""

    async def sign_in(self) -> DeliveryFailure | None:
        """Try one mechanism, once."""

    async def propose(self, address: str) -> Reply | DeliveryFailure:
        """Offer a letter from this address to itself (MAIL, RCPT), then reset (RSET). Returns the last reply."""

    async def send(self, letter: ComposedLetter) -> Transmission:
        """Send a letter."""


class ImapVisit(Protocol):
    """One connection to a mailbox's IMAP server, like `SmtpVisit`, except that `secure` precedes `greet`."""

    async def resolve(self) -> ResolvedHost | DeliveryFailure: ...

    async def connect(self) -> DeliveryFailure | None: ...

    async def secure(self) -> TlsFacts | DeliveryFailure | None:
        """Set up TLS; None if the connection is configured without encryption."""

    async def greet(self) -> str | DeliveryFailure:
        """Return the text of the greeting."""

    async def sign_in(self) -> DeliveryFailure | None: ...

    async def sent_folder(self, named: str | None, message_id: str) -> SentFolderFacts | DeliveryFailure | None:
        """Find the Sent folder and search it for this Message-ID; None if no folder is recognised.

        A folder named in the settings is created if missing, as for a copy. Nothing else in the mailbox changes.
        """

    async def save(self, named: str | None, letter: ComposedLetter) -> SavedCopy:
        """Save a copy of the letter there."""

    async def received(self, message_id: str) -> bytes | DeliveryFailure | None:
        """The letter with this Message-ID in INBOX, as received; None if it is not there (yet)."""


class Visitors(Protocol):
    """Opens visits. `is_trusted` says whether secrets outside the request itself may be opened."""

    def smtp(self, route: Route, *, is_trusted: bool) -> AbstractAsyncContextManager[SmtpVisit]: ...

    def imap(
        self, account_id: str, server: ImapServer, auth: Auth, *, is_trusted: bool
    ) -> AbstractAsyncContextManager[ImapVisit]: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """A mailbox to check. `key` identifies the request and determines the test letter's Message-ID.

    `is_trusted`: the mailbox comes from the snapshot or from an operator, so secrets in variables and files may be
    opened for it. `test_to` is the test letter's recipient; None sends no test letter, because of `why_no_test` if that
    is set.
    """

    account_id: str
    mailbox: Mailbox
    key: str
    is_trusted: bool
    test_to: str | None = None
    why_no_test: str = "no test letter was asked for"

    @property
    def provider(self) -> Provider:
        """The provider of the SMTP server."""
        return provider_of(self.mailbox.smtp.host)

    @property
    def route(self) -> Route:
        """The route of its letters."""
        return Route(self.account_id, self.mailbox.id, self.mailbox.smtp, max_connections=1)

    @property
    def imap(self) -> ImapServer | None:
        """The IMAP server of its Sent folder."""
        return self.mailbox.sent_copy.imap

    @property
    def imap_auth(self) -> Auth:
        """Credentials for that server."""
        imap = self.imap
        return (imap.auth if imap is not None else None) or self.mailbox.smtp.auth

    @property
    def is_test_to_itself(self) -> bool:
        """Whether the test letter returns to the mailbox, where it can be read back."""
        return self.test_to is not None and self.test_to.lower() == self.mailbox.address.lower()
