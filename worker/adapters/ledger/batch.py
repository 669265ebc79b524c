"""One transaction: many operations of one owner, each with an answer of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from worker.adapters.ledger.claiming import claim
from worker.adapters.ledger.consents import consent, reopen
from worker.adapters.ledger.limiting import limit
from worker.adapters.ledger.mailbox_looks import find, list_suspended, look, tell
from worker.adapters.ledger.mailbox_operations import OnMailbox, ToFind, ToListSuspended, ToLook, ToTakeOver, ToTell
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

_READING = (ToFind, ToList, ToListSuspended, ToLook)

Answers = Mapping[Operation[Any], Any]


@dataclass
class Owner:
    """This process as the database knows it; `id` is None until it has written something."""

    name: str
    lease: timedelta
    clock: Clock
    id: int | None = None

    def run(self, connection: Connection, operations: Sequence[Operation[Any]]) -> Answers:
        """Execute and commit all operations; answers that are errors concern their operation only.

        No two operations touch the same entry, except that releases may: they come first.
        """
        with connection.begin():
            if all(isinstance(operation, _READING) for operation in operations):
                return self._read(connection, operations)
            now = self.clock.now()
            me = renew(connection, self.id, self.name, now, now + self.lease)
            answers = self._write(connection, me, operations) | self._read(connection, operations)
        self.id = me
        return answers

    def _write(
        self, connection: Connection, me: int, operations: Sequence[Operation[Any]]
    ) -> dict[Operation[Any], Any]:
        now = self.clock.now()
        answers: dict[Operation[Any], Any] = dict.fromkeys(operations)
        release(connection, me, [each for each in operations if isinstance(each, ToRelease)])
        consent(connection, now, [each for each in operations if isinstance(each, ToConsent)])
        reopen(connection, [each for each in operations if isinstance(each, ToReopen)])
        claims = claim(connection, me, now, [each for each in operations if isinstance(each, ToClaim)])
        # After the entries, as all who count do it: so that nobody waits for each other.
        answers |= limit(connection, now, claims)
        answers |= advance(
            connection, me, now, [each for each in operations if isinstance(each, ToHandOver | ToRecord)]
        )
        # After the entries: whoever waits for a mailbox's row waits for nobody's entries then.
        answers |= change(connection, me, now, [each for each in operations if isinstance(each, OnMailbox)])
        answers |= tell(connection, now, [each for each in operations if isinstance(each, ToTell | ToTakeOver)])
        for operation in operations:
            if isinstance(operation, ToExpire):
                answers[operation] = forget(connection, now, operation)
            elif isinstance(operation, ToLeave):
                leave(connection, me, now)
        return answers

    def _read(self, connection: Connection, operations: Sequence[Operation[Any]]) -> dict[Operation[Any], Any]:
        now = self.clock.now()
        answers: dict[Operation[Any], Any] = {}
        for operation in operations:
            if isinstance(operation, ToList):
                answers[operation] = list_entries(connection, now, operation.event_key)
            elif isinstance(operation, ToListSuspended):
                answers[operation] = list_suspended(connection)
            elif isinstance(operation, ToFind):
                answers[operation] = find(connection, operation)
            elif isinstance(operation, ToLook):
                answers[operation] = look(connection, self.id, now, operation)
        return answers
