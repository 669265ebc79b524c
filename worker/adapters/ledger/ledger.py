"""The ledger in a database: SQLite for one host, PostgreSQL for several."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from worker.adapters.addresses.ledger import Ledger
from worker.adapters.ledger.database import Database
from worker.adapters.ledger.entries import list_entries
from worker.adapters.ledger.group_commit import GroupCommit, Observer
from worker.adapters.ledger.keys import message_key
from worker.adapters.ledger.mailboxes import LedgerMailboxStates
from worker.adapters.ledger.migration import check_schema, upgrade
from worker.adapters.ledger.operations import (
    Command,
    Entry,
    Operation,
    Query,
    checked_key,
    hand_overs_of,
    to_claim,
    to_consent,
    to_hand_over,
    to_record,
    to_release,
    to_reopen,
)
from worker.adapters.ledger.owners import leave
from worker.adapters.ledger.retention import forget
from worker.adapters.ledger.transactions import Answers, Owner
from worker.delivery.ledger import Claim, HandOver, Record
from worker.delivery.ports import Clock
from worker.domain.recipient_limit import RecipientLimit
from worker.errors import ConfigurationError, LostClaim, Unavailable


@dataclass(frozen=True, slots=True)
class LedgerOptions:
    """How the ledger behaves.

    `lease_s`: how long an owner's lease lasts after its last write. `retention_s`: how long duplicates of an event are
    recognised. `timeout_s`: how long one call may take. `max_clock_skew_s`: how far the host's clock may be from the
    database server's; well below the lease, because other hosts judge its expiry by their own clocks.
    """

    lease_s: float = 60
    retention_s: float = 14 * 24 * 3600
    timeout_s: float = 10
    max_operations: int = 500
    rows_per_expiry: int = 1000
    max_clock_skew_s: float = 20


async def open_ledger(
    ledger: Ledger, owner: str, clock: Clock, options: LedgerOptions | None = None, observer: Observer | None = None
) -> "SqlLedger":
    """Connect to the ledger; a SQLite file is created and migrated, PostgreSQL must already be migrated.

    `owner` is a display name, such as host and process; the ledger gives each start its own id.

    Raises:
        ConfigurationError: URL, credentials, schema or this host's clock are wrong.
        Unavailable: the database does not answer.
    """
    options = options or LedgerOptions()
    database = Database(ledger, options.timeout_s)
    try:
        await database.connect()
        if database.is_sqlite:
            await database.run(upgrade)
        else:
            await database.run(check_schema)
            await _check_clock(database, clock, options.max_clock_skew_s)
        key = await database.run(message_key)
    except BaseException:  # any error, also cancellation: leave no connection behind
        await database.close()
        raise
    return SqlLedger(database, Owner(owner, timedelta(seconds=options.lease_s), clock), options, observer, key)


async def _check_clock(database: Database, clock: Clock, max_skew_s: float) -> None:
    """Check the host's clock: lease expiry compares times of different hosts."""

    def look(connection: Connection) -> datetime:
        with connection.begin():
            server_time: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            return server_time.astimezone(UTC)

    skew_s = abs((clock.now() - await database.run(look)).total_seconds())
    if skew_s > max_skew_s:
        raise ConfigurationError(
            f"this host's clock differs by {skew_s:.0f} s from the ledger's database; {max_skew_s:.0f} s are allowed"
        )


class SqlLedger:
    """Implements `worker.delivery.ledger.Ledger`; see there for what the methods do and raise.

    `mailboxes` is the mailbox state that all owners share, in the same database; `message_key` is for `Signatures`.
    """

    def __init__(
        self, database: Database, owner: Owner, options: LedgerOptions, observer: Observer | None, key: bytes
    ) -> None:
        self.message_key = key
        self._database = database
        self._owner = owner
        self._options = options
        self._writer = GroupCommit(self._run, owner.clock, options.timeout_s, options.max_operations, observer)
        self.mailboxes = LedgerMailboxStates(self._writer)

    async def claim(
        self, event_key: str, account_id: str, recipients: Sequence[int], limit: RecipientLimit | None = None
    ) -> dict[int, Claim]:
        return await self._writer.submit(to_claim(event_key, account_id, recipients, limit))

    async def hand_over(self, event_key: str, recipients: Sequence[int], hand_over: HandOver) -> None:
        started = self._owner.clock.now()
        await self._writer.submit(to_hand_over(event_key, recipients, hand_over))
        if self._owner.clock.now() >= started + self._owner.lease:
            # The process stalled after the commit, so others may consider our lease expired: better not to send now.
            await self.release(event_key, recipients)
            raise LostClaim("this worker stood still for longer than its lease")

    async def record(self, event_key: str, records: Sequence[Record]) -> None:
        await self._writer.submit(to_record(event_key, records))

    async def release(self, event_key: str, recipients: Sequence[int]) -> None:
        await self._writer.submit(to_release(event_key, recipients, keeps_doubt=False))

    async def abandon(self, event_key: str, recipients: Sequence[int]) -> None:
        await self._writer.submit(to_release(event_key, recipients, keeps_doubt=True))

    async def reopen(self, event_key: str, recipients: Sequence[int]) -> None:
        await self._writer.submit(to_reopen(event_key, recipients))

    async def consent(self, event_key: str, recipients: Sequence[int], up_to_attempt: int) -> None:
        await self._writer.submit(to_consent(event_key, recipients, up_to_attempt))

    async def hand_overs(self, event_key: str) -> dict[int, HandOver | None]:
        return hand_overs_of(await self.entries(event_key))

    async def account_of(self, event_key: str) -> str | None:
        return next((entry.account_id for entry in await self.entries(event_key)), None)

    async def keep_alive(self) -> None:
        await self._writer.submit(Command(lambda *_: None))  # every transaction that writes renews the lease

    async def expire(self) -> int:
        """As in the port; one chunk per transaction, so that the letters' own writes run in between."""
        retention, chunk_rows = timedelta(seconds=self._options.retention_s), self._options.rows_per_expiry
        forgotten = 0
        while True:
            chunk = Command(lambda connection, _, now: forget(connection, now, retention, chunk_rows))
            entries, others = await self._writer.submit(chunk)
            forgotten += entries
            if max(entries, others) < chunk_rows:
                return forgotten

    async def entries(self, event_key: str) -> list[Entry]:
        """The entries of an event's recipients, for an operator; read-only."""
        checked_key(event_key)
        return await self._writer.submit(Query(lambda connection, _, now: list_entries(connection, now, event_key)))

    async def close(self) -> None:
        if self._owner.id is not None:
            with suppress(Unavailable):  # the lease then expires
                await self._writer.submit(Command(leave))
        await self._writer.close()
        await self._database.close()

    async def _run(self, operations: Sequence[Operation[object]]) -> Answers:
        return await self._database.run(lambda connection: self._owner.run(connection, operations))
