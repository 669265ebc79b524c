"""Looks at the shared states of mailboxes: nothing is locked, and only announcements are taken or forgotten."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, bindparam, cast, delete, func, select, update

from worker.adapters.ledger.connection import Connected
from worker.adapters.ledger.mailbox_operations import (
    Seen,
    ToFind,
    ToListHeldUp,
    ToLook,
    ToReadState,
    ToTakeOver,
    ToTell,
)
from worker.adapters.ledger.mailbox_rows import imap_refusal, state_of
from worker.adapters.ledger.schema import announcements, mailboxes, shares
from worker.adapters.ledger.statements import Statement
from worker.adapters.ledger.suspension_text import suspension_from
from worker.delivery.mailbox_rules import held_news
from worker.delivery.mailbox_states import Announcement, MailboxKey, MailboxState, News, Overdue, Standing, Suspension

OVERDUE_AFTER = timedelta(seconds=30)
_MAX_OVERDUE = 100

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
# The sum of remainders: that of whole moments would not fit into 64 bits.
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


async def look(connection: Connected, me: int | None, now: datetime, operation: ToLook) -> tuple[News, Seen]:
    """What is new for an owner, and what it has seen then."""
    held = {}
    if me is not None:
        for row in await connection.execute(_HELD, {"me": me}):
            key = MailboxKey(row.account_id, row.mailbox_id)
            held[key] = held_news(state_of(row), row.connections, row.others or 0, me, now)
    numbers = (await connection.execute(_SEEN)).one()
    seen = Seen(*(int(number or 0) for number in numbers))
    suspended = None if seen == operation.seen else await list_suspended(connection)
    overdue = await connection.execute(_OVERDUE, {"before": now - OVERDUE_AFTER})
    return News(held, suspended, [Overdue(Announcement(row.id, row.body), row.at) for row in overdue]), seen


async def find(connection: Connected, operation: ToFind) -> Standing:
    """How one mailbox stands."""
    parameters = {"account": operation.key.account_id, "mailbox": operation.key.mailbox_id}
    for suspension, *refused in await _FIND.rows(connection, parameters):
        return Standing(None if suspension is None else suspension_from(suspension), imap_refusal(*refused))
    return Standing()


async def list_suspended(connection: Connected) -> list[Suspension]:
    """All suspensions, the oldest first."""
    return [suspension_from(text) for text in (await connection.execute(_SUSPENDED)).scalars()]


async def list_held_up(connection: Connected, now: datetime, operation: ToListHeldUp) -> dict[MailboxKey, MailboxState]:
    """The mailboxes that something holds up: one scan of the table, which has a row for each that ever sent."""
    parameters: dict[str, Any] = {"now": now, "at_most": operation.limit}
    if operation.accounts is None:
        rows = await connection.execute(_HELD_UP, parameters)
    else:
        rows = await connection.execute(_HELD_UP_OF, {**parameters, "accounts": sorted(operation.accounts)})
    return {MailboxKey(row.account_id, row.mailbox_id): state_of(row) for row in rows}


async def read_state(connection: Connected, operation: ToReadState) -> MailboxState:
    """Everything that is kept of one mailbox."""
    parameters = {"account": operation.key.account_id, "mailbox": operation.key.mailbox_id}
    for row in await connection.execute(_STATE, parameters):
        return state_of(row)
    return MailboxState()


async def tell(connection: Connected, now: datetime, operations: Sequence[ToTell | ToTakeOver]) -> dict[Any, Any]:
    """Forget announcements that were published, and take over those that were left behind."""
    answers: dict[Any, Any] = {}
    for operation in operations:
        if isinstance(operation, ToTell):
            await connection.execute(_FORGET, {"of_id": operation.announcement_id})
            answers[operation] = None
        else:
            overdue = operation.overdue
            taken = await connection.execute(
                _TAKE_OVER, {"of_id": overdue.announcement.id, "seen_at": overdue.at, "now": now}
            )
            answers[operation] = bool(taken.rowcount)
    return answers
