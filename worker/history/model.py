"""What the history stores about each published result, and how to search it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

from worker.domain.text import one_line
from worker.domain.vocabulary import ResultType
from worker.errors import SendasError

MAX_KEY_CHARS = 200
"""Identifiers up to this length are stored unchanged; longer ones as a prefix plus a digest."""

MAX_LIMIT = 500
"""Maximum records per page."""

MAX_STORY = 2_000
"""Maximum records in one event's story; a search by event id pages through all of them."""

MAX_BUCKETS = 1_000
"""Maximum buckets per reason; `failures` refuses a narrower bucket."""

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
"""Result types that `History.failures` counts; other types carry a reason too, such as `mailbox.resumed`."""

_DIGEST_BYTES = 16


class InvalidSearch(SendasError):
    """A search that cannot run; the text names the problem."""


def key(text: str) -> str:
    """An identifier in the form the history stores and searches: on one line, at most 200 characters.

    Identifiers come from outside and may have any length, while an index limits its keys. Long identifiers that differ
    get different digests, so a search matches exactly. Idempotent: a shortened identifier maps to itself, so one
    copied from a record can be searched for.
    """
    if len(text) <= MAX_KEY_CHARS and text.isprintable():
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{one_line(text[: MAX_KEY_CHARS - len(digest) - 1])}…{digest}"


@dataclass(frozen=True, slots=True)
class Record:
    """One published result, as stored.

    `id` is the CloudEvents id, which identifies duplicates; `at` is when the worker published it, in UTC.
    `addresses` holds the recipients, the sender and the mailbox, in the form SENDAS_HISTORY sets: whole, masked, or
    digests. `body` is the result's `data` with its addresses in the same form and without sealed secrets; when a body
    is oversized, its `left_out` names what is missing.
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
    """Search conditions; a record must meet all that are set.

    `address` is always given whole, whatever form is stored. `accounts` limits what a viewer may see; None means all
    accounts, and records without one. `since` is inclusive, `until` exclusive. `before` is the previous page's
    `Page.next`.
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
    """Records, newest first; `next` is the cursor of the following page, None on the last."""

    records: tuple[Record, ...] = ()
    next: str | None = None


def conditions(search: Search) -> dict[str, str]:
    """The identifiers that a search filters on, in stored form; excludes the address."""
    names = {each.name for each in fields(Record)} - {"id", "at", "addresses", "body"}
    given = {name: getattr(search, name, None) for name in names}
    return {name: key(value) for name, value in given.items() if value is not None}
