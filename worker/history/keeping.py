"""Storing results: a batch becomes records, each stored once; anything that is not a result is refused."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from worker.errors import InvalidEvent
from worker.history.addresses import AddressPolicy
from worker.history.model import Record
from worker.history.port import HistoryWriter, RecordRefused
from worker.history.reading import read_result

log = structlog.get_logger(__name__)


class Clock(Protocol):
    """The clock operations that `Keeper` needs."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """The outcome of a batch: how many results were new, duplicates, or refused.

    `seconds` runs from the batch's arrival to its commit; `delay_s` from the oldest new result's time to the commit,
    None when no result was new.
    """

    new: int
    known: int
    refused: int
    seconds: float
    delay_s: float | None


class KeepingObserver(Protocol):
    """Receives the outcome of every batch."""

    def kept(self, kept: Kept) -> None: ...


class Keeper:
    """Stores batches of published results."""

    def __init__(
        self, writer: HistoryWriter, addresses: AddressPolicy, clock: Clock, observer: KeepingObserver
    ) -> None:
        self._writer = writer
        self._addresses = addresses
        self._clock = clock
        self._observer = observer

    async def keep(self, bodies: Sequence[bytes]) -> list[str | None]:
        """Store what can be stored; return for each body why it never can be, or None. Idempotent.

        Raises:
            Unavailable: the database did not answer; nothing was settled, so the caller must retry the batch.
        """
        began = self._clock.monotonic()
        # In a thread: one result with a thousand recipients takes as long to parse as a thousand with one.
        readings = await asyncio.to_thread(self._read, bodies)
        records = [reading for reading in readings if isinstance(reading, Record)]
        new, refusals = await self._add(records)
        problems = [refusals.get(each.id) if isinstance(each, Record) else each for each in readings]
        refused = len(problems) - problems.count(None)
        self._observer.kept(
            Kept(
                new=new,
                known=len(bodies) - refused - new,
                refused=refused,
                seconds=self._clock.monotonic() - began,
                delay_s=self._delay_s(records) if new else None,
            )
        )
        return problems

    def _read(self, bodies: Sequence[bytes]) -> list[Record | str]:
        now = self._clock.now()
        return [self._reading(body, now) for body in bodies]

    def _reading(self, body: bytes, now: datetime) -> Record | str:
        try:
            return read_result(body, self._addresses, now)
        except InvalidEvent as error:
            return str(error)
        except Exception as error:  # a bug of ours must not block the results behind it; it ends as a dead letter
            log.exception("history.unreadable_result")
            return type(error).__name__

    async def _add(self, records: Sequence[Record]) -> tuple[int, dict[str, str]]:
        """Number of new records, and refusals by id. Retries records one by one, so a bad one blocks no other."""
        try:
            return await self._writer.add(records), {}
        except RecordRefused as error:
            if len(records) == 1:
                return 0, {records[0].id: str(error)}
        new, refusals = 0, dict[str, str]()
        for record in records:
            added, refused = await self._add([record])
            new += added
            refusals |= refused
        return new, refusals

    def _delay_s(self, records: Sequence[Record]) -> float:
        return max(0.0, (self._clock.now() - min(record.at for record in records)).total_seconds())
