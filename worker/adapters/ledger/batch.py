"""One transaction: many operations of one owner, each with an answer of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from worker.adapters.ledger.claiming import claim
from worker.adapters.ledger.connection import Connected
from worker.adapters.ledger.consents import consent, reopen
from worker.adapters.ledger.limiting import limit
from worker.adapters.ledger.mailbox_looks import find, list_held_up, list_suspended, look, read_state, tell
from worker.adapters.ledger.mailbox_operations import (
    OnMailbox,
    ToFind,
    ToListHeldUp,
    ToListSuspended,
    ToLook,
    ToReadState,
    ToTakeOver,
    ToTell,
)
from worker.adapters.ledger.mailbox_rows import change
from worker.adapters.ledger.operations import (
    Operation,
    ToClaim,
    ToConsent,
    ToExpire,
    ToHandOver,
    ToLeave,
    ToList,
    ToRecord,
    ToRelease,
    ToReopen,
)
from worker.adapters.ledger.ownership import leave, renew
from worker.adapters.ledger.progress import advance, release
from worker.adapters.ledger.retention import forget, list_entries
from worker.delivery.ports import Clock

_READING = (ToFind, ToList, ToListHeldUp, ToListSuspended, ToLook, ToReadState)

Answers = Mapping[Operation[Any], Any]


@dataclass
class Owner:
    """This process as the database knows it; `id` is None until it has written something."""

    name: str
    lease: timedelta
    clock: Clock
    id: int | None = None

    async def run(self, connection: Connected, operations: Sequence[Operation[Any]]) -> Answers:
        """Execute and commit all operations; answers that are errors concern their operation only.

        No two operations touch the same entry, except that releases may: they come first.
        """
        async with connection.begin():
            if all(isinstance(operation, _READING) for operation in operations):
                return await self._read(connection, operations)
            now = self.clock.now()
            me = await renew(connection, self.id, self.name, now, now + self.lease)
            answers = await self._write(connection, me, operations) | await self._read(connection, operations)
        self.id = me
        return answers

    async def _write(
        self, connection: Connected, me: int, operations: Sequence[Operation[Any]]
    ) -> dict[Operation[Any], Any]:
        now = self.clock.now()
        answers: dict[Operation[Any], Any] = dict.fromkeys(operations)
        await release(connection, me, [each for each in operations if isinstance(each, ToRelease)])
        await consent(connection, now, [each for each in operations if isinstance(each, ToConsent)])
        await reopen(connection, [each for each in operations if isinstance(each, ToReopen)])
        claims = await claim(connection, me, now, [each for each in operations if isinstance(each, ToClaim)])
        # After the entries, as all who count do it: so that nobody waits for each other.
        answers |= await limit(connection, now, claims)
        answers |= await advance(
            connection, me, now, [each for each in operations if isinstance(each, ToHandOver | ToRecord)]
        )
        # After the entries: whoever waits for a mailbox's row waits for nobody's entries then.
        answers |= await change(connection, me, now, [each for each in operations if isinstance(each, OnMailbox)])
        answers |= await tell(connection, now, [each for each in operations if isinstance(each, ToTell | ToTakeOver)])
        for operation in operations:
            if isinstance(operation, ToExpire):
                answers[operation] = await forget(connection, now, operation)
            elif isinstance(operation, ToLeave):
                await leave(connection, me, now)
        return answers

    async def _read(self, connection: Connected, operations: Sequence[Operation[Any]]) -> dict[Operation[Any], Any]:
        now = self.clock.now()
        answers: dict[Operation[Any], Any] = {}
        for operation in operations:
            if isinstance(operation, ToList):
                answers[operation] = await list_entries(connection, now, operation.event_key)
            elif isinstance(operation, ToListSuspended):
                answers[operation] = await list_suspended(connection)
            elif isinstance(operation, ToListHeldUp):
                answers[operation] = await list_held_up(connection, now, operation)
            elif isinstance(operation, ToReadState):
                answers[operation] = await read_state(connection, operation)
            elif isinstance(operation, ToFind):
                answers[operation] = await find(connection, operation)
            elif isinstance(operation, ToLook):
                answers[operation] = await look(connection, self.id, now, operation)
        return answers
