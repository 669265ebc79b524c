"""What happens to one letter: its lane, its claim, its transmission, its outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import structlog

from worker.delivery import requeueing
from worker.delivery.attachments import fetch_attachments
from worker.delivery.case import Case, LetterCase
from worker.delivery.copies import Copies
from worker.delivery.doubts import Doubts
from worker.delivery.lanes import Closed, Lane, Lanes
from worker.delivery.ledger import Claim, Done, Granted, HandOver, Held, InDoubt, Ledger
from worker.delivery.messages import Publication
from worker.delivery.outcomes import Outcomes
from worker.delivery.ports import Clock, FileStore, MailTransport, Route
from worker.delivery.reporting import Reporter
from worker.domain.backoff import is_expired, pause_level_s, waiting_level_s
from worker.domain.classification import Classification
from worker.domain.composing import compose
from worker.domain.envelope import MailSentEvent, parse_result
from worker.domain.letters import ComposedLetter, LetterMode, PlannedLetter
from worker.domain.planning import distinct_positions
from worker.domain.providers import provider_of
from worker.domain.topology import Topology
from worker.domain.vocabulary import Action, Reason, Scope
from worker.errors import FileUnavailable, LostClaim, Unavailable

log = structlog.get_logger(__name__)

_HELD_WAIT_S = 30
_DEFAULT_CONNECTIONS = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the delivery: a letter's age in seconds, and connections to the platform's own relay."""

    max_age_s: float
    relay_connections: int
    mailbox_connections: int = _DEFAULT_CONNECTIONS


class InWork:
    """Recipients that this very process is working on: the ledger does not tell its tasks apart."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, int]] = set()

    @contextmanager
    def taking(self, event_key: str, positions: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Those of the positions that nobody here works on; they are taken while the context lasts."""
        mine = tuple(p for p in positions if (event_key, p) not in self._taken)
        keys = {(event_key, p) for p in mine}
        self._taken |= keys
        try:
            yield mine
        finally:
            self._taken -= keys


class LetterDelivery:
    """Takes letters to their outcome."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        transport: MailTransport,
        files: FileStore,
        lanes: Lanes,
        doubts: Doubts,
        copies: Copies,
        outcomes: Outcomes,
        reporter: Reporter,
        topology: Topology,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._ledger = ledger
        self._transport = transport
        self._files = files
        self._lanes = lanes
        self._doubts = doubts
        self._copies = copies
        self._outcomes = outcomes
        self._reporter = reporter
        self._topology = topology
        self._clock = clock
        self._limits = limits
        self._in_work = InWork()

    async def deliver(self, item: LetterCase) -> list[Publication]:
        """Take the letter as far as it comes now; what is returned says what came of it, and what is left to do."""
        if self.is_expired(item.case):
            return await self._with_claim(item, partial(self._outcomes.expired, item), can_send=False)
        route = self._route(item.case)
        lane = self._lanes.of(route, route.max_connections)
        if closed := lane.closed():
            return self._wait(item, closed)
        async with lane.place():
            if closed := lane.obstacle():  # what those before us met concerns us too
                return self._wait(item, closed)
            return await self._with_claim(item, partial(self._send, item, route, lane), can_send=True)

    def is_expired(self, case: Case) -> bool:
        """True when the letters of the case are too old to be tried once more."""
        return is_expired(case.work.first_seen, self._clock.now(), self._limits.max_age_s)

    async def fail(self, case: Case, why: Classification) -> list[Publication]:
        """No letter leaves for those who still wait."""
        item = _whole(case)
        if why.reason is Reason.EXPIRED:
            return await self._with_claim(item, partial(self._outcomes.expired, item), can_send=False)
        return await self._with_claim(item, partial(self._outcomes.failed, item, why), can_send=False)

    def _route(self, case: Case) -> Route:
        mailbox = case.sender.mailbox
        if mailbox is None:
            return Route("", None, case.directory.platform.relay, self._limits.relay_connections)
        known = mailbox.limits.connections or provider_of(mailbox.smtp.host).connections
        return Route(case.sender.account.id, mailbox.id, mailbox.smtp, known or self._limits.mailbox_connections)

    def _wait(self, item: LetterCase, closed: Closed) -> list[Publication]:
        """Let the letter wait for its mailbox; that is no attempt."""
        level_s = waiting_level_s(item.case.age_s) if closed.wait_s is None else pause_level_s(closed.wait_s)
        if closed.reason is None:
            return [self._later(item, item.letter.envelope, level_s)]
        action = Action.SUSPEND if closed.wait_s is None else Action.PAUSE
        why = Classification(closed.reason, Scope.MAILBOX, action)
        return self._outcomes.waiting(item, item.letter.envelope, why, level_s)

    def _later(self, item: LetterCase, positions: Sequence[int], level_s: int) -> Publication:
        work = item.work(positions, attempts=item.case.work.attempts, reason=None, reply=None)
        return requeueing.later(item.case.arrival, work.headers(), self._topology, level_s)

    async def _with_claim(
        self, item: LetterCase, act: Callable[[tuple[int, ...]], Awaitable[list[Publication]]], *, can_send: bool
    ) -> list[Publication]:
        """Claim the recipients, do with each what the ledger says of it, and `act` on those who are ours."""
        event = item.case.event
        publications: list[Publication] = []
        with self._in_work.taking(event.key, item.letter.envelope) as mine:
            claims = await self._claim(item, mine)
            held = tuple(p for p in item.letter.envelope if isinstance(claims.get(p), Held | None))
            if held:
                publications.append(self._later(item, held, _HELD_WAIT_S))
            try:
                publications += await self._repeated(item, claims)
                settled = await self._doubts.settle(item, _in_doubt(claims), is_last=not can_send)
                publications += settled.publications
                ours = (*(p for p, claim in claims.items() if isinstance(claim, Granted)), *settled.send_again)
                if ours:
                    publications += await act(tuple(sorted(ours)))
            except BaseException:  # also cancellation: what is not settled must block nobody
                await self._let_go(event.key, mine)
                raise
        return publications

    async def _claim(self, item: LetterCase, positions: tuple[int, ...]) -> Mapping[int, Claim]:
        if not positions:
            return {}
        event = item.case.event
        return await self._ledger.claim(event.key, event.data.account_id, positions)

    async def _let_go(self, event_key: str, positions: Sequence[int]) -> None:
        try:
            await asyncio.shield(self._ledger.let_go(event_key, positions))
        except Unavailable:
            log.warning("ledger.let_go_failed", event_key=event_key)  # the lease will do it

    async def _repeated(self, item: LetterCase, claims: Mapping[int, Claim]) -> list[Publication]:
        """What is done already is told again, in the very words of the first time; a consumer drops it by its id."""
        done = {claim.result_id: claim for claim in claims.values() if isinstance(claim, Done)}
        publications: list[Publication] = []
        for claim in done.values():
            event = parse_result(claim.result)
            publications.append(self._reporter.publication(event))
            log.info("mail.repeated", outcome=claim.outcome.value, result_id=claim.result_id)
            if isinstance(event, MailSentEvent):
                positions = tuple(
                    p for p, c in claims.items() if isinstance(c, Done) and c.result_id == claim.result_id
                )
                publications += await self._copy_again(item, event, positions)
        return publications

    async def _copy_again(
        self, item: LetterCase, event: MailSentEvent, positions: tuple[int, ...]
    ) -> list[Publication]:
        """The copy may not have been asked for before a crash; the copying stage looks before it saves one."""
        sender = item.case.resolution.sender
        mailbox = sender.mailbox if sender else None
        if mailbox is None or event.data.sender.mailbox_id != mailbox.id:
            return []  # the snapshot has changed since; this letter left from elsewhere
        letter = LetterCase(item.case, replace(item.letter, envelope=positions))
        try:
            composed = await self._compose(letter)
        except FileUnavailable as error:
            log.warning("sent_copy.not_repeated", error=str(error))
            return []
        return self._copies.after_sending(item.case, mailbox, composed, positions)

    async def _compose(self, item: LetterCase) -> ComposedLetter:
        case = item.case
        attachments = await fetch_attachments(self._files, case.event.data, case.sender)
        if any(attachment.content for attachment in attachments):
            # Encoding 10 MB takes a fifth of a second, which the other letters must not wait for.
            return await asyncio.to_thread(compose, case.event, case.sender, item.letter, attachments)
        return compose(case.event, case.sender, item.letter, attachments)

    async def _send(self, item: LetterCase, route: Route, lane: Lane, positions: tuple[int, ...]) -> list[Publication]:
        item = LetterCase(item.case, replace(item.letter, envelope=positions))
        try:
            composed = await self._compose(item)
        except FileUnavailable as error:
            return await self._outcomes.without_file(item, error)
        hand_over = self._hand_over(item, composed.message_id)
        try:
            transmission = await self._transport.send(route, composed, hand_over)
        except LostClaim:
            log.warning("mail.claim_lost")  # another worker took us for dead; the letter is its own now
            return [self._later(item, positions, _HELD_WAIT_S)]
        return await self._outcomes.of_transmission(item, composed, transmission, lane)

    def _hand_over(self, item: LetterCase, message_id: str) -> "_HandOver":
        mailbox = item.case.sender.mailbox
        note = HandOver(
            account_id=item.case.event.data.account_id,
            mailbox_id=mailbox.id if mailbox else None,
            message_id=message_id,
            attempt=item.case.attempt,
            at=self._clock.now(),
        )
        return _HandOver(self._ledger, item.case.event.key, item.letter.envelope, note)


@dataclass(frozen=True, slots=True)
class _HandOver:
    """Notes durably that the final dot follows: before it, never after."""

    ledger: Ledger
    event_key: str
    positions: tuple[int, ...]
    note: HandOver

    async def __call__(self) -> None:
        await self.ledger.hand_over(self.event_key, self.positions, self.note)


def _whole(case: Case) -> LetterCase:
    """All who still wait, as if of one letter: for outcomes that concern the event as a whole."""
    positions = tuple(sorted(set(case.wanted()).intersection(distinct_positions(case.event.data.recipients))))
    return LetterCase(case, PlannedLetter(case.work.mode or LetterMode.EACH, positions, positions))


def _in_doubt(claims: Mapping[int, Claim]) -> dict[int, InDoubt]:
    return {position: claim for position, claim in claims.items() if isinstance(claim, InDoubt)}
