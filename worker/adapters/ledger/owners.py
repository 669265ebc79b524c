"""Who lives. Every writing transaction begins by renewing its owner's row, which does three things at once:

- an owner that writes is alive;
- the transactions of one owner follow one another, even when an earlier one is still stuck in the database after its
  caller gave up;
- while it runs nobody can take the owner's entries, because a taker has to lock the very same row.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from worker.adapters.ledger.schema import owners
from worker.adapters.ledger.statements import Statement

_RENEW = Statement(update(owners).where(owners.c.id == bindparam("me")).values(alive_until=bindparam("until")))
_REGISTER = insert(owners).returning(owners.c.id)
_LOCK_DEAD = (
    select(owners.c.id)
    .where(owners.c.id.in_(bindparam("ids", expanding=True)), owners.c.alive_until <= bindparam("now"))
    # Locked by somebody else: its owner is writing, and so alive, or another taker is faster. Not to wait for it also
    # keeps two owners that suspect each other out of a deadlock. SQLite has one writer at a time and ignores this.
    .with_for_update(skip_locked=True)
)


def renew(connection: Connection, me: int | None, name: str, now: datetime, until: datetime) -> int:
    """Say that the owner lives and keep others from its entries until the end of the transaction.

    Returns:
        The owner's id: another one when it was silent for so long that it is forgotten; its claims are lost then.
    """
    if me is not None and _RENEW.count(connection, {"me": me, "until": until}):
        return me
    registered = connection.execute(_REGISTER, {"name": name, "started_at": now, "alive_until": until})
    return int(registered.scalar_one())


def leave(connection: Connection, me: int, now: datetime) -> None:
    """Say that the owner is gone."""
    _RENEW.count(connection, {"me": me, "until": now})


def lock_dead(connection: Connection, suspects: Collection[int], now: datetime) -> set[int]:
    """Those of the suspects that are dead for certain, and cannot come back before the end of the transaction."""
    if not suspects:
        return set()
    locked = connection.execute(_LOCK_DEAD, {"ids": sorted(suspects), "now": now})
    return set(locked.scalars())
