"""What a check needs of the world, as protocols that the adapters implement."""

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
    """DNS."""

    async def ask(self, name: str, kind: RecordType) -> Lookup:
        """The records of that kind which a name has, within some seconds. Never raises."""


class SignatureReader(Protocol):
    """DKIM signatures in a letter that was read back."""

    def names(self, letter: bytes) -> Sequence[SignatureName]:
        """Who says that they signed it. Never raises."""

    async def verify(self, letter: bytes, keys: Mapping[SignatureName, str]) -> Sequence[SignatureVerdict]:
        """Verify each signature for which there is a key record. Never raises."""


class SmtpVisit(Protocol):
    """One connection to a mailbox's SMTP server, step by step, through the code that letters leave by.

    `secure` and `greet` are called once each, in the order of the server's security: with `tls` first `secure`, with
    `starttls` first `greet`, with `none` only `greet`. After a trouble nothing more may be called. Nothing raises for
    what a server or the network does.
    """

    async def resolve(self) -> ResolvedHost | DeliveryFailure:
        """Look the host up, and have its addresses vetted."""

    async def connect(self) -> DeliveryFailure | None: ...

    async def secure(self) -> TlsFacts | DeliveryFailure: ...

    async def greet(self) -> str | DeliveryFailure:
        """The words of the greeting; EHLO follows it."""

    def offer(self) -> SmtpOffer:
        """What the server offers; after STARTTLS, what it offered then."""

    async def sign_in(self) -> DeliveryFailure | None:
        """One attempt, with one mechanism."""

    async def propose(self, address: str) -> Reply | DeliveryFailure:
        """Offer a letter from this address to itself (MAIL, RCPT), and take it back (RSET). The last reply."""

    async def send(self, letter: ComposedLetter) -> Transmission:
        """Send a letter."""


class ImapVisit(Protocol):
    """One connection to a mailbox's IMAP server, as `SmtpVisit`; here `secure` comes before `greet`."""

    async def resolve(self) -> ResolvedHost | DeliveryFailure: ...

    async def connect(self) -> DeliveryFailure | None: ...

    async def secure(self) -> TlsFacts | DeliveryFailure | None:
        """None where the connection is configured without encryption."""

    async def greet(self) -> str | DeliveryFailure:
        """The server's words."""

    async def sign_in(self) -> DeliveryFailure | None: ...

    async def sent_folder(self, named: str | None, message_id: str) -> SentFolderFacts | DeliveryFailure | None:
        """The folder where copies go, looked into for this Message-ID; None when none can be recognised.

        One that the settings name is made where it is missing, as for a copy. Nothing else in the mailbox is changed.
        """

    async def save(self, named: str | None, letter: ComposedLetter) -> SavedCopy:
        """Save the letter's copy there."""

    async def received(self, message_id: str) -> bytes | DeliveryFailure | None:
        """The letter with this Message-ID in INBOX as it arrived; None when it is not there (yet)."""


class Visitors(Protocol):
    """Opens visits. `is_trusted`: whether secrets outside of the request itself may be opened."""

    def smtp(self, route: Route, *, is_trusted: bool) -> AbstractAsyncContextManager[SmtpVisit]: ...

    def imap(
        self, account_id: str, server: ImapServer, auth: Auth, *, is_trusted: bool
    ) -> AbstractAsyncContextManager[ImapVisit]: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """A mailbox to check. `key` is the identity of the request, from which the test letter's Message-ID follows.

    `is_trusted`: the mailbox is the snapshot's or an operator's own, so that secrets in variables and files may be
    opened for it. `test_to`: where a test letter goes; None: none is sent, for the reason `why_no_test` if there is
    one to tell.
    """

    account_id: str
    mailbox: Mailbox
    key: str
    is_trusted: bool
    test_to: str | None = None
    why_no_test: str = "no test letter was asked for"

    @property
    def provider(self) -> Provider:
        """Whose SMTP server it is."""
        return provider_of(self.mailbox.smtp.host)

    @property
    def route(self) -> Route:
        """The way its letters take."""
        return Route(self.account_id, self.mailbox.id, self.mailbox.smtp, max_connections=1)

    @property
    def imap(self) -> ImapServer | None:
        """The server of its Sent folder."""
        return self.mailbox.sent_copy.imap

    @property
    def imap_auth(self) -> Auth:
        """How to sign in there."""
        imap = self.imap
        return (imap.auth if imap is not None else None) or self.mailbox.smtp.auth

    @property
    def is_test_to_itself(self) -> bool:
        """Whether the test letter comes back to the mailbox, where it can be read."""
        return self.test_to is not None and self.test_to.lower() == self.mailbox.address.lower()
