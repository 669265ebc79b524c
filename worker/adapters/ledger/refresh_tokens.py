"""Rotated refresh tokens in the ledger's database: sealed tokens, and digests of their predecessors."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from worker.adapters.ledger.database import Database
from worker.adapters.ledger.schema import refresh_tokens as table
from worker.adapters.ledger.statements import upsert
from worker.delivery.ports import Clock
from worker.delivery.token_rotation import Rotation

DIGEST_BYTES = 16
# Longer than any provider lets an unused refresh token live (Microsoft: 90 days; Google: six months).
_FORGOTTEN_AFTER = timedelta(days=200)

_COLUMNS = (
    table.c.grant_key,
    table.c.account_id,
    table.c.username,
    table.c.sealed,
    table.c.known,
    table.c.rotated_at,
)


class SqlRefreshTokens:
    """Implements `RefreshTokens`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take_turn(self, grant: bytes, holder: str, for_s: float) -> bool:
        """See `RefreshTokens`."""
        now = self._clock.now()
        turn = {"turn_of": holder, "turn_until": now + timedelta(seconds=for_s)}

        def take(connection: Connection) -> bool:
            taken = connection.execute(
                upsert(connection.dialect.name, table)
                .values(grant_key=grant, **turn)
                .on_conflict_do_update(
                    index_elements=[table.c.grant_key],
                    set_=turn,
                    where=or_(table.c.turn_until <= now, table.c.turn_of == holder),
                )
                .returning(table.c.grant_key)
            )
            return taken.first() is not None

        return await self._database.transact(take)

    async def end_turn(self, grant: bytes, holder: str) -> None:
        """See `RefreshTokens`."""
        is_holders = (table.c.grant_key == grant) & (table.c.turn_of == holder)
        await self._write(update(table).where(is_holders).values(turn_until=self._clock.now()))

    async def newest(self, grant: bytes) -> Rotation | None:
        """See `RefreshTokens`."""
        wanted = select(*_COLUMNS).where(table.c.grant_key == grant, table.c.sealed.is_not(None))

        def read(connection: Connection) -> Rotation | None:
            row = connection.execute(wanted).first()
            return None if row is None else _rotation(row)

        return await self._database.transact(read)

    async def keep(self, rotation: Rotation) -> None:
        """See `RefreshTokens`."""
        values = {
            "account_id": rotation.account_id,
            "username": rotation.username,
            "sealed": rotation.sealed,
            "known": b"".join(rotation.known),
            "rotated_at": rotation.rotated_at,
            "told_at": None,
        }

        def write(connection: Connection) -> None:
            connection.execute(
                upsert(connection.dialect.name, table)
                .values(grant_key=rotation.grant, turn_until=rotation.rotated_at, **values)
                .on_conflict_do_update(index_elements=[table.c.grant_key], set_=values)
            )

        await self._database.transact(write)

    async def untold(self, limit: int) -> Sequence[Rotation]:
        """See `RefreshTokens`."""
        wanted = select(*_COLUMNS).where(table.c.sealed.is_not(None), table.c.told_at.is_(None))

        def read(connection: Connection) -> list[Rotation]:
            rows = connection.execute(wanted.order_by(table.c.rotated_at).limit(limit))
            return [_rotation(row) for row in rows]

        return await self._database.transact(read)

    async def told(self, rotation: Rotation) -> None:
        """See `RefreshTokens`."""
        is_it = (table.c.grant_key == rotation.grant) & (table.c.sealed == rotation.sealed)
        await self._write(update(table).where(is_it).values(told_at=self._clock.now()))

    async def forget(self) -> None:
        """Delete grants not renewed for so long that their tokens have expired."""
        await self._write(delete(table).where(table.c.turn_until < self._clock.now() - _FORGOTTEN_AFTER))

    async def _write(self, statement: Any) -> None:
        def write(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.transact(write)


def _rotation(row: Any) -> Rotation:
    known: bytes = row.known
    rotated_at: datetime = row.rotated_at
    return Rotation(
        grant=row.grant_key,
        account_id=row.account_id,
        username=row.username,
        sealed=row.sealed,
        known=tuple(known[start : start + DIGEST_BYTES] for start in range(0, len(known), DIGEST_BYTES)),
        rotated_at=rotated_at,
    )
