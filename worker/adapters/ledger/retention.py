"""Deletes expired rows, a bounded number at a time."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, or_, select, tuple_

from worker.adapters.ledger.operations import State
from worker.adapters.ledger.schema import consents, entries, letters, mailboxes, owners, results, shares
from worker.domain.recipient_limit import KEPT_SLOTS, slot_of

# A result is written after its entries are claimed, so it is younger than they are; the margin covers clocks set back
# in between.
_RESULT_MARGIN = timedelta(days=1)

_OLD_ENTRIES = (
    select(entries.c.event_key, entries.c.recipient)
    .select_from(entries.outerjoin(owners, owners.c.id == entries.c.owner))
    .where(
        entries.c.claimed_at < bindparam("before"),
        # Never one that was handed over: its outcome is still to be determined. A claim only once its owner's row is
        # deleted, so that the owner can never return for it.
        or_(entries.c.state == State.DONE, (entries.c.state == State.CLAIMED) & owners.c.id.is_(None)),
    )
    .order_by(entries.c.claimed_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=entries)  # several hosts may run this at the same time
)
_FORGET_ENTRIES = delete(entries).where(tuple_(entries.c.event_key, entries.c.recipient).in_(_OLD_ENTRIES))
_FORGET_RESULTS = delete(results).where(
    results.c.result_id.in_(
        select(results.c.result_id)
        .where(results.c.recorded_at < bindparam("before"))
        .order_by(results.c.recorded_at)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )
)
_FORGET_LETTERS = delete(letters).where(
    letters.c.address.in_(
        select(letters.c.address)
        .where(letters.c.newest < bindparam("oldest"))
        .order_by(letters.c.newest)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )
)
_FORGET_OWNERS = delete(owners).where(owners.c.alive_until < bindparam("before"))
# A suspension never expires: `worker.delivery.mailboxes.sync` ends those of removed mailboxes.
_FORGET_MAILBOXES = delete(mailboxes).where(
    mailboxes.c.suspended_at.is_(None), mailboxes.c.touched_at < bindparam("before")
)
_FORGET_CONSENTS = delete(consents).where(consents.c.given_at < bindparam("before"))
_FORGET_SHARES = delete(shares).where(shares.c.owner.not_in(select(owners.c.id)))


def forget(connection: Connection, now: datetime, retention: timedelta, limit: int) -> tuple[int, int]:
    """Delete at most `limit` rows of each kind; returns the count of entries, and the highest count of another kind."""
    before = now - retention
    connection.execute(_FORGET_OWNERS, {"before": before})
    old = connection.execute(_FORGET_ENTRIES, {"before": before, "limit": limit})
    connection.execute(_FORGET_SHARES)
    connection.execute(_FORGET_CONSENTS, {"before": before})
    connection.execute(_FORGET_MAILBOXES, {"before": before})
    orphaned = connection.execute(_FORGET_RESULTS, {"before": before - _RESULT_MARGIN, "limit": limit})
    uncounted = connection.execute(_FORGET_LETTERS, {"oldest": slot_of(now) - KEPT_SLOTS, "limit": limit})
    return old.rowcount, max(orphaned.rowcount, uncounted.rowcount)
