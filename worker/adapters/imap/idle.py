"""Signed-in connections that wait for their mailbox's next letter: one for each mailbox, for a short time."""

import asyncio
from collections.abc import Hashable

from worker.adapters.imap.session import ImapSession


class IdleSessions:
    """At most one idle session per key, each for at most `idle_s` seconds, and at most `max_sessions` in all."""

    def __init__(self, idle_s: float, max_sessions: int) -> None:
        self._idle_s = idle_s
        self._max_sessions = max_sessions
        self._parked: dict[Hashable, tuple[ImapSession, asyncio.TimerHandle]] = {}
        self._is_closed = False

    def take(self, key: Hashable) -> ImapSession | None:
        """The key's idle session, now the caller's; None when there is none that still looks alive."""
        session, expiry = self._parked.pop(key, (None, None))
        if session is None or expiry is None:
            return None
        expiry.cancel()
        if not session.is_usable:
            session.discard()
            return None
        return session

    def park(self, key: Hashable, session: ImapSession) -> None:
        """Keep a session for its key's next letter, or discard it: unusable, one too many, or closed already."""
        if self._is_closed or not session.is_usable or key in self._parked or len(self._parked) >= self._max_sessions:
            session.discard()
            return
        expiry = asyncio.get_running_loop().call_later(self._idle_s, self._expire, key)
        self._parked[key] = (session, expiry)

    def _expire(self, key: Hashable) -> None:
        session, _ = self._parked.pop(key)
        session.discard()

    async def close(self) -> None:
        """Log out everywhere; sessions that are parked later are discarded."""
        self._is_closed = True
        sessions = [session for session, _ in self._parked.values()]
        for _, expiry in self._parked.values():
            expiry.cancel()
        self._parked.clear()
        await asyncio.gather(*(session.logout() for session in sessions))
