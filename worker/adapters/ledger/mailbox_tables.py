"""Shared mailbox states in the database: locked, changed by rules and written back; or only read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Connection, Row, bindparam, cast, delete, func, select, tuple_, update

from worker.adapters.ledger.operations import OnMailbox, Operation
from worker.adapters.ledger.schema import announcements, mailboxes, owners, shares
from worker.adapters.ledger.statements import Statement, upsert
from worker.delivery.mailboxes.rules import SharedMailbox, held_news
from worker.delivery.mailboxes.state import (
    Cap,
    ImapRefusal,
    MailboxKey,
    MailboxState,
    MailboxUpdates,
    OutboxMessage,
    Resting,
    Revision,
    StaleMessage,
    Standing,
    Suspension,
)
from worker.domain.rate_window import counts_of, text_of
from worker.domain.vocabulary import Reason

OVERDUE_AFTER = timedelta(seconds=30)
_MAX_OVERDUE = 100

_SUSPENSION = TypeAdapter(Suspension)

_KEYS: Any = bindparam("keys", expanding=True)
_LOCK = (
    select(mailboxes)
    .where(tuple_(mailboxes.c.account_id, mailboxes.c.mailbox_id).in_(_KEYS))
    # In a fixed order, so that two owners locking the same rows cannot deadlock.
    .order_by(mailboxes.c.account_id, mailboxes.c.mailbox_id)
    .with_for_update()
)
_SHARES = (
    select(shares, (owners.c.alive_until > bindparam("now")).label("is_alive"))
    .select_from(shares.outerjoin(owners, owners.c.id == shares.c.owner))
    .where(tuple_(shares.c.account_id, shares.c.mailbox_id).in_(_KEYS))
)
_THIS_SHARE = (
    shares.c.account_id == bindparam("account"),
    shares.c.mailbox_id == bindparam("mailbox"),
    shares.c.owner == bindparam("of_owner"),
)
_DROP_SHARE = delete(shares).where(*_THIS_SHARE)
_STATE_COLUMNS = tuple(column.name for column in mailboxes.columns if not column.primary_key)
_WRITE = (
    update(mailboxes)
    .where(mailboxes.c.account_id == bindparam("account"), mailboxes.c.mailbox_id == bindparam("mailbox"))
    .values({name: bindparam(f"new_{name}") for name in _STATE_COLUMNS})
)
_OTHERS = shares.alias()
_OF_OTHERS = (
    select(func.sum(_OTHERS.c.connections))
    .where(
        _OTHERS.c.account_id == shares.c.account_id,
        _OTHERS.c.mailbox_id == shares.c.mailbox_id,
        _OTHERS.c.owner != shares.c.owner,
    )
    .scalar_subquery()
)
_HELD = (
    select(mailboxes, shares.c.connections, _OF_OTHERS.label("others"))
    .select_from(
        shares.join(
            mailboxes,
            (shares.c.account_id == mailboxes.c.account_id) & (shares.c.mailbox_id == mailboxes.c.mailbox_id),
        )
    )
    .where(shares.c.owner == bindparam("me"))
)
_IS_SUSPENDED = mailboxes.c.suspended_at.is_not(None)
_MOMENT = cast(mailboxes.c.suspended_at, BigInteger)
# The sum of remainders: a sum of full timestamps would overflow 64 bits.
_SEEN = select(func.count(), func.max(_MOMENT), func.sum(_MOMENT % 1_000_003)).where(_IS_SUSPENDED)
_SUSPENDED = select(mailboxes.c.suspension).where(_IS_SUSPENDED).order_by(mailboxes.c.suspended_at)
_FIND = Statement(
    select(
        mailboxes.c.suspension,
        mailboxes.c.imap_refused_of,
        mailboxes.c.imap_refused_until,
        mailboxes.c.imap_refused_for,
    ).where(mailboxes.c.account_id == bindparam("account"), mailboxes.c.mailbox_id == bindparam("mailbox"))
)
_HELD_UP = (
    select(mailboxes)
    .where(
        _IS_SUSPENDED
        | (mailboxes.c.rests_until > bindparam("now"))
        | (mailboxes.c.imap_refused_until > bindparam("now"))
        | mailboxes.c.cap_connections.is_not(None)
    )
    .order_by(mailboxes.c.suspended_at.is_(None), mailboxes.c.suspended_at, mailboxes.c.rests_until)
    .limit(bindparam("at_most"))
)
_HELD_UP_OF = _HELD_UP.where(mailboxes.c.account_id.in_(bindparam("accounts", expanding=True)))
_STATE = select(mailboxes).where(
    mailboxes.c.account_id == bindparam("account"), mailboxes.c.mailbox_id == bindparam("mailbox")
)
_OVERDUE = (
    select(announcements)
    .where(announcements.c.at < bindparam("before"))
    .order_by(announcements.c.at)
    .limit(_MAX_OVERDUE)
)
_TAKE_OVER = (
    update(announcements)
    .where(announcements.c.id == bindparam("of_id"), announcements.c.at == bindparam("seen_at"))
    .values(at=bindparam("now"))
)
_FORGET = delete(announcements).where(announcements.c.id == bindparam("of_id"))


def change(
    connection: Connection, me: int, now: datetime, operations: Sequence[OnMailbox[Any]]
) -> dict[Operation[Any], Any]:
    """Apply rules in order; each mailbox's row stays locked until the transaction ends."""
    if not operations:
        return {}
    keys = sorted({operation.key for operation in operations})
    before = _locked(connection, keys)
    rows = {key: SharedMailbox(me, now, state, {}) for key, state in before.items()}
    dead = _read_shares(connection, rows, now)
    mine = {key: row.shares.get(me, 0) for key, row in rows.items()}
    answers: dict[Operation[Any], Any] = {operation: operation.rule(rows[operation.key]) for operation in operations}
    changed = [(key, row.state) for key, row in rows.items() if row.state != before[key]]
    if changed:
        connection.execute(_WRITE, [_values(key, state) for key, state in changed])
    _write_shares(connection, me, {key: row.shares.get(me, 0) for key, row in rows.items()}, mine)
    if dead:
        connection.execute(_DROP_SHARE, dead)
    _announce(connection, now, [each for row in rows.values() for each in row.announcements])
    return answers


def _locked(connection: Connection, keys: Sequence[MailboxKey]) -> dict[MailboxKey, MailboxState]:
    found = _lock(connection, keys)
    if missing := [key for key in keys if key not in found]:
        rows = [{"account_id": key.account_id, "mailbox_id": key.mailbox_id} for key in missing]
        connection.execute(upsert(connection.dialect.name, mailboxes).on_conflict_do_nothing(), rows)
        found |= _lock(connection, missing)
    return found


def _lock(connection: Connection, keys: Collection[MailboxKey]) -> dict[MailboxKey, MailboxState]:
    rows = connection.execute(_LOCK, {"keys": [tuple(key) for key in keys]})
    return {MailboxKey(row.account_id, row.mailbox_id): state_of(row) for row in rows}


def _read_shares(connection: Connection, rows: dict[MailboxKey, SharedMailbox], now: datetime) -> list[dict[str, Any]]:
    """Add the shares of live owners to the rows; return those of dead owners, which are never released."""
    dead = []
    found = connection.execute(_SHARES, {"keys": [tuple(key) for key in rows], "now": now})
    for share in found:
        if share.is_alive:
            rows[MailboxKey(share.account_id, share.mailbox_id)].shares[share.owner] = share.connections
        else:
            dead.append({"account": share.account_id, "mailbox": share.mailbox_id, "of_owner": share.owner})
    return dead


def _write_shares(connection: Connection, me: int, after: dict[MailboxKey, int], before: dict[MailboxKey, int]) -> None:
    changed = [(key, number) for key, number in after.items() if number != before[key]]
    dropped = [
        {"account": k.account_id, "mailbox": k.mailbox_id, "of_owner": me} for k, number in changed if not number
    ]
    if dropped:
        connection.execute(_DROP_SHARE, dropped)
    kept = [
        {"account_id": key.account_id, "mailbox_id": key.mailbox_id, "owner": me, "connections": number}
        for key, number in changed
        if number
    ]
    if kept:
        connection.execute(_put_share(connection.dialect.name), kept)


def _put_share(dialect: str) -> Any:
    statement = upsert(dialect, shares)
    return statement.on_conflict_do_update(
        index_elements=[shares.c.account_id, shares.c.mailbox_id, shares.c.owner],
        set_={"connections": statement.excluded.connections},
    )


def _announce(connection: Connection, now: datetime, made: Sequence[OutboxMessage]) -> None:
    if made:
        rows = [{"id": each.id, "at": now, "body": each.body} for each in made]
        connection.execute(upsert(connection.dialect.name, announcements).on_conflict_do_nothing(), rows)


def state_of(row: Row[Any]) -> MailboxState:
    """The mailbox state in a row."""
    suspension = None if row.suspension is None else suspension_from(row.suspension)
    return MailboxState(
        revision=None if row.fingerprint is None else Revision(row.fingerprint, row.snapshot_version),
        touched_at=row.touched_at,
        proven_at=row.proven_at,
        resting=None if row.rests_until is None else Resting(row.rests_until, Reason(row.rests_for)),
        wanted_at=row.wanted_at,
        wanted_by=row.wanted_by,
        resumed_at=row.resumed_at,
        minute=counts_of(row.minute_counts or ""),
        day=counts_of(row.day_counts or ""),
        suspension=suspension,
        imap_refusal=imap_refusal(row.imap_refused_of, row.imap_refused_until, row.imap_refused_for),
        cap=None if row.cap_connections is None else Cap(row.cap_connections, row.cap_since),
    )


def imap_refusal(of: str, until: datetime | None, why: str) -> ImapRefusal | None:
    """The refused IMAP sign-in, from the row's columns; either all or none of them are empty."""
    return None if until is None else ImapRefusal(of, until, Reason(why))


def _values(key: MailboxKey, state: MailboxState) -> dict[str, Any]:
    values = {
        "fingerprint": state.revision.fingerprint if state.revision else None,
        "snapshot_version": state.revision.version if state.revision else None,
        "touched_at": state.touched_at,
        "proven_at": state.proven_at,
        "rests_until": state.resting.until if state.resting else None,
        "rests_for": state.resting.reason.value if state.resting else None,
        "wanted_at": state.wanted_at,
        "wanted_by": state.wanted_by,
        "resumed_at": state.resumed_at,
        "minute_counts": text_of(state.minute) or None,
        "day_counts": text_of(state.day) or None,
        "suspended_at": state.suspension.since if state.suspension else None,
        "suspended_for": state.suspension.reason.value if state.suspension else None,
        "suspension": suspension_text(state.suspension) if state.suspension else None,
        "imap_refused_of": state.imap_refusal.fingerprint if state.imap_refusal else None,
        "imap_refused_until": state.imap_refusal.until if state.imap_refusal else None,
        "imap_refused_for": state.imap_refusal.reason.value if state.imap_refusal else None,
        "cap_connections": state.cap.connections if state.cap else None,
        "cap_since": state.cap.since if state.cap else None,
    }
    return {"account": key.account_id, "mailbox": key.mailbox_id, **{f"new_{n}": v for n, v in values.items()}}


@dataclass(frozen=True, slots=True)
class Seen:
    """Fingerprint of a set of suspensions, compared without reading them: count, latest, and a sum over their times."""

    count: int
    latest: int
    total: int


def look(connection: Connection, me: int | None, now: datetime, before: Seen | None) -> tuple[MailboxUpdates, Seen]:
    """Updates for an owner, and the fingerprint seen by then; suspensions unchanged since `before` are not reread."""
    held = {}
    if me is not None:
        for row in connection.execute(_HELD, {"me": me}):
            key = MailboxKey(row.account_id, row.mailbox_id)
            held[key] = held_news(state_of(row), row.connections, row.others or 0, me, now)
    numbers = connection.execute(_SEEN).one()
    seen = Seen(*(int(number or 0) for number in numbers))
    suspended = None if seen == before else list_suspended(connection)
    overdue = connection.execute(_OVERDUE, {"before": now - OVERDUE_AFTER})
    return MailboxUpdates(
        held, suspended, [StaleMessage(OutboxMessage(row.id, row.body), row.at) for row in overdue]
    ), seen


def find(connection: Connection, key: MailboxKey) -> Standing:
    """The standing of one mailbox."""
    for suspension, *refused in _FIND.rows(connection, {"account": key.account_id, "mailbox": key.mailbox_id}):
        return Standing(None if suspension is None else suspension_from(suspension), imap_refusal(*refused))
    return Standing()


def list_held_up(
    connection: Connection, now: datetime, limit: int, accounts: frozenset[str] | None
) -> dict[MailboxKey, MailboxState]:
    """The mailboxes that are held up: one scan of the table, which has a row for each mailbox that ever sent."""
    parameters: dict[str, Any] = {"now": now, "at_most": limit}
    if accounts is None:
        rows = connection.execute(_HELD_UP, parameters)
    else:
        rows = connection.execute(_HELD_UP_OF, {**parameters, "accounts": sorted(accounts)})
    return {MailboxKey(row.account_id, row.mailbox_id): state_of(row) for row in rows}


def read_state(connection: Connection, key: MailboxKey) -> MailboxState:
    """Everything the ledger stores about one mailbox."""
    for row in connection.execute(_STATE, {"account": key.account_id, "mailbox": key.mailbox_id}):
        return state_of(row)
    return MailboxState()


def list_suspended(connection: Connection) -> list[Suspension]:
    """All suspensions, the oldest first."""
    return [suspension_from(text) for text in connection.execute(_SUSPENDED).scalars()]


def forget_announcement(connection: Connection, announcement_id: str) -> None:
    """Delete a published announcement."""
    connection.execute(_FORGET, {"of_id": announcement_id})


def take_over(connection: Connection, now: datetime, overdue: StaleMessage) -> bool:
    """Take over an announcement that its owner left behind; False when another owner was faster."""
    taken = connection.execute(_TAKE_OVER, {"of_id": overdue.announcement.id, "seen_at": overdue.at, "now": now})
    return bool(taken.rowcount)


def suspension_text(suspension: Suspension) -> str:
    """The whole suspension as JSON."""
    # PostgreSQL stores no NUL; JSON already escapes it.
    return _SUSPENSION.dump_json(suspension).decode()


def suspension_from(text: str) -> Suspension:
    """The suspension serialised by `suspension_text`."""
    return _SUSPENSION.validate_json(text)
