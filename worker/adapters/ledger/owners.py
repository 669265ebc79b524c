"""Owners and their leases. Every writing transaction begins by renewing its owner's row, with three effects:

- the owner's lease is extended;
- the transactions of one owner are serialised, even when an earlier one is still stuck in the database after its caller
  gave up;
- no other owner can take its entries meanwhile, because taking them requires a lock on the same row.
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
    # A locked row means that its owner is writing, and so alive, or that another owner is taking over. Skipping it
    # also avoids a deadlock between two owners that suspect each other. SQLite, with one writer, ignores this.
    .with_for_update(skip_locked=True)
)


def renew(connection: Connection, me: int | None, name: str, now: datetime, until: datetime) -> int:
    """Renew the owner's lease, and protect its entries until the transaction ends.

    Returns:
        The owner's id: a new one if the owner was silent for so long that it was deleted; its claims are then lost.
    """
    if me is not None and _RENEW.count(connection, {"me": me, "until": until}):
        return me
    registered = connection.execute(_REGISTER, {"name": name, "started_at": now, "alive_until": until})
    return int(registered.scalar_one())


def leave(connection: Connection, me: int, now: datetime) -> None:
    """End the owner's lease."""
    _RENEW.count(connection, {"me": me, "until": now})


def lock_dead(connection: Connection, suspects: Collection[int], now: datetime) -> set[int]:
    """The suspects that are certainly dead, locked so that they cannot renew before the transaction ends."""
    if not suspects:
        return set()
    locked = connection.execute(_LOCK_DEAD, {"ids": sorted(suspects), "now": now})
    return set(locked.scalars())
