"""Shared mailbox states, as operations run by the ledger's single writer."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from worker.adapters.ledger.group_commit import GroupCommit
from worker.adapters.ledger.mailbox_tables import (
    Seen,
    find,
    forget_announcement,
    list_held_up,
    list_suspended,
    look,
    read_state,
    take_over,
)
from worker.adapters.ledger.operations import Command, Query, check_texts, on_mailbox
from worker.delivery.mailboxes import rules as rules
from worker.delivery.mailboxes.rules import SharedMailbox
from worker.delivery.mailboxes.state import (
    Entry,
    ImapRefusal,
    Limited,
    MailboxKey,
    MailboxLimits,
    MailboxState,
    MailboxUpdates,
    OutboxMessage,
    Resting,
    Revision,
    Shut,
    StaleMessage,
    Standing,
    Suspension,
)
from worker.domain.vocabulary import Reason

T = TypeVar("T")
P = ParamSpec("P")


class LedgerMailboxStates:
    """Implements `worker.delivery.mailboxes.state.MailboxStates`; see there."""

    def __init__(self, writer: GroupCommit) -> None:
        self._writer = writer
        self._seen: Seen | None = None

    async def apply(
        self, key: MailboxKey, rule: Callable[Concatenate[SharedMailbox, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Apply a rule to one mailbox; returns the rule's answer."""
        return await self._writer.submit(on_mailbox(key, lambda mailbox: rule(mailbox, *args, **kwargs)))

    async def enter(self, key: MailboxKey, revision: Revision, limits: MailboxLimits, connections: int) -> Entry:
        return await self.apply(key, rules.enter, revision, limits, connections)

    async def keep(self, key: MailboxKey, connections: int) -> None:
        await self.apply(key, rules.keep, connections)

    async def permit(self, key: MailboxKey, limits: MailboxLimits, recipients: int) -> Shut | Resting | Limited | None:
        return await self.apply(key, rules.permit, limits, recipients)

    async def refund(self, key: MailboxKey, recipients: int) -> None:
        await self.apply(key, rules.refund, recipients)

    async def prove(self, key: MailboxKey, revision: Revision) -> None:
        await self.apply(key, rules.prove, revision)

    async def rest(self, key: MailboxKey, until: datetime, reason: Reason) -> int | None:
        return await self.apply(key, rules.rest, until, reason)

    async def refuse_imap(self, key: MailboxKey, refusal: ImapRefusal) -> None:
        await self.apply(key, rules.refuse_imap, refusal)

    async def suspend(self, suspension: Suspension, announcement: OutboxMessage) -> Suspension | None:
        return await self.apply(suspension.key, rules.suspend, suspension, announcement)

    async def resume(
        self, suspension: Suspension, announcement: OutboxMessage, revision: Revision | None = None
    ) -> bool:
        return await self.apply(suspension.key, rules.resume, suspension, announcement, revision)

    async def told(self, announcement_id: str) -> None:
        await self._writer.submit(Command(lambda connection, *_: forget_announcement(connection, announcement_id)))

    async def take_over(self, overdue: StaleMessage) -> bool:
        return await self._writer.submit(Command(lambda connection, _, now: take_over(connection, now, overdue)))

    async def look(self) -> MailboxUpdates:
        before = self._seen
        answer = await self._writer.submit(Query(lambda connection, me, now: look(connection, me, now, before)))
        news, self._seen = answer
        return news

    async def standing(self, key: MailboxKey) -> Standing:
        check_texts(*key)
        return await self._writer.submit(Query(lambda connection, *_: find(connection, key)))

    async def suspended(self) -> Sequence[Suspension]:
        return await self._writer.submit(Query(lambda connection, *_: list_suspended(connection)))

    async def held_up(self, limit: int, accounts: frozenset[str] | None = None) -> Mapping[MailboxKey, MailboxState]:
        check_texts(*(accounts or ()))
        return await self._writer.submit(
            Query(lambda connection, _, now: list_held_up(connection, now, limit, accounts))
        )

    async def state(self, key: MailboxKey) -> MailboxState:
        check_texts(*key)
        return await self._writer.submit(Query(lambda connection, *_: read_state(connection, key)))
