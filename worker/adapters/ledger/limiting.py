"""Counts the letters to each address: a new claim is within the limit, or over it."""

from collections.abc import Iterator, Mapping, Set
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from worker.adapters.ledger.operations import Operation, ToClaim
from worker.adapters.ledger.schema import letters
from worker.adapters.ledger.statements import Statement, padded, upsert
from worker.delivery.ledger import Claim, Granted
from worker.domain.identity import counted_letter
from worker.domain.recipient_limit import Letters, RecipientLimit
from worker.errors import SendasError

_LOCK = Statement(
    select(letters.c.address, letters.c.letters)
    .where(letters.c.address.in_(bindparam("addresses", expanding=True)))
    # In a fixed order, so that two owners writing to the same rows cannot deadlock.
    .order_by(letters.c.address)
    .with_for_update()
)
_WRITE = Statement(
    update(letters)
    .where(letters.c.address == bindparam("of_address"))
    .values(newest=bindparam("new_newest"), letters=bindparam("new_letters"))
)


def limit(
    connection: Connection, now: datetime, claims: Mapping[ToClaim, dict[int, Claim] | SendasError]
) -> dict[Operation[Any], dict[int, Claim] | SendasError]:
    """Mark the claims that are over their limit, and count all others."""
    asked = list(_asked(claims))
    before = _locked(connection, sorted({each.address for each in asked})) if asked else {}
    after = dict(before)
    over: set[tuple[ToClaim, int]] = set()
    for each in asked:
        letter = counted_letter(each.operation.event_key, each.recipient)
        counted, may = after[each.address].admit(letter, each.limit.came_at, each.limit.letters, now)
        after[each.address] = counted
        if not may:
            over.add((each.operation, each.recipient))
    changed = {address: counted for address, counted in after.items() if counted != before[address]}
    if changed:
        _WRITE.each(connection, [_row(*item) for item in changed.items()])
    return {operation: _marked(operation, answer, over) for operation, answer in claims.items()}


class _Asked(NamedTuple):
    """A letter to check against its limit."""

    operation: ToClaim
    recipient: int
    limit: RecipientLimit

    @property
    def address(self) -> str:
        return self.limit.addresses[self.recipient]


def _asked(claims: Mapping[ToClaim, dict[int, Claim] | SendasError]) -> Iterator[_Asked]:
    for operation, answer in claims.items():
        if operation.limit is None or isinstance(answer, SendasError):
            continue
        for recipient, claim in answer.items():
            if isinstance(claim, Granted):
                yield _Asked(operation, recipient, operation.limit)


def _marked(
    operation: ToClaim, answer: dict[int, Claim] | SendasError, over: Set[tuple[ToClaim, int]]
) -> dict[int, Claim] | SendasError:
    if isinstance(answer, SendasError):
        return answer
    return {
        recipient: Granted(is_over_limit=True) if (operation, recipient) in over else claim
        for recipient, claim in answer.items()
    }


def _locked(connection: Connection, addresses: list[str]) -> dict[str, Letters]:
    """The recent letters to each address; the rows stay locked until the transaction ends."""
    found = _lock(connection, addresses)
    # Between the read and the insert, others may have created the row, or deleted an old one.
    while missing := [address for address in addresses if address not in found]:
        _insert_new(connection.dialect.name).each(
            connection, [{"address": address, "newest": 0, "letters": b""} for address in missing]
        )
        found |= _lock(connection, missing)
    return found


def _lock(connection: Connection, addresses: list[str]) -> dict[str, Letters]:
    rows = _LOCK.rows(connection, {"addresses": padded(addresses)})
    return {address: Letters.from_bytes(stored) for address, stored in rows}


@cache
def _insert_new(dialect: str) -> Statement:
    values = {name: bindparam(name, type_=letters.c[name].type) for name in ("address", "newest", "letters")}
    return Statement(upsert(dialect, letters).values(values).on_conflict_do_nothing())


def _row(address: str, counted: Letters) -> dict[str, Any]:
    return {"of_address": address, "new_newest": counted.newest, "new_letters": counted.to_bytes()}
