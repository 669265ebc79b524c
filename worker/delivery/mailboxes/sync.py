"""Polls shared mailbox state every two seconds."""

import asyncio
from contextlib import suppress

import structlog

from worker.delivery.mailboxes.connection_leases import ConnectionLeases
from worker.delivery.mailboxes.lanes import Lanes
from worker.delivery.mailboxes.state import MailboxKey, MailboxStates, Revision, Suspension
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.ports import Clock, Directory, SnapshotService
from worker.domain.identity import lane_token
from worker.domain.snapshot.secret_references import fingerprint
from worker.domain.vocabulary import Reason
from worker.errors import Unavailable

PATIENCE_S = 30.0
"""How long a letter waits for a poll at most: an unresponsive source must not hold it."""

_LOOK_EVERY_S = 10.0  # across all mailboxes: voiding an application's secret invalidates thousands of tokens at once


class NewerSettings:
    """Polls for a newer snapshot: one poll at a time for all callers, and at most one every ten seconds."""

    def __init__(self, snapshot: SnapshotService, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._patience_s = patience_s
        self._looking = asyncio.Lock()
        self._looked_s = -_LOOK_EVERY_S

    async def there_are(self, key: MailboxKey, revision: Revision) -> bool:
        """True when the mailbox's settings differ from these; polls for a newer snapshot when they seem unchanged."""
        if not has_changed(self._snapshot.directory, key, revision):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s):
                    await self._look()
        return has_changed(self._snapshot.directory, key, revision)

    async def _look(self) -> None:
        asked_s = self._clock.monotonic()
        async with self._looking:
            if asked_s - self._looked_s >= _LOOK_EVERY_S:  # shorter, too, when another task polled while we waited
                self._looked_s = self._clock.monotonic()
                await self._snapshot.refresh()


def has_changed(directory: Directory, key: MailboxKey, revision: Revision) -> bool:
    """True when the mailbox's settings differ from those of the revision, or the mailbox was removed."""
    if directory.version <= revision.version:
        return False
    if directory.account(key.account_id) is None and directory.is_left_out(key.account_id):
        return False  # the account exists but is invalid, so its mailboxes are unknown
    current = current_revision(directory, key)
    return current is None or current.is_newer_than(revision)


def current_revision(directory: Directory, key: MailboxKey) -> Revision | None:
    """The mailbox's settings in the snapshot; None when it has no such mailbox."""
    account = directory.account(key.account_id)
    mailboxes = account.mailboxes if account else ()
    mailbox = next((each for each in mailboxes if each.id == key.mailbox_id), None)
    return Revision(fingerprint(mailbox), directory.version) if mailbox else None


log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0


class MailboxSync:
    """Applies what other workers learned, returns idle connections, and resumes mailboxes whose settings changed."""

    def __init__(
        self,
        states: MailboxStates,
        lanes: Lanes,
        shares: ConnectionLeases,
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
        """Poll until cancelled."""
        while True:
            try:
                await self.poll()
            except Unavailable as error:
                log.warning("mailboxes.poll_failed", error=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def poll(self) -> None:
        """Poll once. Raises `Unavailable`."""
        looked_s = self._clock.monotonic()
        news = await self._states.look()
        if news.suspended is not None:
            self._suspensions.learn(news.suspended)
        for key, held in news.held.items():
            if held.suspension is not None:
                await self._shares.drop(key)
            if held.resting is not None:  # another worker learned it; with connections held, no request would say so
                left_s = (held.resting.until - self._clock.now()).total_seconds()
                self._lanes.pause(lane_token(*key), left_s, held.resting.reason)
                if held.resting.reason is Reason.TOO_MANY_CONNECTIONS:  # then this worker asks again, and gets fewer
                    await self._shares.drop(key)
        await self._shares.tend(news.held, looked_s)
        await self._suspensions.tell_overdue(news.overdue)
        await self._resume_changed()

    async def _resume_changed(self) -> None:
        """Resume suspended mailboxes whose settings have changed, even when none of their letters waits."""
        directory, known = self._snapshot.directory, frozenset(self._suspensions.known)
        if self._seen is not None and self._seen[0] is directory and self._seen[1] >= known:
            return
        for suspension in known:
            if has_changed(directory, suspension.key, suspension.revision):
                await self._suspensions.resume_changed(suspension, current_revision(directory, suspension.key))
            await asyncio.sleep(0)  # reading an account takes a moment; let letters run between two
        self._seen = (directory, known)
