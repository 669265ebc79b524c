"""What the delivery needs of the world, as protocols that the adapters implement."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.domain.events.models import File
from worker.domain.letter.model import ComposedLetter
from worker.domain.snapshot.model import Account, Auth, ImapServer, Platform, SmtpServer
from worker.domain.transmission import DeliveryFailure, Transmission
from worker.domain.vocabulary import CopyOutcome


class Clock(Protocol):
    """Time, so that tests have their own."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""


class Directory(Protocol):
    """The configuration snapshot in use; immutable: a refresh brings another one."""

    @property
    def version(self) -> int: ...

    @property
    def platform(self) -> Platform: ...

    def account(self, account_id: str) -> Account | None:
        """The account, or None when the snapshot does not have it or left it out. Constant time."""

    def is_left_out(self, account_id: str) -> bool:
        """True when the snapshot has the account but it is not valid: its letters wait."""


class SnapshotService(Protocol):
    """Keeps a directory fresh."""

    @property
    def directory(self) -> Directory: ...

    async def refresh(self) -> None:
        """Look for a newer snapshot now; concurrent calls share one look. Never raises: the last good one serves on."""


@dataclass(frozen=True, slots=True)
class Route:
    """A mailbox's way out. Equal routes share connections; a changed server or secret is another route.

    `mailbox_id` None is the platform's own relay; its `account_id` is empty, as all accounts share it.
    """

    account_id: str
    mailbox_id: str | None
    smtp: SmtpServer
    max_connections: int


BeforeFinalDot = Callable[[Collection[str]], Awaitable[None]]
"""Awaited with those of the envelope's recipients whom the server accepted: the dot is for them alone."""


class MailTransport(Protocol):
    """Hands letters to mail servers."""

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        """Send one letter through the route's own server.

        `before_final_dot` is awaited when all of the letter but the final dot has been written, with the recipients
        that were accepted, if there is at least one; when it raises, the transaction is aborted without the dot and
        the error passes on.
        Whatever the server or the network does is in the returned value. Cancellation before the final dot aborts
        the transaction; after it the answer is still waited for, up to the data timeout, and then cancellation
        passes on only if the outcome can be returned to nobody.
        """

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None:
        """Close connections of a mailbox that are at rest, until it has at most `keep`; returns when that is done."""

    async def close(self) -> None:
        """Close all connections, politely where possible within a few seconds."""


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """Where a copy is saved: the mailbox's IMAP server, how to sign in there, and the folder if it was set."""

    account_id: str
    mailbox_id: str
    imap: ImapServer
    auth: Auth
    folder: str | None


@dataclass(frozen=True, slots=True)
class SavedCopy:
    """What became of a copy; `trouble` is set when `outcome` is `failed` or `no_folder`.

    `uid` and `uid_validity` where the server tells them (RFC 4315) or they could be found by Message-ID.
    """

    outcome: CopyOutcome
    folder: str | None = None
    uid: int | None = None
    uid_validity: int | None = None
    trouble: DeliveryFailure | None = None


class SentFolder(Protocol):
    """The Sent folder of mailboxes, over IMAP."""

    async def save(
        self, target: CopyTarget, message_id: str, date: datetime, copy: bytes, *, also_known_as: str | None = None
    ) -> SavedCopy:
        """Append the copy unless a message with this Message-ID is there already, or with the one in `also_known_as`:
        the server's own, where it said that it rewrote it.
        """

    async def find(self, target: CopyTarget, message_id: str) -> bool | DeliveryFailure:
        """Whether a message with this Message-ID is in Sent; trouble when it could not be found out."""

    async def close(self) -> None: ...


class FileStore(Protocol):
    """Where the files of events are downloaded from."""

    async def fetch(self, file: File, max_bytes: int) -> bytes:
        """The file's contents. Raises `FileUnavailable`, also when it is larger than `max_bytes`."""
