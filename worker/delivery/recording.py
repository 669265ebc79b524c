"""Recording what is final, before it is published: the ledger's word and the result must never disagree."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from worker.delivery.case import Case
from worker.delivery.finishing import cancellations, finished
from worker.delivery.ledger import Ledger, Record
from worker.delivery.messages import Publication
from worker.delivery.reporting import Reporter
from worker.domain.message import OutgoingMessage
from worker.domain.vocabulary import Outcome
from worker.errors import LostClaim, Unavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Final:
    """The end of some recipients of a letter (positions), and the message that tells of it."""

    positions: tuple[int, ...]
    outcome: Outcome
    message: OutgoingMessage


class Recorder:
    """Writes into the ledger what cannot be asked again, however long that takes; only cancellation ends the wait.

    A write that has begun is finished all the same: a server's answer that is half noted would be a doubt.
    """

    def __init__(self, ledger: Ledger, reporter: Reporter, retry_s: float = 1.0) -> None:
        self._ledger = ledger
        self._reporter = reporter
        self._retry_s = retry_s

    async def record(self, case: Case, finals: Sequence[Final]) -> list[Publication]:
        """Record the ends, then give their results to publish."""
        if finals:
            records = [Record(f.positions, f.outcome, f.message.id, f.message.body) for f in finals]
            try:
                await self._patiently("record", lambda: self._ledger.record(case.event.key, records))
            except LostClaim:
                # Another worker took us for dead and settles this as a doubt; what the server did is true all the same.
                log.warning("ledger.record_lost")
        return [self._reporter.publication(final.message) for final in finals]

    async def release(self, case: Case, positions: Sequence[int]) -> None:
        """Give back what was certainly not accepted, so that a later attempt can have it."""
        await self._patiently("release", lambda: self._ledger.release(case.event.key, positions))

    async def let_go(self, case: Case, positions: Sequence[int]) -> None:
        """Leave to whoever claims it next what is in doubt."""
        await self._patiently("let_go", lambda: self._ledger.let_go(case.event.key, positions))

    async def _patiently(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        before = cancellations()
        while True:
            try:
                return await finished(step())
            except Unavailable as error:
                log.warning("ledger.waits", operation=what, error=str(error))
            if cancellations() > before:
                raise asyncio.CancelledError
            await asyncio.sleep(self._retry_s)
