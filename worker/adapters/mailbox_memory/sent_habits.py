"""Habits of Sent folders in the ledger's database: one row for each mailbox of an unknown provider."""

from datetime import timedelta

from sqlalchemy import delete, select

from worker.adapters.ledger.connection import Connected
from worker.adapters.ledger.schema import sent_habits as table
from worker.adapters.mailbox_memory.transactions import Transactions, upsert
from worker.delivery.ports import Clock
from worker.delivery.sent_copy.autosave_detection import SentPlace
from worker.domain.sent_habit import SentHabit, after_look

_FORGOTTEN_AFTER = timedelta(days=30)


class SqlSentHabits:
    """Implements `SentHabits`."""

    def __init__(self, run: Transactions, clock: Clock) -> None:
        self._run = run
        self._clock = clock

    async def saves(self, place: SentPlace) -> bool | None:
        """See `SentHabits`."""
        habit = await self._run(lambda connection: _read(connection, place))
        return None if habit is None else habit.saves(self._clock.now())

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """See `SentHabits`. Of two looks at the same moment one may be lost: there are more letters."""

        async def note(connection: Connected) -> None:
            habit = after_look(await _read(connection, place), was_there=was_there, at=self._clock.now())
            values = {"settings": place.settings, "streak": habit.streak, "seen_at": habit.seen_at}
            await connection.execute(
                upsert(connection, table)
                .values(account_id=place.account_id, mailbox_id=place.mailbox_id, **values)
                .on_conflict_do_update(index_elements=[table.c.account_id, table.c.mailbox_id], set_=values)
            )

        await self._run(note)

    async def forget(self) -> None:
        """Drop what was not seen for long."""
        old = delete(table).where(table.c.seen_at < self._clock.now() - _FORGOTTEN_AFTER)

        async def write(connection: Connected) -> None:
            await connection.execute(old)

        await self._run(write)


async def _read(connection: Connected, place: SentPlace) -> SentHabit | None:
    found = await connection.execute(
        select(table.c.streak, table.c.seen_at).where(
            table.c.account_id == place.account_id,
            table.c.mailbox_id == place.mailbox_id,
            table.c.settings == place.settings,
        )
    )
    row = found.first()
    return None if row is None else SentHabit(row.streak, row.seen_at)
