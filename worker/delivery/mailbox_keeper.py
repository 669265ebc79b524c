"""Keeps this worker and the others at one about their mailboxes: a short look every few seconds."""

import asyncio

import structlog

from worker.delivery.lanes import Lanes
from worker.delivery.mailbox_states import MailboxStates, Suspension
from worker.delivery.newer_settings import current_revision, has_changed
from worker.delivery.ports import Clock, Directory, SnapshotService
from worker.delivery.shares import Shares
from worker.delivery.suspensions import Suspensions
from worker.domain.identity import lane_token
from worker.domain.vocabulary import Reason
from worker.errors import Unavailable

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0


class MailboxKeeper:
    """Learns what other workers know, gives back what is not needed, and resumes what was mended."""

    def __init__(
        self,
        states: MailboxStates,
        lanes: Lanes,
        shares: Shares,
        suspensions: Suspensions,
        snapshot: SnapshotService,
        clock: Clock,
    ) -> None:
        self._states = states
        self._lanes = lanes
        self._shares = shares
        self._suspensions = suspensions
        self._snapshot = snapshot
        self._clock = clock
        self._seen: tuple[Directory, frozenset[Suspension]] | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.warning("mailboxes.look_failed", error=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """One look. Raises `Unavailable`."""
        looked_s = self._clock.monotonic()
        news = await self._states.look()
        if news.suspended is not None:
            self._suspensions.learn(news.suspended)
        for key, held in news.held.items():
            if held.suspension is not None:
                await self._shares.drop(key)
            if held.resting is not None:  # another worker was told so; connections that are held ask for nothing
                left_s = (held.resting.until - self._clock.now()).total_seconds()
                self._lanes.pause(lane_token(*key), left_s, held.resting.reason)
                if held.resting.reason is Reason.TOO_MANY_CONNECTIONS:  # then they are asked for anew, and are fewer
                    await self._shares.drop(key)
        await self._shares.tend(news.held, looked_s)
        await self._suspensions.tell_overdue(news.overdue)
        await self._resume_changed()

    async def _resume_changed(self) -> None:
        """Mailboxes whose settings were changed go on, also when no letter of theirs waits."""
        directory, known = self._snapshot.directory, frozenset(self._suspensions.known)
        if self._seen is not None and self._seen[0] is directory and self._seen[1] >= known:
            return
        for suspension in known:
            if has_changed(directory, suspension.key, suspension.revision):
                await self._suspensions.resume_changed(suspension, current_revision(directory, suspension.key))
            await asyncio.sleep(0)  # to read an account takes a moment, and the letters have theirs between two
        self._seen = (directory, known)
