"""This worker's leases on the connections that its mailboxes share with all other workers.

The worker asks for a lease when a letter needs a connection it does not have yet, and returns it when the connection
has been idle for some time or another worker wants it. So a busy mailbox costs nothing per letter, and one that sends
now and then costs one more small write, at a moment when a connection has to be opened anyway.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from worker.delivery.mailboxes.rules import PROOF, eased_for_s
from worker.delivery.mailboxes.state import (
    Entered,
    Entry,
    Full,
    LeaseUpdate,
    MailboxKey,
    MailboxLimits,
    MailboxStates,
    Revision,
)
from worker.delivery.ports import Clock, MailTransport

KEPT_S = 60.0
"""How long idle connections are kept, in seconds, unless another worker wants one."""

_ASK_AGAIN_S = 1.0
_PROVE_AGAIN_S = PROOF.total_seconds() / 2
_FULL = Full()


class ConnectionLease:
    """One mailbox's lease in this worker: `held` connections, of which letters use `in_use`."""

    def __init__(self, key: MailboxKey, states: MailboxStates, clock: Clock) -> None:
        self.key = key
        self._states = states
        self._clock = clock
        self.held = 0
        self.in_use = 0
        self.is_probe = True
        self._changing = asyncio.Lock()
        self._changes = 0
        self._ceiling: int | None = None
        self._is_unsure = False  # whether the others may believe something else than `held`
        self._full_until_s = 0.0
        self._all_used_s = clock.monotonic()
        self._needs_proof_s = 0.0
        self._asked_s = 0.0
        self._eased_since: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """True when the lease holds no state worth keeping."""
        return not (self.held or self.in_use or self._is_unsure or self._changes)

    def room(self, connections: int) -> int:
        """How many letters to admit: as many as can have a connection, and one more to ask for another."""
        if self.is_probe:
            return 1
        may_ask = self._clock.monotonic() >= self._full_until_s and self._ceiling is None
        return max(min(self.held + may_ask, connections), 1)

    async def take(self, revision: Revision, limits: MailboxLimits) -> Entry | None:
        """Use a connection; None: one of those held already. Only `Entered` and None admit the letter.

        Raises `Unavailable`.
        """
        if self._has_free:
            self._use()
            return None
        if self._ceiling is not None or self._clock.monotonic() < self._full_until_s:
            return _FULL
        async with self._alone():
            if self._has_free:  # another task has asked meanwhile
                self._use()
                return None
            return await self._ask(revision, limits)

    @property
    def _has_free(self) -> bool:
        return self.in_use < self.held and (self._ceiling is None or self.in_use < self._ceiling)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One change at a time, because the others are sent totals."""
        self._changes += 1
        try:
            async with self._changing:
                yield
        finally:
            self._changes -= 1

    async def _ask(self, revision: Revision, limits: MailboxLimits) -> Entry:
        self._is_unsure = True
        entry = await self._states.enter(self.key, revision, limits, self.held + 1)
        self._is_unsure, self._asked_s = False, self._clock.monotonic()
        if isinstance(entry, Entered):
            self.held, self.is_probe, self._eased_since = entry.connections, entry.is_probe, entry.eased_since
            self._needs_proof_s = self._asked_s + (0.0 if entry.needs_proof else _PROVE_AGAIN_S)
            self._use()
        elif isinstance(entry, Full):
            self._full_until_s = self._clock.monotonic() + _ASK_AGAIN_S
        return entry

    def _use(self) -> None:
        self.in_use += 1
        if self.in_use == self.held:
            self._all_used_s = self._clock.monotonic()

    def give_back(self) -> None:
        """The letter is done; its connection is idle."""
        if self.in_use == self.held:
            self._all_used_s = self._clock.monotonic()
        self.in_use -= 1

    def needs_permits(self, limits: MailboxLimits) -> bool:
        """True when each letter has to be counted."""
        if limits.per_minute is not None or limits.per_day is not None:
            return True
        return eased_for_s(self._eased_since, self._clock.now(), limits) > 0

    async def prove(self, revision: Revision) -> None:
        """Record a successful sign-in, as often as other workers need it."""
        now_s = self._clock.monotonic()
        if now_s >= self._needs_proof_s:
            await self._states.prove(self.key, revision)
            self.is_probe, self._needs_proof_s = False, now_s + _PROVE_AGAIN_S

    async def tend(self, news: LeaseUpdate | None, looked_s: float, transport: MailTransport) -> None:
        """Return what is long idle, wanted by others, or no longer ours. Raises `Unavailable`.

        `looked_s`: when the update was requested.
        """
        is_wanted = news is not None and news.is_wanted
        # When all connections are in use, the next one to become idle goes to the others; but two workers that both
        # want more must not hand one back and forth: each time it is opened anew.
        has_most = news is not None and self.held > news.others + 1
        self._ceiling = self.held - 1 if is_wanted and has_most and self.in_use == self.held else None
        # This worker was silent for so long that it was declared dead.
        is_lost = news is None and self._asked_s < looked_s
        is_long_at_rest = self._clock.monotonic() - self._all_used_s >= KEPT_S
        if self.held > self.in_use and (is_wanted or is_lost or is_long_at_rest):
            await self.shrink(transport)
        elif self._is_unsure:
            async with self._alone():
                await self._say()

    async def shrink(self, transport: MailTransport) -> None:
        """Close idle connections and return their leases. Raises `Unavailable`."""
        async with self._alone():
            self.held, self._is_unsure = self.in_use, True
            await transport.close_idle(self.key.account_id, self.key.mailbox_id, self.held)
            await self._say()

    async def _say(self) -> None:
        await self._states.keep(self.key, self.held)
        self._is_unsure = False


class ConnectionLeases:
    """All leases of this worker."""

    def __init__(self, states: MailboxStates, transport: MailTransport, clock: Clock) -> None:
        self._states = states
        self._transport = transport
        self._clock = clock
        self._shares: dict[MailboxKey, ConnectionLease] = {}

    def of(self, key: MailboxKey) -> ConnectionLease:
        """The lease of a mailbox, empty at first."""
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = ConnectionLease(key, self._states, self._clock)
        return share

    def __len__(self) -> int:
        return len(self._shares)

    async def tend(self, news: Mapping[MailboxKey, LeaseUpdate], looked_s: float) -> None:
        """Return what is not needed here. Raises `Unavailable`."""
        shares = list(self._shares.values())
        # Concurrently: each server gets a QUIT, and one that does not answer must not delay the others.
        outcomes = await asyncio.gather(
            *(share.tend(news.get(share.key), looked_s, self._transport) for share in shares), return_exceptions=True
        )
        for share in shares:
            if share.is_empty:
                del self._shares[share.key]
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def drop(self, key: MailboxKey) -> None:
        """Return all idle connections of a mailbox. Raises `Unavailable`."""
        share = self._shares.get(key)
        if share is not None and share.held > share.in_use:
            await share.shrink(self._transport)
