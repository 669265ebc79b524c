"""What happens to one letter: its lane, its claim, its transmission, its outcome."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog

from worker.delivery import requeueing
from worker.delivery.attempt import Attempt
from worker.delivery.case import Case, LetterCase
from worker.delivery.claiming import HELD_WAIT_S, Claims
from worker.delivery.composition import Composer
from worker.delivery.handing_over import FinalDot, hand_over_of
from worker.delivery.lanes import Closed, Lane, Lanes
from worker.delivery.ledger import Ledger
from worker.delivery.messages import Publication
from worker.delivery.observing import Observer, Stage
from worker.delivery.outcomes import Outcomes
from worker.delivery.ports import Clock, MailTransport, Route
from worker.delivery.recording import Recorder
from worker.delivery.reporting import Reporter
from worker.domain.backoff import is_expired, pause_level_s, waiting_level_s
from worker.domain.classification import Classification
from worker.domain.letters import ComposedLetter, LetterMode, PlannedLetter
from worker.domain.planning import distinct_positions
from worker.domain.providers import provider_of
from worker.domain.topology import Topology
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import Action, Reason, Scope
from worker.errors import FileUnavailable, LostClaim, Unavailable

log = structlog.get_logger(__name__)

_DEFAULT_CONNECTIONS = 2
_DEFAULT_CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the delivery: a letter's age in seconds, connections, and letters in transmission at a time."""

    max_age_s: float
    relay_connections: int
    mailbox_connections: int = _DEFAULT_CONNECTIONS
    concurrency: int = _DEFAULT_CONCURRENCY


class LetterDelivery:
    """Takes letters to their outcome."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        transport: MailTransport,
        lanes: Lanes,
        claims: Claims,
        composer: Composer,
        recorder: Recorder,
        outcomes: Outcomes,
        reporter: Reporter,
        topology: Topology,
        clock: Clock,
        observer: Observer,
        limits: Limits,
    ) -> None:
        self._ledger = ledger
        self._transport = transport
        self._lanes = lanes
        self._claims = claims
        self._composer = composer
        self._recorder = recorder
        self._outcomes = outcomes
        self._reporter = reporter
        self._topology = topology
        self._clock = clock
        self._observer = observer
        self._limits = limits
        self._transmissions = asyncio.Semaphore(limits.concurrency)

    async def deliver(self, item: LetterCase) -> list[Publication]:
        """Take the letter as far as it comes now; what is returned says what came of it, and what is left to do."""
        if self.is_expired(item.case):
            return await self._claims.working_on(item, partial(self._outcomes.expired, item), can_send=False)
        route = self._route(item.case)
        lane = self._lane(item.case, route)
        resumed = self._resumed(item.case, lane)
        came = self._clock.monotonic()
        async with lane.place(item.case.work.turn) as closed:
            self._observer.timed(Stage.LANE, self._clock.monotonic() - came)
            if closed is not None:
                return [*resumed, *self._wait(item, closed)]
            sending = partial(self._send, item, route, lane)
            return [*resumed, *await self._claims.working_on(item, sending, can_send=True)]

    def is_expired(self, case: Case) -> bool:
        """True when the letters of the case are too old to be tried once more."""
        return is_expired(case.work.first_seen, self._clock.now(), self._limits.max_age_s)

    async def fail(self, case: Case, why: Classification) -> list[Publication]:
        """No letter leaves for those who still wait."""
        item = _whole(case)
        if why.reason is Reason.EXPIRED:
            return await self._claims.working_on(item, partial(self._outcomes.expired, item), can_send=False)
        return await self._claims.working_on(item, partial(self._outcomes.failed, item, why), can_send=False)

    def _route(self, case: Case) -> Route:
        mailbox = case.sender.mailbox
        if mailbox is None:
            return Route("", None, case.directory.platform.relay, self._limits.relay_connections)
        known = mailbox.limits.connections or provider_of(mailbox.smtp.host).connections
        return Route(case.sender.account.id, mailbox.id, mailbox.smtp, known or self._limits.mailbox_connections)

    def _lane(self, case: Case, route: Route) -> Lane:
        # All of the mailbox, not only its server: to mend "sender not owned" somebody changes the address.
        settings = case.sender.mailbox or route
        return self._lanes.of((route.account_id, route.mailbox_id), settings, route.max_connections)

    def _resumed(self, case: Case, lane: Lane) -> list[Publication]:
        mailbox, reason = case.sender.mailbox, lane.resumed_from()
        if mailbox is None or reason is None:
            return []
        log.info("mailbox.resumed", mailbox_id=mailbox.id, reason=reason.value)
        return [self._reporter.publication(self._reporter.resumed(case, mailbox, reason, self._clock.now()))]

    def _wait(self, item: LetterCase, closed: Closed) -> list[Publication]:
        """Let the letter wait for its mailbox; that is no attempt."""
        level_s = waiting_level_s(item.case.age_s) if closed.wait_s is None else pause_level_s(closed.wait_s)
        positions = item.letter.envelope
        if closed.reason is None:
            work = item.work(positions, turn=closed.turn)
            return [requeueing.later(item.case.arrival, work.headers(), self._topology, level_s)]
        action = Action.SUSPEND if closed.wait_s is None else Action.PAUSE
        scope = Scope.MAILBOX if item.case.sender.mailbox else Scope.PLATFORM
        return self._outcomes.waiting(item, positions, Classification(closed.reason, scope, action), level_s)

    async def _send(self, item: LetterCase, route: Route, lane: Lane, positions: tuple[int, ...]) -> list[Publication]:
        item = LetterCase(item.case, replace(item.letter, envelope=positions))
        try:
            with self._observer.stage(Stage.COMPOSE):
                composed = await self._composer.compose(item)
        except FileUnavailable as error:
            return await self._outcomes.without_file(item, error)
        hand_over = hand_over_of(item, composed, self._clock.now())
        dot = FinalDot(self._ledger, item.case.event.key, positions, hand_over)
        try:
            transmission = await self._transmit(item, route, composed, dot)
        except LostClaim:
            log.warning("mail.claim_lost")  # another worker took us for dead; the letter is its own now
            work = item.work(positions)
            return [requeueing.later(item.case.arrival, work.headers(), self._topology, HELD_WAIT_S)]
        return await self._outcomes.of_transmission(Attempt(item, composed, lane, hand_over), transmission)

    async def _transmit(self, item: LetterCase, route: Route, composed: ComposedLetter, dot: FinalDot) -> Transmission:
        """Send; when that is broken off before the dot, no doubt may be left of a hand-over that was noted."""
        try:
            async with self._transmissions:
                return await self._transport.send(route, composed, dot)
        except asyncio.CancelledError:
            if not dot.is_allowed:
                with suppress(Unavailable):  # told once more to stop, or the ledger is away: it stays in doubt then
                    await asyncio.shield(self._ledger.release(dot.event_key, dot.positions))
            raise
        except BaseException:
            if not dot.is_allowed:
                await self._recorder.release(item.case, dot.positions)
            raise


def _whole(case: Case) -> LetterCase:
    """All who still wait, as if of one letter: for outcomes that concern the event as a whole."""
    positions = tuple(sorted(set(case.wanted()).intersection(distinct_positions(case.event.data.recipients))))
    return LetterCase(case, PlannedLetter(case.work.mode or LetterMode.EACH, positions, positions))
