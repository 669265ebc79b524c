"""The ledger's tables, identical for SQLite and PostgreSQL; rows are small, because there may be 10⁸ a day."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
)

from worker.adapters.ledger.operations import State
from worker.adapters.sql_types import Moment
from worker.domain.vocabulary import Outcome


class EventKey(TypeDecorator[str]):
    """32 hexadecimal digits as 16 bytes."""

    impl = LargeBinary(16)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - the interface
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the interface
        return None if value is None else value.hex()


class ResultId(TypeDecorator[str]):
    """A UUID in its usual spelling as 16 bytes."""

    impl = LargeBinary(16)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - the interface
        return None if value is None else UUID(value).bytes

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the interface
        return None if value is None else str(UUID(bytes=value))


class Code(TypeDecorator[StrEnum]):
    """A member of a closed list as a small number; stored numbers never change their meaning."""

    impl = SmallInteger
    cache_ok = True

    def __init__(self, numbers: Mapping[Any, int]) -> None:
        super().__init__()
        self._by_value: dict[StrEnum, int] = dict(numbers)
        self._by_number = {number: value for value, number in numbers.items()}

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - the interface
        return None if value is None else self._by_value[value]

    def process_result_value(self, value: int | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002 - the interface
        return None if value is None else self._by_number[value]


STATES = {State.CLAIMED: 0, State.HANDED_OVER: 1, State.DONE: 2}
OUTCOMES = {Outcome.SENT: 0, Outcome.DEFERRED: 1, Outcome.FAILED: 2, Outcome.UNCERTAIN: 3}

metadata = MetaData()

owners = Table(
    "ledger_owners",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("alive_until", Moment, nullable=False),
    sqlite_autoincrement=True,  # an id is never reused for another owner
)

# No index besides the key and `claimed_at`, which changes only when an entry gets another owner: PostgreSQL then
# updates a row within its page (HOT), for which the fill factor reserves room. No foreign keys either: each would add
# a look-up and a lock for every letter.
entries = Table(
    "ledger_entries",
    metadata,
    Column("event_key", EventKey, nullable=False),
    Column("recipient", Integer, nullable=False),
    Column("state", Code(STATES), nullable=False),
    Column("owner", Integer),  # none: released while uncertain
    Column("claimed_at", Moment, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("mailbox_id", Text),
    Column("message_id", Text),
    Column("attempt", Integer),
    Column("handed_over_at", Moment),
    Column("outcome", Code(OUTCOMES)),
    Column("result_id", ResultId),
    PrimaryKeyConstraint("event_key", "recipient"),
    Index("ledger_entries_by_age", "claimed_at"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},
)

results = Table(
    "ledger_results",
    metadata,
    Column("result_id", ResultId, primary_key=True),
    Column("recorded_at", Moment, nullable=False),
    Column("body", LargeBinary, nullable=False),  # compressed with zlib
    Index("ledger_results_by_age", "recorded_at"),
    sqlite_with_rowid=False,
)

# Mailbox state shared by all workers: one row for each mailbox that ever sent. `touched_at` determines its expiry.
mailboxes = Table(
    "ledger_mailboxes",
    metadata,
    Column("account_id", Text, nullable=False),
    Column("mailbox_id", Text, nullable=False),
    Column("fingerprint", Text),
    Column("snapshot_version", BigInteger),
    Column("touched_at", Moment),
    Column("proven_at", Moment),
    Column("rests_until", Moment),
    Column("rests_for", Text),
    Column("wanted_at", Moment),
    Column("wanted_by", Integer),
    Column("resumed_at", Moment),
    Column("minute_counts", Text),
    Column("day_counts", Text),
    Column("suspended_at", Moment),
    Column("suspended_for", Text),
    Column("suspension", Text),
    Column("imap_refused_of", Text),
    Column("imap_refused_until", Moment),
    Column("imap_refused_for", Text),
    Column("cap_connections", Integer),
    Column("cap_since", Moment),
    PrimaryKeyConstraint("account_id", "mailbox_id"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},
)
# Few mailboxes are suspended: reading those is cheap, and the index omits all others.
Index(
    "ledger_mailboxes_suspended",
    mailboxes.c.suspended_at,
    sqlite_where=mailboxes.c.suspended_at.is_not(None),
    postgresql_where=mailboxes.c.suspended_at.is_not(None),
)

shares = Table(
    "ledger_shares",
    metadata,
    Column("account_id", Text, nullable=False),
    Column("mailbox_id", Text, nullable=False),
    Column("owner", Integer, nullable=False),
    Column("connections", Integer, nullable=False),
    PrimaryKeyConstraint("account_id", "mailbox_id", "owner"),
    Index("ledger_shares_by_owner", "owner"),
    sqlite_with_rowid=False,
)

announcements = Table(
    "ledger_announcements",
    metadata,
    Column("id", ResultId, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Secrets that the installation's workers share, by purpose.
keys = Table(
    "ledger_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)

# Recent letters to each address (`domain.recipient_limit`); `newest` determines their expiry.
letters = Table(
    "ledger_letters",
    metadata,
    Column("address", EventKey, primary_key=True),
    Column("newest", Integer, nullable=False),
    Column("letters", LargeBinary, nullable=False),
    Index("ledger_letters_by_age", "newest"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},
)

# Operators' consents: which uncertain letters may be resent, up to which attempt.
consents = Table(
    "ledger_consents",
    metadata,
    Column("event_key", EventKey, nullable=False),
    Column("recipient", Integer, nullable=False),
    Column("up_to_attempt", Integer, nullable=False),
    Column("given_at", Moment, nullable=False),
    PrimaryKeyConstraint("event_key", "recipient"),
    sqlite_with_rowid=False,
)

# Rotated refresh tokens and habits of Sent folders (`shared_memory`). Tokens are sealed, their predecessors
# stored as digests only.
refresh_tokens = Table(
    "mailbox_refresh_tokens",
    metadata,
    Column("grant_key", LargeBinary(32), primary_key=True),
    Column("turn_of", Text),
    Column("turn_until", Moment, nullable=False),
    Column("account_id", Text),
    Column("username", Text),
    Column("sealed", Text),  # none: never rotated
    Column("known", LargeBinary),
    Column("rotated_at", Moment),
    Column("told_at", Moment),
)

sent_habits = Table(
    "mailbox_sent_habits",
    metadata,
    Column("account_id", Text, nullable=False),
    Column("mailbox_id", Text, nullable=False),
    Column("settings", LargeBinary(32), nullable=False),
    Column("streak", Integer, nullable=False),
    Column("seen_at", Moment, nullable=False),
    PrimaryKeyConstraint("account_id", "mailbox_id"),
    sqlite_with_rowid=False,
)
