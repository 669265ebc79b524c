"""The main line: what happens to one letter, from its admission to the results to publish."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from worker.delivery.attempt import Attempt, refused_beside, without_utf8
from worker.delivery.claims import Claimed, Claims
from worker.delivery.compose import Attachments, Composer
from worker.delivery.context import EventContext, LetterContext
from worker.delivery.instrumentation import Stage
from worker.delivery.ledger import HandOver, Ledger
from worker.delivery.mailboxes.backlog import Denied
from worker.delivery.mailboxes.gate import MailboxGate, Slot
from worker.delivery.messages import Publication
from worker.delivery.outcomes import Outcomes
from worker.delivery.places import act_for
from worker.delivery.replay import Replay
from worker.delivery.results import Recorder
from worker.delivery.services import Services
from worker.delivery.uncertain import UncertainDeliveries
from worker.domain.backoff import is_expired
from worker.domain.events.models import LetterEvent
from worker.domain.failure.classify import Classification
from worker.domain.failure.judgements import Remedy
from worker.domain.letter.model import LetterMode, PlannedLetter
from worker.domain.letter.plan import distinct_positions
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import Action, Reason, Scope
from worker.domain.work import Work
from worker.errors import FileUnavailable, LostClaim, Unavailable

_EXPIRED = Classification(Reason.EXPIRED, Scope.MESSAGE, Action.FAIL)
_LIMIT_REACHED = Classification(Reason.RECIPIENT_LIMIT_REACHED, Scope.RECIPIENT, Action.FAIL)
_NO_ADDRESS = Classification(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT, Action.FAIL, remedy=Remedy.ADDRESS)


@dataclass(frozen=True, slots=True)
class Steps:
    """The parts that take a letter from one step to the next."""

    gate: MailboxGate
    attachments: Attachments
    claims: Claims
    replay: Replay
    uncertain: UncertainDeliveries
    composer: Composer
    recorder: Recorder
    outcomes: Outcomes


class LetterDelivery:
    """Takes letters to their outcome."""

    def __init__(self, services: Services, steps: Steps) -> None:
        self._services = services
        self._gate = steps.gate
        self._attachments = steps.attachments
        self._claims = steps.claims
        self._replay = steps.replay
        self._uncertain = steps.uncertain
        self._composer = steps.composer
        self._recorder = steps.recorder
        self._outcomes = steps.outcomes

    async def deliver(self, letter: LetterContext) -> list[Publication]:
        """Take one letter as far as it can go now.

        Returns the results, and messages with the remaining work: the consumer publishes them, waits for the broker's
        confirms, and only then acknowledges the letter's own message.
        """
        if self.is_expired(letter.context.work):
            return await self._end(letter, _EXPIRED)

        # Admit: within its account's and its mailbox's share of this worker, on one of the mailbox's connections.
        slot = await self._acquire(letter)
        if isinstance(slot, Denied):
            return self._outcomes.denied(letter, slot)
        async with slot:
            letter = slot.letter
            if slot.missing_file is not None:
                return await self._without_file(letter, slot.missing_file)

            # Claim: no other task or worker sends to these recipients meanwhile.
            async with await self._claims.claim(letter, may_send=True, counts=True) as claim:
                publications, parts = await self._settle(letter, claim)

                while parts:
                    # Compose: the same bytes and Message-ID at every attempt.
                    attempt = await self._compose(parts.pop(0), slot)

                    # Transmit: the ledger records the hand-over durably before the final dot is written.
                    transmission = await self._transmit(attempt)

                    # Record what is final, with its results; nothing is published before that.
                    recorded, narrower = await self._record(attempt, transmission, is_last=not parts)
                    publications += recorded
                    parts = narrower + parts
                return publications

    async def _acquire(self, letter: LetterContext) -> Slot | Denied:
        """Acquire the letter's slot. A letter with files downloads them before it takes a connection."""
        act_for(letter.holder)
        if not letter.context.event.data.files:
            return await self._gate.acquire(letter)
        slot = self._gate.admit(letter)
        if isinstance(slot, Denied):
            return slot
        try:
            denied = await self._attach_files(slot)
        except FileUnavailable as error:
            slot.missing_file = error
            return slot
        except BaseException:
            await slot.release()
            raise
        if denied is not None:
            await slot.release()
            return denied
        return await self._gate.connect(slot)

    async def _attach_files(self, slot: Slot) -> Denied | None:
        """Download the letter's files, unless it would get no connection anyway. Raises `FileUnavailable`."""
        if denied := await slot.denied():
            return denied
        letter, data = slot.letter, slot.letter.context.event.data
        plan = await self._composer.plan(letter)
        if not plan.fetched:  # all are links
            slot.letter = replace(letter, attachments=await self._attachments.fetch(data, plan))
            return None
        if denied := await slot.reserve_files():
            return denied
        with slot.lane.approaching(), self._services.observer.stage(Stage.FILES):
            slot.letter = replace(letter, attachments=await self._attachments.fetch(data, plan))
        return None

    async def _settle(
        self, letter: LetterContext, claim: Claimed, *, is_last: bool = False
    ) -> tuple[list[Publication], list[LetterContext]]:
        """Settle recipients whose letter is not simply to be sent; return that outcome and the letters to send.

        Recipients of one uncertain hand-over are sent to again together, and with no others: so, while one of them is
        uncertain, a letter in Sent is theirs or is known to be another's. `is_last`: none is sent again.
        """
        publications = self._outcomes.held(letter.to(claim.held)) if claim.held else []
        if claim.done:
            publications += await self._replay.of(letter, claim.done)
        to_send = [claim.granted] if claim.granted else []
        if claim.uncertain:
            resolved = await self._uncertain.resolve(letter, claim.uncertain, is_last=is_last)
            publications += resolved.publications
            to_send += resolved.send_again
        if claim.over_limit:
            publications += await self._outcomes.failed(letter.to(claim.over_limit), _LIMIT_REACHED)
        return publications, [letter.to(positions) for positions in to_send]

    async def _compose(self, letter: LetterContext, slot: Slot) -> Attempt:
        with self._services.observer.stage(Stage.COMPOSE):
            composed = await self._composer.compose(letter)
        mailbox = letter.context.sender.mailbox
        hand_over = HandOver(
            account_id=letter.context.event.data.account_id,
            mailbox_id=mailbox.id if mailbox else None,
            message_id=composed.message_id,
            attempt=letter.context.attempt,
            at=self._services.clock.now(),
        )
        envelope = dict(zip(composed.envelope_to, letter.positions, strict=True))
        return Attempt(letter, composed, envelope, slot, hand_over)

    async def _transmit(self, attempt: Attempt) -> Transmission | Denied | LostClaim:
        """Send; when that is aborted before the dot, undo the recorded hand-over so that no doubt remains."""
        context, slot, positions = attempt.letter.context, attempt.slot, tuple(attempt.envelope.values())
        dot = FinalDot(self._services.ledger, context.event.key, attempt.envelope, attempt.hand_over)
        try:
            async with slot.transmitting():
                # Only now, so that what is counted is sent at once.
                if denied := await slot.consume(len(positions)):
                    return denied
                return await self._services.transport.send(slot.route, attempt.composed, dot)
        except asyncio.CancelledError:
            if not dot.is_allowed:
                with suppress(Unavailable):  # cancelled again, or the ledger is unavailable: it stays uncertain
                    await asyncio.shield(self._services.ledger.release(context.event.key, positions))
            raise
        except BaseException as error:
            if not dot.is_allowed:
                await self._recorder.release(context, positions)
            if isinstance(error, LostClaim):
                return error
            raise

    async def _record(
        self, attempt: Attempt, transmission: Transmission | Denied | LostClaim, *, is_last: bool
    ) -> tuple[list[Publication], list[LetterContext]]:
        """Record the outcome of an attempt; returns what to publish, and a narrower letter to send instead, if any.

        `is_last`: no other part of the letter needs the slot.
        """
        letter, slot = attempt.letter, attempt.slot
        if isinstance(transmission, LostClaim):
            return self._outcomes.claim_lost(letter), []
        if isinstance(transmission, Denied):
            await self._recorder.release(letter.context, letter.positions)
            return self._outcomes.denied(letter, transmission), []
        if is_last and attempt.is_accepted_for_all(transmission):
            slot.release_connection()
        narrower = without_utf8(attempt, transmission)
        final = refused_beside(attempt, transmission, narrower) if narrower else transmission
        publications: list[Publication] = []
        if narrower is None or final.refused:
            publications = await self._outcomes.of_transmission(attempt, final)
        await slot.ended(transmission, len(attempt.envelope))
        return publications, [narrower] if narrower else []

    async def _without_file(self, letter: LetterContext, error: FileUnavailable) -> list[Publication]:
        async with await self._claims.claim(letter, may_send=True) as claim:
            publications, parts = await self._settle(letter, claim)
            for part in parts:
                publications += await self._outcomes.without_file(part, error)
            return publications

    async def _end(self, letter: LetterContext, why: Classification, detail: str | None = None) -> list[Publication]:
        """Fail the recipients that still wait; no letter leaves for them."""
        if why.reason is Reason.EXPIRED:
            detail = _last_reason(letter.context.work)
        async with await self._claims.claim(letter, may_send=False) as claim:
            publications, parts = await self._settle(letter, claim, is_last=True)
            for part in parts:
                publications += await self._outcomes.failed(part, why, detail)
            return publications

    async def fail(self, context: EventContext, why: Classification) -> list[Publication]:
        """Fail the event's recipients that still wait; no letter leaves for them."""
        positions = tuple(sorted(set(context.wanted()).intersection(distinct_positions(context.event.data.recipients))))
        return await self._end(_unplanned(context, positions), why)

    async def refuse(self, context: EventContext, positions: tuple[int, ...], problem: str) -> list[Publication]:
        """Fail these recipients: their addresses have a problem that rules out a letter."""
        return await self._end(_unplanned(context, positions), _NO_ADDRESS, problem)

    async def require_own(self, event: LetterEvent) -> None:
        """Raises `ForeignEvent` when another account has used an event with the same source and id."""
        await self._claims.require_own(event)

    def is_expired(self, work: Work) -> bool:
        """True when this work is too old for another attempt."""
        return is_expired(work.first_seen, self._services.clock.now(), self._services.rules.limits.max_age_s)


@dataclass(slots=True)
class FinalDot:
    """What a transport awaits before it writes the dot (`ports.BeforeFinalDot`).

    While `is_allowed` is False the dot was not written, whatever else happened: also when the ledger did not answer,
    and so may have recorded a hand-over that never took place. It records only recipients that the server accepted:
    the others get nothing by this dot, and must not become uncertain after a crash.
    """

    ledger: Ledger
    event_key: str
    envelope: Mapping[str, int]
    note: HandOver
    is_allowed: bool = False

    async def __call__(self, accepted: Collection[str]) -> None:
        positions = sorted([self.envelope[address] for address in accepted])
        await self.ledger.hand_over(self.event_key, positions, self.note)
        self.is_allowed = True


def _unplanned(context: EventContext, positions: Sequence[int]) -> LetterContext:
    """These recipients as if of one letter: for outcomes that apply to all of them alike."""
    return LetterContext(
        context, PlannedLetter(context.work.mode or LetterMode.EACH, tuple(positions), tuple(positions))
    )


def _last_reason(work: Work) -> str | None:
    """The last real reason, reported with the expiry."""
    last = ": ".join([part for part in (work.last_reason, work.last_reply) if part])
    return f"last: {last}" if last else None
