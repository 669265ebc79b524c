"""What the history keeps of each published result, and how it is searched."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

from worker.domain.text import one_line
from worker.domain.vocabulary import ResultType
from worker.errors import SendasError

MAX_KEY_CHARS = 200
"""Identifiers of up to this length are kept as they are; of a longer one, its beginning and a digest."""

MAX_LIMIT = 500
"""Most records on one page."""

MAX_STORY = 2_000
"""Most records of one event's story; a search by the event pages through all of them."""

MAX_BUCKETS = 1_000
"""Most counts for one reason: `failures` refuses a narrower bucket."""

FAILURES = frozenset(
    {
        ResultType.MAIL_FAILED,
        ResultType.MAIL_DEFERRED,
        ResultType.MAIL_UNCERTAIN,
        ResultType.SENT_COPY_FAILED,
        ResultType.SENT_COPY_DEFERRED,
        ResultType.MAILBOX_SUSPENDED,
    }
)
"""Types of results that `History.failures` counts; a reason stands in others too, such as `mailbox.resumed`."""

_DIGEST_BYTES = 16


class InvalidSearch(SendasError):
    """A search that cannot be carried out; the text names what is wrong with it."""


def key(text: str) -> str:
    """An identifier as the history keeps it and searches for it: on one line and at most 200 characters.

    Identifiers come from others and may be as long as they like; an index has a longest key. Two different long ones
    have different digests, so a search finds neither too much nor too little. What was made so stays as it is, so that
    it can be taken from a record and searched for.
    """
    if len(text) <= MAX_KEY_CHARS and text.isprintable():
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{one_line(text[: MAX_KEY_CHARS - len(digest) - 1])}…{digest}"


@dataclass(frozen=True, slots=True)
class Record:
    """One published result, as kept.

    `id` is the CloudEvents id, by which a repeated result is recognised; `at` when the worker published it, in UTC.
    `addresses` are those of recipients, sender and mailbox, as the setting SENDAS_HISTORY says: whole, masked, or
    digests. `body` is the result's `data`, its addresses treated the same way and without sealed secrets; of an
    oversized one, `left_out` in it names what is missing.
    """

    id: str
    type: str
    at: datetime
    account_id: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    task_id: str | None = None
    comment_id: str | None = None
    mailbox_id: str | None = None
    message_id: str | None = None
    addresses: tuple[str, ...] = ()
    reason: str | None = None
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for: records that meet every condition given.

    `address` is given whole, however addresses are kept. `accounts` limits what a viewer may see; None: all accounts,
    and also records of none. `since` is included, `until` is not. `before` is `Page.next` of the page before.

    Raises:
        InvalidSearch: the limit is not from 1 to 500, or a time has no zone.
    """

    event_id: str | None = None
    task_id: str | None = None
    comment_id: str | None = None
    address: str | None = None
    mailbox_id: str | None = None
    account_id: str | None = None
    message_id: str | None = None
    type: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    accounts: frozenset[str] | None = None
    limit: int = 100
    before: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidSearch(f"limit: not from 1 to {MAX_LIMIT}")
        for name in ("since", "until"):
            moment: datetime | None = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise InvalidSearch(f"{name}: a time without its zone")


@dataclass(frozen=True, slots=True)
class Page:
    """Records, the newest first; `next` is the cursor of the page that follows, None when this is the last."""

    records: tuple[Record, ...] = ()
    next: str | None = None


def conditions(search: Search) -> dict[str, str]:
    """The identifiers that a search asks for, as the history keeps them; the address is not among them."""
    names = {each.name for each in fields(Record)} - {"id", "at", "addresses", "body"}
    given = {name: getattr(search, name, None) for name in names}
    return {name: key(value) for name, value in given.items() if value is not None}
