"""One transaction: many operations of one owner, each with its own answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection

from worker.adapters.ledger.consents import consent, reopen
from worker.adapters.ledger.entries import advance, claim, release
from worker.adapters.ledger.limiting import limit
from worker.adapters.ledger.mailbox_tables import change
from worker.adapters.ledger.operations import (
    Command,
    OnMailbox,
    Operation,
    Query,
    ToClaim,
    ToConsent,
    ToHandOver,
    ToRecord,
    ToRelease,
    ToReopen,
)
from worker.adapters.ledger.owners import renew
from worker.delivery.ports import Clock

K = TypeVar("K", bound=Operation[Any])

Answers = Mapping[Operation[Any], Any]


@dataclass
class Owner:
    """This process as an owner in the database; `id` is None until its first write."""

    name: str
    lease: timedelta
    clock: Clock
    id: int | None = None

    def run(self, connection: Connection, operations: Sequence[Operation[Any]]) -> Answers:
        """Execute and commit all operations; an answer that is an error concerns its own operation only.

        No two operations touch the same entry, except that releases may: they come first.
        """
        with connection.begin():
            if all(isinstance(operation, Query) for operation in operations):
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
        release(connection, me, _of(ToRelease, operations))
        consent(connection, now, _of(ToConsent, operations))
        reopen(connection, _of(ToReopen, operations))
        claims = claim(connection, me, now, _of(ToClaim, operations))
        # After the entries, in the same order everywhere, so that transactions cannot deadlock.
        answers |= limit(connection, now, claims)
        answers |= advance(connection, me, now, [*_of(ToHandOver, operations), *_of(ToRecord, operations)])
        # After the entries: a transaction waiting for a mailbox's row then no longer waits for entries.
        answers |= change(connection, me, now, _of(OnMailbox, operations))
        for command in _of(Command, operations):
            answers[command] = command.execute(connection, me, now)
        return answers

    def _read(self, connection: Connection, operations: Sequence[Operation[Any]]) -> dict[Operation[Any], Any]:
        now = self.clock.now()
        return {query: query.execute(connection, self.id, now) for query in _of(Query, operations)}


def _of(kind: type[K], operations: Sequence[Operation[Any]]) -> list[K]:
    return [operation for operation in operations if isinstance(operation, kind)]
