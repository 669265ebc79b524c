"""Sending letters over SMTP: the adapter behind `delivery.ports.MailTransport`."""

import ssl
import time
from collections.abc import Callable

from worker.adapters.auth.credentials import Credentials
from worker.adapters.network.egress import Dialer
from worker.adapters.smtp.errors import Failed
from worker.adapters.smtp.lanes import Lease
from worker.adapters.smtp.pool import Pool, PoolLimits, PoolNumbers
from worker.adapters.smtp.progress import Progress, Timeouts
from worker.adapters.smtp.session import Opener, Session
from worker.adapters.smtp.transaction import Envelope, Transaction, is_canonical
from worker.delivery.instrumentation import NO_TRACING, Tracer
from worker.delivery.ports import BeforeFinalDot, Route
from worker.domain.letter.model import ComposedLetter
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import Phase


class SmtpTransport:
    """Delivers letters to mail servers over pooled connections.

    `local_hostname` is the EHLO name; `tls` must verify certificates and host names (ConfigurationError otherwise);
    `relay_dialer` connects to the platform's own relay, if its policy is laxer than for customers' servers. Belongs to
    one event loop.
    """

    def __init__(
        self,
        dialer: Dialer,
        credentials: Credentials,
        *,
        local_hostname: str,
        tls: ssl.SSLContext,
        relay_dialer: Dialer | None = None,
        timeouts: Timeouts | None = None,
        limits: PoolLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACING,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._monotonic = monotonic
        self._tracer = tracer
        opener = Opener(dialer, credentials, tls, local_hostname, self._timeouts, relay_dialer)
        self._pool = Pool(opener, limits or PoolLimits(), monotonic)

    @property
    def numbers(self) -> PoolNumbers:
        """Connections open, idle, opened and reused, and letters waiting for a connection."""
        return self._pool.numbers()

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        """Send one letter; see `MailTransport.send`.

        A cancellation after the final dot returns the outcome; `Task.cancelling()` still reports it.

        Raises:
            ValueError: the letter has no recipient, an address that is none, or lines that do not end in CRLF.
        """
        envelope = Envelope.of(letter)
        if not await is_canonical(letter.wire):
            raise ValueError("the letter's lines do not all end in CRLF")
        progress = Progress(self._monotonic, self._tracer)
        try:
            with self._tracer.span("smtp"):
                async with self._pool.lease(route) as lease:
                    with progress.deadline(self._timeouts.letter_s):
                        transaction = await self._transact(lease, envelope, letter.wire, before_final_dot, progress)
        except Failed as failure:
            refused = dict.fromkeys(envelope.recipients, failure.trouble)
            return Transmission(refused=refused, timings_s=progress.timings_s)
        return Transmission(
            accepted=transaction.accepted,
            refused=transaction.refused,
            uncertain=transaction.uncertain,
            timings_s=progress.timings_s,
            is_connection_reused=lease.is_reused,
        )

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None:
        """Close idle connections; see `MailTransport.close_idle`."""
        await self._pool.close_idle((account_id, mailbox_id), keep)

    async def close(self) -> None:
        """Close all connections, with QUIT where possible within a few seconds."""
        await self._pool.close()

    async def _transact(
        self, lease: Lease, envelope: Envelope, wire: bytes, before_final_dot: BeforeFinalDot, progress: Progress
    ) -> Transaction:
        session, may_repeat = await self._connected(lease, progress)
        while True:
            session.letters += 1
            transaction = Transaction(session, envelope, progress, self._timeouts)
            await transaction.run(wire, before_final_dot)
            is_dead, is_spent = transaction.found_connection_dead, transaction.found_connection_spent
            if not (is_dead or (is_spent and session.letters > 1)):
                return transaction
            if lease.is_reused:
                # It died while idle, as servers close idle connections, or takes no more letters: not a failure.
                session, may_repeat = await self._connected(lease, progress, anew=True)
            elif may_repeat:
                session, may_repeat = await lease.reconnect(progress), False
            else:
                return transaction

    async def _connected(self, lease: Lease, progress: Progress, *, anew: bool = False) -> tuple[Session, bool]:
        """A connection, and whether it may be replaced: a new one that the server closes is retried once, immediately.

        Raises `Failed`.
        """
        try:
            return await (lease.reconnect(progress) if anew else lease.connect(progress)), True
        except Failed as failure:
            if not (failure.is_connection_gone and failure.trouble.phase is Phase.GREETING):
                raise
        return await lease.reconnect(progress), False
