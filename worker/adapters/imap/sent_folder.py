"""Mailboxes' Sent folders: searches for a letter by Message-ID, and appends it if it is missing.

A copy is never appended without a search, because letters return: after a lost connection, a restart, a replay.
Server and network failures never raise here; the returned value carries them.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from worker.adapters.auth.credentials import AccessToken, Credentials, Password
from worker.adapters.imap.connection import ImapTimeouts, connect
from worker.adapters.imap.errors import ImapTrouble, Refused, ServerWords, opened_credentials
from worker.adapters.imap.saving import NO_FOLDER, FolderMemory, Look, Missing, Place, already_there, look, save
from worker.adapters.imap.session import ImapSession
from worker.adapters.network.egress import Dialer
from worker.adapters.network.tls import verifying
from worker.delivery.ports import Clock, CopyTarget, SavedCopy
from worker.domain.snapshot.model import Auth, ImapServer
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyOutcome, Phase
from worker.errors import SecretUnavailable

MAX_IDLE_SESSIONS = 200
_MISSING = DeliveryFailure(Phase.MAIL, FailureKind.NO_FOLDER, detail="the folder that the settings name does not exist")
_LOST = frozenset({FailureKind.DISCONNECTED, FailureKind.TIMEOUT})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Key:
    """Key for connections and folders: another server or another secret makes another key."""

    account_id: str
    mailbox_id: str
    imap: ImapServer
    auth: Auth


class ImapSentFolder:
    """`SentFolder` over IMAP.

    Sessions stay open briefly for the mailbox's next letter, and the folder found is cached.

    Raises:
        ConfigurationError: `context` does not verify certificates and host names, or allows less than TLS 1.2.
    """

    def __init__(
        self, dialer: Dialer, credentials: Credentials, context: ssl.SSLContext, timeouts: ImapTimeouts, clock: Clock
    ) -> None:
        self._dialer = dialer
        self._credentials = credentials
        self._context = verifying(context)
        self._timeouts = timeouts
        self._idle = IdleSessions(timeouts.idle_s, MAX_IDLE_SESSIONS)
        self._memory = FolderMemory(clock)

    async def save(
        self, target: CopyTarget, message_id: str, date: datetime, copy: bytes, *, also_known_as: str | None = None
    ) -> SavedCopy:
        """Append the copy, marked as read and with the letter's date, unless a message with one of its ids exists."""
        ids = (message_id,) if also_known_as is None else (message_id, also_known_as)
        try:
            place = self._place(target)
            return await self._with_session(target, lambda session: save(session, place, ids, date, copy))
        except ImapTrouble as failed:
            trouble = failed.trouble
        if trouble.phase is Phase.DATA and trouble.fault in _LOST:
            return await self._after_lost_append(target, ids, trouble)
        return SavedCopy(CopyOutcome.FAILED, target.folder, trouble=trouble)

    async def find(self, target: CopyTarget, message_id: str) -> bool | DeliveryFailure:
        """Whether a message with this Message-ID is in Sent; a failure also when there is no Sent folder to search."""
        try:
            found = await self._look(target, (message_id,))
        except ImapTrouble as failed:
            return failed.trouble
        if found is None:
            return NO_FOLDER
        return _MISSING if isinstance(found, Missing) else bool(found.uids)

    async def close(self) -> None:
        """Log out of all idle sessions."""
        await self._idle.close()

    async def _after_lost_append(self, target: CopyTarget, ids: Sequence[str], trouble: DeliveryFailure) -> SavedCopy:
        """Search on another connection: the letter may have been appended although no answer arrived."""
        try:
            found = await self._look(target, ids)
        except ImapTrouble:
            found = None
        if isinstance(found, Look) and found.uids:
            return already_there(found)
        return SavedCopy(CopyOutcome.FAILED, target.folder, trouble=trouble)

    async def _look(self, target: CopyTarget, ids: Sequence[str]) -> Look | Missing | None:
        place = self._place(target)
        return await self._with_session(target, lambda session: look(session, place, ids))

    def _place(self, target: CopyTarget) -> Place:
        return Place(target.folder, _key(target), self._memory)

    async def _with_session(self, target: CopyTarget, step: Callable[[ImapSession], Awaitable[T]]) -> T:
        """Run a step on the mailbox's idle session, or on a fresh one if there is none or it turns out to be dead."""
        idle = self._idle.take(_key(target))
        if idle is not None:
            try:
                return await self._use(target, idle, step)
            except ImapTrouble as failed:
                # A letter may be in flight: search for it first; only a later attempt sends it again.
                if failed.trouble.fault not in _LOST or failed.trouble.phase is Phase.DATA:
                    raise
        return await self._use(target, await self._open(target), step)

    async def _use(self, target: CopyTarget, session: ImapSession, step: Callable[[ImapSession], Awaitable[T]]) -> T:
        is_done = False
        try:
            result = await step(session)
            is_done = True
        finally:
            if is_done:
                self._idle.park(_key(target), session)
            else:  # failed or cancelled: an answer may still arrive
                session.discard()
        return result

    async def _open(self, target: CopyTarget) -> ImapSession:
        """A signed-in session; a cached token that the server refuses is replaced once."""
        credentials = await opened_credentials(self._credentials, target.account_id, target.auth)
        try:
            return await self._open_with(target, credentials)
        except Refused:
            if not isinstance(credentials, AccessToken) or not await self._is_replaced(target, credentials):
                raise
        return await self._open_with(
            target, await opened_credentials(self._credentials, target.account_id, target.auth)
        )

    async def _is_replaced(self, target: CopyTarget, refused: AccessToken) -> bool:
        try:
            return await self._credentials.forget(target.account_id, target.auth, refused.token)
        except SecretUnavailable as error:
            raise ImapTrouble(Phase.AUTH, FailureKind.SECRET, str(error)) from None

    async def _open_with(self, target: CopyTarget, credentials: Password | AccessToken) -> ImapSession:
        words = ServerWords([credentials, *await self._credentials.known(target.account_id, target.auth)])
        protocol = await connect(self._dialer, target.imap, self._context, self._timeouts, words)
        session = ImapSession(protocol, self._timeouts)
        is_signed_in = False
        try:
            await session.sign_in(credentials)
            is_signed_in = True
        finally:
            if not is_signed_in:
                session.discard()
        return session


def _key(target: CopyTarget) -> _Key:
    return _Key(target.account_id, target.mailbox_id, target.imap, target.auth)


class IdleSessions:
    """At most one idle session per key, each for at most `idle_s` seconds, and at most `max_sessions` in all."""

    def __init__(self, idle_s: float, max_sessions: int) -> None:
        self._idle_s = idle_s
        self._max_sessions = max_sessions
        self._parked: dict[Hashable, tuple[ImapSession, asyncio.TimerHandle]] = {}
        self._is_closed = False

    def take(self, key: Hashable) -> ImapSession | None:
        """Take over the key's idle session; None when there is none that still looks alive."""
        session, expiry = self._parked.pop(key, (None, None))
        if session is None or expiry is None:
            return None
        expiry.cancel()
        if not session.is_usable:
            session.discard()
            return None
        return session

    def park(self, key: Hashable, session: ImapSession) -> None:
        """Keep a session for its key's next letter, or discard it if it is unusable, surplus, or the pool is closed."""
        if self._is_closed or not session.is_usable or key in self._parked or len(self._parked) >= self._max_sessions:
            session.discard()
            return
        expiry = asyncio.get_running_loop().call_later(self._idle_s, self._expire, key)
        self._parked[key] = (session, expiry)

    def _expire(self, key: Hashable) -> None:
        session, _ = self._parked.pop(key)
        session.discard()

    async def close(self) -> None:
        """Log out everywhere; sessions parked later are discarded."""
        self._is_closed = True
        sessions = [session for session, _ in self._parked.values()]
        for _, expiry in self._parked.values():
            expiry.cancel()
        self._parked.clear()
        await asyncio.gather(*(session.logout() for session in sessions))
