"""Learned per mailbox: whether the provider itself saves to Sent. One row per mailbox in the ledger's database."""

from collections import OrderedDict
from datetime import timedelta

from sqlalchemy import Connection, delete, select

from worker.adapters.ledger.database import Database
from worker.adapters.ledger.schema import sent_habits as table
from worker.adapters.ledger.statements import upsert
from worker.delivery.ports import Clock
from worker.delivery.sent_copy.autosave_detection import SentHabits, SentPlace
from worker.domain.sent_autosave import SentHabit, after_look

_FORGOTTEN_AFTER = timedelta(days=30)
_RECALLED_FOR_S = 600.0
_MAX_PLACES = 50_000


class SqlSentHabits:
    """Implements `SentHabits`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def saves(self, place: SentPlace) -> bool | None:
        """See `SentHabits`."""
        habit = await self._database.transact(lambda connection: _read(connection, place))
        return None if habit is None else habit.saves(self._clock.now())

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """See `SentHabits`. One of two simultaneous observations may be lost: more letters follow."""

        def note(connection: Connection) -> None:
            habit = after_look(_read(connection, place), was_there=was_there, at=self._clock.now())
            values = {"settings": place.settings, "streak": habit.streak, "seen_at": habit.seen_at}
            connection.execute(
                upsert(connection.dialect.name, table)
                .values(account_id=place.account_id, mailbox_id=place.mailbox_id, **values)
                .on_conflict_do_update(index_elements=[table.c.account_id, table.c.mailbox_id], set_=values)
            )

        await self._database.transact(note)

    async def forget(self) -> None:
        """Delete observations that are too old."""
        old = delete(table).where(table.c.seen_at < self._clock.now() - _FORGOTTEN_AFTER)

        def write(connection: Connection) -> None:
            connection.execute(old)

        await self._database.transact(write)


def _read(connection: Connection, place: SentPlace) -> SentHabit | None:
    found = connection.execute(
        select(table.c.streak, table.c.seen_at).where(
            table.c.account_id == place.account_id,
            table.c.mailbox_id == place.mailbox_id,
            table.c.settings == place.settings,
        )
    )
    row = found.first()
    return None if row is None else SentHabit(row.streak, row.seen_at)


class RecalledSentHabits:
    """Implements `SentHabits` as a cache over another one, read every few minutes instead of for every letter.

    New or contradicting observations are written through at once.
    """

    def __init__(self, inner: SentHabits, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._known: OrderedDict[SentPlace, tuple[bool, float]] = OrderedDict()

    async def saves(self, place: SentPlace) -> bool | None:
        """See `SentHabits`."""
        recalled = self._recalled(place)
        if recalled is not None:
            return recalled
        known = await self._inner.saves(place)
        if known is not None:
            self._known[place] = (known, self._clock.monotonic() + _RECALLED_FOR_S)
            self._known.move_to_end(place)
            if len(self._known) > _MAX_PLACES:
                self._known.popitem(last=False)
        return known

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """See `SentHabits`. An observation that agrees with the cached one is not written."""
        if self._recalled(place) is was_there:
            return
        await self._inner.saw(place, was_there=was_there)
        self._known.pop(place, None)

    def _recalled(self, place: SentPlace) -> bool | None:
        known, until = self._known.get(place, (None, 0.0))
        return known if self._clock.monotonic() < until else None
