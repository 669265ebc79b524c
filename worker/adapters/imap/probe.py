"""Probes a mailbox's IMAP server step by step, for mailbox checks, with the same code that saves copies."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from worker.adapters.auth.credentials import Credentials
from worker.adapters.clock import SystemClock
from worker.adapters.imap import connection
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.imap.errors import ImapTrouble, Refused, ServerWords, opened_credentials
from worker.adapters.imap.protocol import ImapProtocol
from worker.adapters.imap.saving import Folder, FolderMemory, Missing, Place, look, made, save
from worker.adapters.imap.session import ImapSession
from worker.adapters.network.egress import Dialer, DialError, EgressGuard
from worker.adapters.network.tls import tls_facts
from worker.delivery.ports import SavedCopy
from worker.domain.egress import IMAP_PORTS
from worker.domain.letter.model import ComposedLetter
from worker.domain.probe import ResolvedHost, SentFolderFacts, TlsFacts
from worker.domain.snapshot.model import Auth, ImapServer
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyOutcome, Phase, Security

T = TypeVar("T")

_INSERT = "i"  # RFC 4314 section 2.1: the right to APPEND
_NOT_OPEN = DeliveryFailure(Phase.CONNECT, FailureKind.DISCONNECTED, detail="the connection is not open")


class ImapProbe:
    """See `operations.mailbox_check.ports.ImapVisit`. Use `ImapProber.visit`, which closes it."""

    def __init__(self, visitor: "ImapProber", account_id: str, server: ImapServer, auth: Auth) -> None:
        self._visitor = visitor
        self._account_id = account_id
        self._server = server
        self._auth = auth
        self._socket: socket.socket | None = None
        self._protocol: ImapProtocol | None = None
        self._session: ImapSession | None = None
        self._memory = FolderMemory(SystemClock())

    async def resolve(self) -> ResolvedHost | DeliveryFailure:
        """Resolve the host and vet its addresses."""
        visitor, server = self._visitor, self._server
        try:
            within_s = visitor.timeouts.connect_s
            return ResolvedHost(tuple(await visitor.guard.vetted(server.host, server.port, IMAP_PORTS, within_s)))
        except DialError as error:
            return DeliveryFailure(Phase.CONNECT, error.fault, detail=str(error))

    async def connect(self) -> DeliveryFailure | None:
        """Connect without sending anything."""
        visitor = self._visitor
        if visitor.impediment is not None and self._server.security is Security.NONE:
            return visitor.impediment
        try:
            connection.require_supported(self._server, visitor.context)
            self._socket = await connection.dial(visitor.dialer, self._server, visitor.timeouts)
        except ImapTrouble as failed:
            return failed.trouble
        return None

    async def secure(self) -> TlsFacts | DeliveryFailure | None:
        """Start TLS, if the server's settings require it."""
        if self._socket is None:
            return _NOT_OPEN
        visitor = self._visitor
        words = ServerWords(await visitor.credentials.known(self._account_id, self._auth))
        sock, self._socket = self._socket, None  # the new owner closes it
        try:
            self._protocol = await connection.join(sock, self._server, visitor.context, visitor.timeouts, words)
        except ImapTrouble as failed:
            return failed.trouble
        return tls_facts(self._protocol.transport) if self._server.security is Security.TLS else None

    async def greet(self) -> str | DeliveryFailure:
        """The text of the server's greeting."""
        if self._protocol is None:
            return _NOT_OPEN
        try:
            return await connection.greeted(self._protocol, self._visitor.timeouts.greeting_s)
        except ImapTrouble as failed:
            return failed.trouble

    async def sign_in(self) -> DeliveryFailure | None:
        """Sign in, once."""
        if self._protocol is None:
            return _NOT_OPEN
        session = ImapSession(self._protocol, self._visitor.timeouts)
        try:
            await session.sign_in(await opened_credentials(self._visitor.credentials, self._account_id, self._auth))
        except ImapTrouble as failed:
            return failed.trouble
        self._session = session
        return None

    async def sent_folder(self, named: str | None, message_id: str) -> SentFolderFacts | DeliveryFailure | None:
        """The folder for copies: found, searched and created as for a copy; nothing is written to it."""
        if self._session is None:
            return _NOT_OPEN
        try:
            found = await look(self._session, self._place(named), (message_id,))
            if found is None:
                return None
            folder = await made(self._session, found) if isinstance(found, Missing) else found.folder
            return await _facts(self._session, folder, is_new=isinstance(found, Missing))
        except ImapTrouble as failed:
            return failed.trouble

    async def save(self, named: str | None, letter: ComposedLetter) -> SavedCopy:
        """Save the letter's copy through the normal path."""
        if self._session is None:
            return SavedCopy(CopyOutcome.FAILED, named, trouble=_NOT_OPEN)
        try:
            return await save(self._session, self._place(named), (letter.message_id,), letter.date, letter.copy)
        except ImapTrouble as failed:
            return SavedCopy(CopyOutcome.FAILED, named, trouble=failed.trouble)

    def _place(self, named: str | None) -> Place:
        return Place(named, "", self._memory)

    async def received(self, message_id: str) -> bytes | DeliveryFailure | None:
        """The letter with this Message-ID in INBOX, without marking it as read."""
        if self._session is None:
            return _NOT_OPEN
        try:
            await self._session.examine(b"INBOX")
            uids = await self._session.search(message_id)
            return await self._session.fetch(uids[-1]) if uids else None
        except ImapTrouble as failed:
            return failed.trouble

    async def close(self) -> None:
        """Log out, or drop a connection that is not signed in."""
        if self._session is not None and self._session.is_usable:
            await self._session.logout()
        elif self._protocol is not None:
            self._protocol.abort()
        if self._socket is not None:
            self._socket.close()


async def _facts(session: ImapSession, folder: Folder, *, is_new: bool) -> SentFolderFacts:
    """The server's facts about the folder. Opening another or LOGOUT leaves it; CLOSE would expunge letters."""
    is_writable = await session.select(folder.raw)
    rights = await _unless_refused(session.my_rights(folder.raw))
    if rights is not None:
        is_writable = is_writable is not False and _INSERT in rights
    return SentFolderFacts(folder.name, is_new, is_writable, await _unless_refused(session.free_kib(folder.raw)))


async def _unless_refused(asked: Awaitable[T]) -> T | None:
    """The answer to an optional command; None if the server refuses it."""
    try:
        return await asked
    except Refused:
        return None


class ImapProber:
    """What all visits share. `impediment`: why unencrypted connections are refused, if they are."""

    def __init__(
        self,
        guard: EgressGuard,
        dialer: Dialer,
        credentials: Credentials,
        context: ssl.SSLContext,
        timeouts: ImapTimeouts,
        impediment: DeliveryFailure | None,
    ) -> None:
        self.guard = guard
        self.dialer = dialer
        self.credentials = credentials
        self.context = context
        self.timeouts = timeouts
        self.impediment = impediment

    @asynccontextmanager
    async def visit(self, account_id: str, server: ImapServer, auth: Auth) -> AsyncIterator[ImapProbe]:
        """Context manager for a visit, closed at the end."""
        visit = ImapProbe(self, account_id, server, auth)
        try:
            yield visit
        finally:
            await visit.close()
