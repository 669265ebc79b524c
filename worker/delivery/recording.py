"""Recording what is final, before it is published: the ledger's word and the result must never disagree."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from worker.delivery.case import Case
from worker.delivery.ledger import Ledger, Record
from worker.delivery.messages import Publication
from worker.delivery.reporting import Reporter
from worker.domain.envelope import AnyResultEvent
from worker.domain.vocabulary import Outcome
from worker.errors import LostClaim, Unavailable

log = structlog.get_logger(__name__)

_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Final:
    """The end of some recipients of a letter (positions), and the result that tells of it."""

    positions: tuple[int, ...]
    outcome: Outcome
    event: AnyResultEvent


class Recorder:
    """Writes outcomes into the ledger, however long that takes."""

    def __init__(self, ledger: Ledger, reporter: Reporter) -> None:
        self._ledger = ledger
        self._reporter = reporter

    async def record(self, case: Case, finals: Sequence[Final]) -> list[Publication]:
        """Record the ends, then give their results to publish.

        What a mail server did cannot be asked again: while the ledger is away, this waits and forgets nothing.
        """
        records = [Record(f.positions, f.outcome, f.event.id, f.event.to_json()) for f in finals]
        while records:
            try:
                await self._ledger.record(case.event.key, records)
                break
            except Unavailable as error:
                log.warning("ledger.record_waits", error=str(error))
                await asyncio.sleep(_RETRY_S)
            except LostClaim:
                # Another worker took us for dead and settles this as a doubt; what the server did is true all the same.
                log.warning("ledger.record_lost")
                break
        return [self._reporter.publication(final.event) for final in finals]

    async def release(self, case: Case, positions: Sequence[int]) -> None:
        """Give back what was certainly not accepted, so that a later attempt can have it."""
        while True:
            try:
                return await self._ledger.release(case.event.key, positions)
            except Unavailable as error:
                log.warning("ledger.release_waits", error=str(error))
                await asyncio.sleep(_RETRY_S)
