"""What happens to one letter: its lane, its claim, its transmission, its outcome."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from worker.delivery import requeueing
from worker.delivery.attachments import Attachments
from worker.delivery.attempt import Attempt
from worker.delivery.backlog import Closed
from worker.delivery.case import Case, LetterCase
from worker.delivery.claiming import HELD_WAIT_S, Claims
from worker.delivery.composition import Composer
from worker.delivery.handing_over import FinalDot, hand_over_of
from worker.delivery.in_hand import InHand
from worker.delivery.ledger import Ledger
from worker.delivery.limits import Limits
from worker.delivery.messages import Publication
from worker.delivery.narrowing import only, without_utf8
from worker.delivery.observing import Observer, Stage
from worker.delivery.outcomes import Outcomes
from worker.delivery.places import Denied, Places, act_for
from worker.delivery.ports import Clock, MailTransport
from worker.delivery.recording import Recorder
from worker.delivery.ways import Passage, Way, Ways
from worker.domain.backoff import is_expired, pause_level_s, waiting_level_s
from worker.domain.classification import Classification
from worker.domain.event import LetterEvent
from worker.domain.judgements import Remedy
from worker.domain.letters import ComposedLetter, LetterMode, PlannedLetter
from worker.domain.planning import distinct_positions
from worker.domain.topology import Topology
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import Action, Reason, Scope
from worker.domain.work import Work
from worker.errors import FileUnavailable, LostClaim, Unavailable

log = structlog.get_logger(__name__)

_FILES_PATIENCE_S = 5.0  # as long as the shortest delay queue: who has to wait longer for a place waits there


_LIMIT_REACHED = Classification(Reason.RECIPIENT_LIMIT_REACHED, Scope.RECIPIENT, Action.FAIL)
_NO_ADDRESS = Classification(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT, Action.FAIL, remedy=Remedy.ADDRESS)


class LetterDelivery:
    """Takes letters to their outcome."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        transport: MailTransport,
        ways: Ways,
        claims: Claims,
        in_hand: InHand,
        attachments: Attachments,
        composer: Composer,
        recorder: Recorder,
        outcomes: Outcomes,
        topology: Topology,
        clock: Clock,
        observer: Observer,
        limits: Limits,
    ) -> None:
        self._ledger = ledger
        self._transport = transport
        self._ways = ways
        self._claims = claims
        self._composer = composer
        self._recorder = recorder
        self._outcomes = outcomes
        self._topology = topology
        self._clock = clock
        self._observer = observer
        self._limits = limits
        self._in_hand = in_hand
        self._attachments = attachments
        self._transmissions = Places(limits.concurrency, limits.shares)
        self._files = Places(limits.files_concurrency, limits.shares)

    async def deliver(self, item: LetterCase) -> list[Publication]:
        """Take the letter as far as it comes now; what is returned says what came of it, and what is left to do."""
        if self.is_expired(item.case.work):
            return await self._claims.working_on(item, partial(self._outcomes.expired, item), can_send=False)
        way, holder, turn = self._ways.of(item.case), item.holder, item.case.work.turn
        act_for(holder)
        with self._in_hand.place(holder, turn) as denied:
            if denied is not None:
                closed = way.lane.wait_for_turn(turn) if isinstance(denied, Denied) else denied
                return self._wait(item, way, closed, item.letter.envelope)
            if item.case.event.data.files:
                return await self._with_files(item, way)
            return await self._on_its_way(item, way)

    async def _with_files(self, item: LetterCase, way: Way) -> list[Publication]:
        """Download the letter's files before it has a place in the lane, then send it while they are held.

        Where it would find no room, nothing is downloaded. Meanwhile it counts as one that waits for its mailbox.
        """
        if closed := await way.closed(item.case):
            return self._wait(item, way, closed, item.letter.envelope)
        plan = await self._composer.plan(item)
        if not plan.fetched:  # all are links
            links = await self._attachments.fetch(item.case.event.data, plan)
            return await self._on_its_way(replace(item, attachments=links), way)
        async with self._files.place(item.holder, _FILES_PATIENCE_S) as has_place:
            if not has_place:
                closed = self._in_hand.wait_for_turn(item.holder, item.case.work.turn)
                return self._wait(item, way, closed, item.letter.envelope)
            try:
                with way.lane.approaching(), self._observer.stage(Stage.FILES):
                    attachments = await self._attachments.fetch(item.case.event.data, plan)
            except FileUnavailable as error:
                return await self._claims.working_on(item, partial(self._without_file, item, error), can_send=True)
            return await self._on_its_way(replace(item, attachments=attachments), way)

    async def _without_file(
        self, item: LetterCase, error: FileUnavailable, positions: tuple[int, ...]
    ) -> list[Publication]:
        return await self._outcomes.without_file(_part(item, positions), error)

    async def _on_its_way(self, item: LetterCase, way: Way) -> list[Publication]:
        came = self._clock.monotonic()
        passage = way.passage(item.case)
        async with passage as closed:
            self._observer.timed(Stage.LANE, self._clock.monotonic() - came)
            if closed is not None:
                return self._wait(item, way, closed, item.letter.envelope)
            send = partial(self._send, item, way, passage)
            beyond = partial(self._outcomes.failed, item, _LIMIT_REACHED)
            return await self._claims.working_on(item, send, can_send=True, beyond=beyond)

    async def require_own(self, event: LetterEvent) -> None:
        """Raises `ForeignEvent` when another account's event with the same source and id is known."""
        await self._claims.require_own(event)

    def is_expired(self, work: Work) -> bool:
        """True when the letters of this work are too old to be tried once more."""
        return is_expired(work.first_seen, self._clock.now(), self._limits.max_age_s)

    async def fail(self, case: Case, why: Classification) -> list[Publication]:
        """No letter leaves for those who still wait."""
        item = _whole(case)
        if why.reason is Reason.EXPIRED:
            return await self._claims.working_on(item, partial(self._outcomes.expired, item), can_send=False)
        return await self._claims.working_on(item, partial(self._outcomes.failed, item, why), can_send=False)

    async def refuse(self, case: Case, positions: tuple[int, ...], problem: str) -> list[Publication]:
        """No letter can be sent to these addresses, for what is wrong with them."""
        item = LetterCase(case, PlannedLetter(case.work.mode or LetterMode.EACH, positions, positions))
        act = partial(self._outcomes.failed, item, _NO_ADDRESS, detail=problem)
        return await self._claims.working_on(item, act, can_send=False)

    def _wait(self, item: LetterCase, way: Way, closed: Closed, positions: tuple[int, ...]) -> list[Publication]:
        """Let the letter wait for its mailbox; that is no attempt."""
        if closed.reason is None:
            now = self._clock.now()
            turn = closed.turn or now
            work = item.work(positions, turn=turn, lane=closed.lane or way.token)
            return [requeueing.until_turn(item.case.arrival, work.headers(), self._topology, turn, now)]
        level_s = waiting_level_s(item.case.age_s) if closed.wait_s is None else pause_level_s(closed.wait_s)
        action = Action.SUSPEND if closed.wait_s is None else Action.PAUSE
        scope = Scope.MAILBOX if item.case.sender.mailbox else Scope.PLATFORM
        return self._outcomes.waiting(item, positions, Classification(closed.reason, scope, action), level_s)

    async def _send(
        self, item: LetterCase, way: Way, passage: Passage, positions: tuple[int, ...]
    ) -> list[Publication]:
        is_all = positions == item.letter.envelope
        item = _part(item, positions)
        with self._observer.stage(Stage.COMPOSE):
            composed = await self._composer.compose(item)
        hand_over = hand_over_of(item, composed, self._clock.now())
        envelope = dict(zip(composed.envelope_to, positions, strict=True))
        dot = FinalDot(self._ledger, item.case.event.key, envelope, hand_over)
        try:
            transmission = await self._transmit(item, way, composed, dot)
        except LostClaim:
            log.warning("mail.claim_lost")  # another worker took us for dead; the letter is its own now
            work = item.work(positions)
            return [requeueing.later(item.case.arrival, work.headers(), self._topology, HELD_WAIT_S)]
        if isinstance(transmission, Closed):
            await self._recorder.release(item.case, positions)
            return self._wait(item, way, transmission, positions)
        if is_all and len(transmission.accepted) == len(positions):
            passage.accepted()
        attempt = Attempt(item, composed, way, hand_over)
        if (narrower := without_utf8(item, transmission)) is not None:
            left = set(positions).difference(narrower.letter.envelope)
            refused = only(transmission, left, attempt.positions_by_address())
            publications = await self._outcomes.of_transmission(attempt, refused) if refused.refused else []
            await way.ended(transmission, len(positions))
            return publications + await self._send(narrower, way, passage, narrower.letter.envelope)
        publications = await self._outcomes.of_transmission(attempt, transmission)
        await way.ended(transmission, len(positions))
        return publications

    async def _transmit(
        self, item: LetterCase, way: Way, composed: ComposedLetter, dot: FinalDot
    ) -> Transmission | Closed:
        """Send; when that is broken off before the dot, no doubt may be left of a hand-over that was noted."""
        try:
            async with self._transmissions.place(item.holder):
                # Only now, so that what is counted is sent at once.
                if closed := await way.permit(len(dot.positions)):
                    return closed
                return await self._transport.send(way.route, composed, dot)
        except asyncio.CancelledError:
            if not dot.is_allowed:
                with suppress(Unavailable):  # told once more to stop, or the ledger is away: it stays in doubt then
                    await asyncio.shield(self._ledger.release(dot.event_key, dot.positions))
            raise
        except BaseException:
            if not dot.is_allowed:
                await self._recorder.release(item.case, dot.positions)
            raise


def _part(item: LetterCase, positions: tuple[int, ...]) -> LetterCase:
    """The letter to some of its recipients."""
    return replace(item, letter=replace(item.letter, envelope=positions))


def _whole(case: Case) -> LetterCase:
    """All who still wait, as if of one letter: for outcomes that concern the event as a whole."""
    positions = tuple(sorted(set(case.wanted()).intersection(distinct_positions(case.event.data.recipients))))
    return LetterCase(case, PlannedLetter(case.work.mode or LetterMode.EACH, positions, positions))
