"""Looks at the shared states of mailboxes, which lock nothing; and announcements, once they are there."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, bindparam, cast, delete, func, select, update

from worker.adapters.ledger.mailbox_rows import imap_refusal, state_of
from worker.adapters.ledger.schema import announcements, mailboxes, shares
from worker.adapters.ledger.statements import Statement
from worker.adapters.ledger.suspension_text import suspension_from
from worker.delivery.mailbox_rules import held_news
from worker.delivery.mailbox_states import Announcement, MailboxKey, News, Overdue, Standing, Suspension

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


@dataclass(frozen=True, slots=True)
class Seen:
    """Tells two sets of suspensions apart without reading them: how many, the latest, and a sum over their times."""

    count: int
    latest: int
    total: int


def look(connection: Connection, me: int | None, now: datetime, before: Seen | None) -> tuple[News, Seen]:
    """What is new for an owner, and what it has seen then; suspensions that it saw `before` are not read once more."""
    held = {}
    if me is not None:
        for row in connection.execute(_HELD, {"me": me}):
            key = MailboxKey(row.account_id, row.mailbox_id)
            held[key] = held_news(state_of(row), row.connections, row.others or 0, me, now)
    numbers = connection.execute(_SEEN).one()
    seen = Seen(*(int(number or 0) for number in numbers))
    suspended = None if seen == before else list_suspended(connection)
    overdue = connection.execute(_OVERDUE, {"before": now - OVERDUE_AFTER})
    return News(held, suspended, [Overdue(Announcement(row.id, row.body), row.at) for row in overdue]), seen


def find(connection: Connection, key: MailboxKey) -> Standing:
    """How one mailbox stands."""
    for suspension, *refused in _FIND.rows(connection, {"account": key.account_id, "mailbox": key.mailbox_id}):
        return Standing(None if suspension is None else suspension_from(suspension), imap_refusal(*refused))
    return Standing()


def list_suspended(connection: Connection) -> list[Suspension]:
    """All suspensions, the oldest first."""
    return [suspension_from(text) for text in connection.execute(_SUSPENDED).scalars()]


def forget_announcement(connection: Connection, announcement_id: str) -> None:
    """Drop an announcement that was published."""
    connection.execute(_FORGET, {"of_id": announcement_id})


def take_over(connection: Connection, now: datetime, overdue: Overdue) -> bool:
    """Take over an announcement that was left behind; False when another owner was faster."""
    taken = connection.execute(_TAKE_OVER, {"of_id": overdue.announcement.id, "seen_at": overdue.at, "now": now})
    return bool(taken.rowcount)
