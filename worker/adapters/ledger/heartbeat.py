"""The lease heartbeat: renews this worker's lease, and reports whether the ledger answers."""

import asyncio

import structlog

from worker.delivery.ledger import Ledger
from worker.errors import Unavailable

log = structlog.get_logger(__name__)

_EVERY_S = 2.0
_SILENT_S = 5.0


class LeaseHeartbeat:
    """Renews the lease; a worker whose lease ends loses its letters to other workers."""

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger = ledger
        self._every_s = min(lease_s / 3, _EVERY_S)
        self._problem: str | None = None
        self._answered_at: float | None = None

    async def run(self) -> None:
        """Renew every few seconds, until cancelled."""
        while True:
            try:
                await self._ledger.keep_alive()
                self._problem = None
                self._answered_at = asyncio.get_running_loop().time()
            except Unavailable as error:
                self._problem = str(error)
                log.warning("ledger.unavailable", error=str(error))
            await asyncio.sleep(self._every_s)

    def problem(self) -> str | None:
        """The ledger's current problem, as text. Reports silence before the ledger's own timeout ends."""
        if self._problem is not None or self._answered_at is None:
            return self._problem
        silent_s = asyncio.get_running_loop().time() - self._answered_at
        return f"no answer for {silent_s:.0f} s" if silent_s > _SILENT_S else None
