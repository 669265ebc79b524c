"""What the delivery needs from the outside, as protocols that the adapters implement."""

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
    """Time, replaceable in tests."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never decreases."""


class Directory(Protocol):
    """The configuration snapshot in use. Immutable: a refresh creates a new one."""

    @property
    def version(self) -> int: ...

    @property
    def platform(self) -> Platform: ...

    def account(self, account_id: str) -> Account | None:
        """The account, or None when the snapshot lacks it or has left it out. Constant time."""

    def is_left_out(self, account_id: str) -> bool:
        """True when the snapshot has the account but it is invalid: its letters wait."""


class SnapshotService(Protocol):
    """Keeps a directory fresh."""

    @property
    def directory(self) -> Directory: ...

    async def refresh(self) -> None:
        """Poll for a newer snapshot now; concurrent calls share one poll. Never raises: it keeps the last good one."""


@dataclass(frozen=True, slots=True)
class Route:
    """A mailbox's outgoing server and credentials.

    Equal routes share connections; a changed server or secret makes a new route.

    `mailbox_id` None is the platform's own relay; its `account_id` is empty, as all accounts share it.
    """

    account_id: str
    mailbox_id: str | None
    smtp: SmtpServer
    max_connections: int


BeforeFinalDot = Callable[[Collection[str]], Awaitable[None]]
"""Awaited with those envelope recipients that the server accepted: the dot applies to them alone."""


class MailTransport(Protocol):
    """Hands letters to mail servers."""

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        """Send one letter through the route's own server.

        `before_final_dot` is awaited when all of the letter but the final dot has been written, with the accepted
        recipients, if there is at least one; when it raises, the transaction is aborted without the dot and the error
        propagates.
        Whatever the server or the network does is in the returned value. Cancellation before the final dot aborts
        the transaction; after it, the method still waits for the answer, up to the data timeout, and then propagates
        the cancellation only if no caller is left to take the outcome.
        """

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None:
        """Close idle connections of a mailbox until at most `keep` are left; returns when that is done."""

    async def close(self) -> None:
        """Close all connections, with QUIT where a server answers within a few seconds."""


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """Where to save a copy: the mailbox's IMAP server, its credentials, and the folder if one is set."""

    account_id: str
    mailbox_id: str
    imap: ImapServer
    auth: Auth
    folder: str | None


@dataclass(frozen=True, slots=True)
class SavedCopy:
    """The outcome of saving a copy; `trouble` is set when `outcome` is `failed` or `no_folder`.

    `uid` and `uid_validity` are set where the server returned them (RFC 4315) or a search by Message-ID found them.
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
        """Append the copy unless the folder already has a message with this Message-ID, or with `also_known_as`:
        the server's own, where it reported rewriting it.
        """

    async def find(self, target: CopyTarget, message_id: str) -> bool | DeliveryFailure:
        """True when Sent has a message with this Message-ID; the trouble when that could not be determined."""

    async def close(self) -> None: ...


class FileStore(Protocol):
    """Downloads the files of events."""

    async def fetch(self, file: File, max_bytes: int) -> bytes:
        """The file's contents. Raises `FileUnavailable`, also when it is larger than `max_bytes`."""
