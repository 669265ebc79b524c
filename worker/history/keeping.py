"""Keeping results: what arrives in a batch becomes records, each once, and what is no result is refused."""

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
    """What is needed of a clock."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a batch: how many results were new, known already, or refused.

    `seconds`: from its arrival to its commit. `delay_s`: from the oldest new result's time to then; None: none is new.
    """

    new: int
    known: int
    refused: int
    seconds: float
    delay_s: float | None


class KeepingObserver(Protocol):
    """Learns of every batch."""

    def kept(self, kept: Kept) -> None: ...


class Keeper:
    """Keeps batches of published results."""

    def __init__(
        self, writer: HistoryWriter, addresses: AddressPolicy, clock: Clock, observer: KeepingObserver
    ) -> None:
        self._writer = writer
        self._addresses = addresses
        self._clock = clock
        self._observer = observer

    async def keep(self, bodies: Sequence[bytes]) -> list[str | None]:
        """Keep what can be kept; says for each body why it cannot ever be, or None. Harmless when repeated.

        Raises:
            Unavailable: the database does not answer; nothing was settled, and the batch is to be tried again.
        """
        began = self._clock.monotonic()
        # In a thread: a result of a thousand recipients takes as long to read as a thousand of one.
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
        except Exception as error:  # a mistake of ours must not stop the results behind it; it ends as a dead letter
            log.exception("history.unreadable_result")
            return type(error).__name__

    async def _add(self, records: Sequence[Record]) -> tuple[int, dict[str, str]]:
        """How many were new, and why some were refused, by id: alone each, so that one does not keep out the others."""
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
