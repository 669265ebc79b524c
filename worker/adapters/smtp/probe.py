"""Probes a mailbox's SMTP server step by step, for mailbox checks.

The steps are those of sending a letter: same code, egress guard, TLS context and credentials.
"""

import socket
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import aiosmtplib

from worker.adapters.network.egress import DialError, EgressGuard
from worker.adapters.network.tls import tls_facts
from worker.adapters.smtp.errors import Failed, refusal, reply_of
from worker.adapters.smtp.progress import Progress
from worker.adapters.smtp.protocol import PairedProtocol
from worker.adapters.smtp.session import Capabilities, Opener, Session
from worker.adapters.smtp.transaction import Envelope, Transaction
from worker.delivery.ports import Route
from worker.domain.addresses import parse_address
from worker.domain.egress import SMTP_PORTS
from worker.domain.letter.model import ComposedLetter
from worker.domain.probe import ResolvedHost, SmtpOffer, TlsFacts
from worker.domain.text import one_line
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply, Transmission
from worker.domain.vocabulary import Phase, Security

_PROPOSED_BYTES = 1_024  # announced by SIZE for the letter that is not sent
_MAX_WORDS = 300
_NOT_OPEN = DeliveryFailure(Phase.CONNECT, FailureKind.DISCONNECTED, detail="the connection is not open")


class SmtpProbe:
    """See `operations.mailbox_check.ports.SmtpVisit`. Use `smtp_visit`, which closes it."""

    def __init__(
        self, opener: Opener, guard: EgressGuard, route: Route, impediment: DeliveryFailure | None, progress: Progress
    ) -> None:
        self._opener = opener
        self._guard = guard
        self._route = route
        self._impediment = impediment
        self._progress = progress
        self._socket: socket.socket | None = None
        self._client: aiosmtplib.SMTP | None = None
        self._protocol: PairedProtocol | None = None
        self._offer: Capabilities | None = None
        self._session: Session | None = None

    async def resolve(self) -> ResolvedHost | DeliveryFailure:
        """Resolve the host and vet its addresses."""
        server = self._route.smtp
        try:
            within_s = self._opener.timeouts.connect_s
            return ResolvedHost(tuple(await self._guard.vetted(server.host, server.port, SMTP_PORTS, within_s)))
        except DialError as error:
            return DeliveryFailure(Phase.CONNECT, error.fault, detail=str(error))

    async def connect(self) -> DeliveryFailure | None:
        """Connect without sending anything; refuses an unencrypted server unless the operator allows it."""
        if self._impediment is not None:
            return self._impediment
        try:
            self._socket = await self._opener.dial(self._route, self._progress)
        except Failed as failure:
            return failure.trouble
        return None

    async def secure(self) -> TlsFacts | DeliveryFailure:
        """Start TLS: immediately, or by STARTTLS after the greeting."""
        try:
            client = await self._secured()
        except Failed as failure:
            return failure.trouble
        return tls_facts(client.transport)

    async def _secured(self) -> aiosmtplib.SMTP:
        if self._route.smtp.security is Security.TLS:
            return (await self._joined())[0]
        if self._client is None or self._offer is None:
            raise Failed(_NOT_OPEN)
        self._offer = await self._opener.start_tls(self._client, self._offer, self._progress)
        return self._client

    async def greet(self) -> str | DeliveryFailure:
        """The greeting's text; sends EHLO afterwards."""
        try:
            client, protocol = await self._joined()
            self._offer, greeting = await self._opener.greet(client, protocol, self._progress)
        except Failed as failure:
            return failure.trouble
        return one_line(greeting.message)[:_MAX_WORDS]

    def offer(self) -> SmtpOffer:
        """The extensions that the server offers; after STARTTLS, those offered then."""
        offer = self._offer
        if offer is None:
            return SmtpOffer((), (), None)
        return SmtpOffer(
            tuple(map(_word, sorted(offer.extensions))), tuple(map(_word, offer.mechanisms)), offer.max_letter_bytes
        )

    async def sign_in(self) -> DeliveryFailure | None:
        """Sign in, once."""
        if self._client is None or self._protocol is None or self._offer is None:
            return _NOT_OPEN
        try:
            self._session = await self._opener.sign_in(
                self._client, self._protocol, self._offer, self._route, self._progress
            )
        except Failed as failure:
            return failure.trouble
        return None

    async def propose(self, address: str) -> Reply | DeliveryFailure:
        """Start a letter from the address to itself, then reset. Many servers judge the sender only at RCPT."""
        if self._session is None:
            return _NOT_OPEN
        parsed = parse_address(address)
        envelope = Envelope(parsed.wire, {address: parsed.wire}, _PROPOSED_BYTES, False, parsed.needs_smtputf8)
        if impediment := envelope.impediment(self._session):
            return impediment
        try:
            reply = await self._asked(self._session, envelope, address)
        except Failed as failure:
            return failure.trouble
        await self._session.reset()
        return reply

    async def _asked(self, session: Session, envelope: Envelope, address: str) -> Reply | DeliveryFailure:
        timeouts = self._opener.timeouts
        reply = None
        for phase, command, within_s in (
            (Phase.MAIL, envelope.mail_command(session), timeouts.mail_s),
            (Phase.RCPT, envelope.rcpt_command(address), timeouts.rcpt_s),
        ):
            with self._progress.entering(phase):
                session.protocol.pipeline([command])
                reply = await session.protocol.next_reply(within_s)
            if not 200 <= reply.code <= 299:
                return refusal(phase, reply)
        return reply_of(reply) if reply is not None else _NOT_OPEN

    async def send(self, letter: ComposedLetter) -> Transmission:
        """Send a letter through the normal path."""
        envelope = Envelope.of(letter)
        if self._session is None:
            return Transmission(refused=dict.fromkeys(envelope.recipients, _NOT_OPEN))
        transaction = Transaction(self._session, envelope, self._progress, self._opener.timeouts)
        await transaction.run(letter.wire, _nothing_before_the_dot)
        return Transmission(transaction.accepted, transaction.refused, transaction.uncertain)

    async def close(self) -> None:
        """Disconnect, with QUIT if a session is open."""
        if self._session is not None:
            await self._session.quit()
        elif self._protocol is not None:
            self._protocol.abort()
        elif self._socket is not None:
            self._socket.close()

    async def _joined(self) -> tuple[aiosmtplib.SMTP, PairedProtocol]:
        if self._client is None or self._protocol is None:
            if self._socket is None:
                raise Failed(_NOT_OPEN)
            sock, self._socket = self._socket, None  # the new owner closes it
            self._client, self._protocol = await self._opener.join(sock, self._route, self._progress)
        return self._client, self._protocol


def _word(text: str) -> str:
    return one_line(text)[:60]


async def _nothing_before_the_dot(_: Collection[str]) -> None:
    """Does nothing: test letters have no ledger entry."""


@asynccontextmanager
async def smtp_visit(
    opener: Opener, guard: EgressGuard, route: Route, impediment: DeliveryFailure | None, monotonic: Callable[[], float]
) -> AsyncIterator[SmtpProbe]:
    """Context manager for a visit, closed at the end. `impediment`: why connecting is forbidden, if it is."""
    visit = SmtpProbe(opener, guard, route, impediment, Progress(monotonic))
    try:
        yield visit
    finally:
        await visit.close()
