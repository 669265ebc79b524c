"""Operations on the ledger, validated before they share a transaction, so that none can spoil it for the others."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from worker.delivery.ledger import Claim, HandOver, Record
from worker.delivery.mailboxes.rules import SharedMailbox
from worker.delivery.mailboxes.state import MailboxKey
from worker.domain.recipient_limit import RecipientLimit
from worker.domain.vocabulary import Outcome

T = TypeVar("T")
Key = tuple[str, int]

_KEY = re.compile("[0-9a-f]{32}")
_NOT_STORED = re.compile("[\0\ud800-\udfff]")  # PostgreSQL stores no NUL, and neither database a lone surrogate
_MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True, eq=False, slots=True)
class Operation(Generic[T]):
    """One call; T is its return type. Compared by identity: two equal calls are still two."""

    @property
    def keys(self) -> frozenset[Key]:
        """The entries it touches; operations with an entry in common do not share a transaction."""
        return frozenset()


@dataclass(frozen=True, eq=False, slots=True)
class OnEntries(Operation[T]):
    """An operation on some recipients of one event."""

    event_key: str
    recipients: tuple[int, ...]

    @property
    def keys(self) -> frozenset[Key]:
        return frozenset((self.event_key, recipient) for recipient in self.recipients)


@dataclass(frozen=True, eq=False, slots=True)
class ToClaim(OnEntries[dict[int, Claim]]):
    account_id: str
    limit: RecipientLimit | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ToHandOver(OnEntries[None]):
    hand_over: HandOver


@dataclass(frozen=True, eq=False, slots=True)
class ToRecord(OnEntries[None]):
    records: tuple[Record, ...]


@dataclass(frozen=True, eq=False, slots=True)
class ToRelease(OnEntries[None]):
    """Release claims; those handed over either count as not accepted, or stay uncertain without an owner."""

    keeps_doubt: bool


@dataclass(frozen=True, eq=False, slots=True)
class ToReopen(OnEntries[None]):
    """Free entries done as uncertain, where there is consent."""


@dataclass(frozen=True, eq=False, slots=True)
class ToConsent(OnEntries[None]):
    """Store an operator's consent to free entries done as uncertain since this attempt or an earlier one."""

    up_to_attempt: int


@dataclass(frozen=True, eq=False, slots=True)
class OnMailbox(Operation[T]):
    """A rule of `delivery.mailbox_rules` for one mailbox. Several rules for the same mailbox run in sequence."""

    key: MailboxKey
    rule: Callable[[SharedMailbox], T]


@dataclass(frozen=True, eq=False, slots=True)
class Command(Operation[T]):
    """A function that writes something other than entries and mailboxes; its arguments are the owner and the time."""

    execute: Callable[[Connection, int, datetime], T]


@dataclass(frozen=True, eq=False, slots=True)
class Query(Operation[T]):
    """A read-only function; the owner is None until it has written something."""

    execute: Callable[[Connection, int | None, datetime], T]


def on_mailbox(key: MailboxKey, rule: Callable[[SharedMailbox], T]) -> OnMailbox[T]:
    check_texts(*key)
    return OnMailbox(key, rule)


def to_claim(
    event_key: str, account_id: str, recipients: Sequence[int], limit: RecipientLimit | None = None
) -> ToClaim:
    check_texts(account_id)
    positions = _positions(recipients)
    if limit is not None and not limit.addresses.keys() >= set(positions):
        raise ValueError("a recipient has no address to count")
    return ToClaim(checked_key(event_key), positions, account_id, limit)


def to_hand_over(event_key: str, recipients: Sequence[int], hand_over: HandOver) -> ToHandOver:
    check_texts(hand_over.account_id, hand_over.mailbox_id or "", hand_over.message_id)
    _check_number(hand_over.attempt)
    if hand_over.at.tzinfo is None:
        raise ValueError("the time of a hand-over has no time zone")
    return ToHandOver(checked_key(event_key), _positions(recipients), hand_over)


def to_record(event_key: str, records: Sequence[Record]) -> ToRecord:
    for record in records:
        if str(UUID(record.result_id)) != record.result_id:
            raise ValueError("a result's id is not a UUID in its usual spelling")
    recipients = [recipient for record in records for recipient in record.recipients]
    positions = _positions(recipients)
    if len(positions) != len(recipients):
        raise ValueError("a recipient has two outcomes")
    return ToRecord(checked_key(event_key), positions, tuple(records))


def to_release(event_key: str, recipients: Sequence[int], *, keeps_doubt: bool) -> ToRelease:
    return ToRelease(checked_key(event_key), _positions(recipients), keeps_doubt)


def to_reopen(event_key: str, recipients: Sequence[int]) -> ToReopen:
    return ToReopen(checked_key(event_key), _positions(recipients))


def to_consent(event_key: str, recipients: Sequence[int], up_to_attempt: int) -> ToConsent:
    _check_number(up_to_attempt)
    return ToConsent(checked_key(event_key), _positions(recipients), up_to_attempt)


def checked_key(event_key: str) -> str:
    """Return the event key unchanged. Raises `ValueError` when it is not 32 lower-case hexadecimal digits."""
    if not _KEY.fullmatch(event_key):
        raise ValueError("an event's key is 32 hexadecimal digits")
    return event_key


def _positions(recipients: Iterable[int]) -> tuple[int, ...]:
    positions = tuple(sorted(set(recipients)))
    for position in positions:
        _check_number(position)
    return positions


def _check_number(number: int) -> None:
    if not 0 <= number <= _MAX_INTEGER:
        raise ValueError("a number is negative or larger than the ledger stores")


def check_texts(*texts: str) -> None:
    """Raises `ValueError` for texts that the databases cannot store."""
    for text in texts:
        if _NOT_STORED.search(text):
            raise ValueError("a text holds a character that the ledger cannot store")


class State(StrEnum):
    """State of a recipient's entry."""

    CLAIMED = "claimed"
    HANDED_OVER = "handed_over"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Entry:
    """The ledger's entry for one recipient; `owner` is the last owner, None once it is released or forgotten."""

    recipient: int
    state: State
    account_id: str
    owner: str | None
    is_owner_alive: bool
    claimed_at: datetime
    hand_over: HandOver | None
    outcome: Outcome | None = None
    result_id: str | None = None
    recorded_at: datetime | None = None

    @property
    def is_in_doubt(self) -> bool:
        """Handed over, and no live owner is resolving its outcome."""
        return self.state is State.HANDED_OVER and not self.is_owner_alive


def hand_overs_of(entries: Iterable[Entry]) -> dict[int, HandOver | None]:
    """The hand-overs of one event's entries, by recipient."""
    return {entry.recipient: entry.hand_over for entry in entries}
