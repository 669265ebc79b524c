"""The shared states of mailboxes as operations on a ledger: in its database by its one writer, or in its memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from worker.adapters.ledger.mailbox_operations import (
    Seen,
    ToEnter,
    ToFind,
    ToKeep,
    ToListHeldUp,
    ToListSuspended,
    ToLook,
    ToPermit,
    ToProve,
    ToReadState,
    ToRefund,
    ToRefuseImap,
    ToRest,
    ToResume,
    ToSuspend,
    ToTakeOver,
    ToTell,
    checked_mailbox,
)
from worker.adapters.ledger.operations import Operation, check_texts
from worker.delivery.mailbox_states import (
    Announcement,
    Entry,
    ImapRefusal,
    Limited,
    MailboxKey,
    MailboxLimits,
    MailboxState,
    News,
    Overdue,
    Resting,
    Revision,
    Shut,
    Standing,
    Suspension,
)
from worker.domain.vocabulary import Reason

T = TypeVar("T")


class Submits(Protocol):
    """What carries an operation out. Raises `Unavailable`."""

    async def submit(self, operation: Operation[T]) -> T:
        """The operation's answer."""


class OperatedMailboxStates:
    """Implements `worker.delivery.mailbox_states.MailboxStates`; see there."""

    def __init__(self, ledger: Submits) -> None:
        self._ledger = ledger
        self._seen: Seen | None = None

    async def enter(self, key: MailboxKey, revision: Revision, limits: MailboxLimits, connections: int) -> Entry:
        return await self._ledger.submit(ToEnter(checked_mailbox(key), revision, limits, connections))

    async def keep(self, key: MailboxKey, connections: int) -> None:
        await self._ledger.submit(ToKeep(checked_mailbox(key), connections))

    async def permit(self, key: MailboxKey, limits: MailboxLimits, recipients: int) -> Shut | Resting | Limited | None:
        return await self._ledger.submit(ToPermit(checked_mailbox(key), limits, recipients))

    async def refund(self, key: MailboxKey, recipients: int) -> None:
        await self._ledger.submit(ToRefund(checked_mailbox(key), recipients))

    async def prove(self, key: MailboxKey, revision: Revision) -> None:
        await self._ledger.submit(ToProve(checked_mailbox(key), revision))

    async def rest(self, key: MailboxKey, until: datetime, reason: Reason) -> int | None:
        return await self._ledger.submit(ToRest(checked_mailbox(key), until, reason))

    async def refuse_imap(self, key: MailboxKey, refusal: ImapRefusal) -> None:
        await self._ledger.submit(ToRefuseImap(checked_mailbox(key), refusal))

    async def suspend(self, suspension: Suspension, announcement: Announcement) -> Suspension | None:
        return await self._ledger.submit(ToSuspend(checked_mailbox(suspension.key), suspension, announcement))

    async def resume(
        self, suspension: Suspension, announcement: Announcement, revision: Revision | None = None
    ) -> bool:
        key = checked_mailbox(suspension.key)
        return await self._ledger.submit(ToResume(key, suspension, announcement, revision))

    async def told(self, announcement_id: str) -> None:
        await self._ledger.submit(ToTell(announcement_id))

    async def take_over(self, overdue: Overdue) -> bool:
        return await self._ledger.submit(ToTakeOver(overdue))

    async def look(self) -> News:
        answer = await self._ledger.submit(ToLook(self._seen))
        news, self._seen = answer
        return news

    async def standing(self, key: MailboxKey) -> Standing:
        return await self._ledger.submit(ToFind(checked_mailbox(key)))

    async def suspended(self) -> Sequence[Suspension]:
        return await self._ledger.submit(ToListSuspended())

    async def held_up(self, limit: int, accounts: frozenset[str] | None = None) -> Mapping[MailboxKey, MailboxState]:
        check_texts(*(accounts or ()))
        return await self._ledger.submit(ToListHeldUp(limit, accounts))

    async def state(self, key: MailboxKey) -> MailboxState:
        return await self._ledger.submit(ToReadState(checked_mailbox(key)))
