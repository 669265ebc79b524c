"""Deliveries with an unknown outcome: reported, looked up in Sent, resolved by policy.

SMTP leaves one window open: the final dot was written and no answer came (RFC 5321 section 4.2.5 and RFC 1047). The
window cannot be closed, but it can be reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from worker.delivery import requeue
from worker.delivery.context import LetterContext
from worker.delivery.ledger import HandOver, Uncertain
from worker.delivery.messages import Publication
from worker.delivery.results import Facts, Final, Recorder
from worker.delivery.sent_copy.autosave_detection import sent_place
from worker.delivery.sent_copy.imap_sign_in import Caller, ImapSignIn
from worker.delivery.sent_copy.jobs import copy_target
from worker.delivery.sent_copy.stage import Copies
from worker.delivery.services import Services
from worker.domain.backoff import retry_level_s
from worker.domain.failure.classify import UNCERTAIN
from worker.domain.providers import provider_of
from worker.domain.results.events import to_message
from worker.domain.snapshot.model import Mailbox
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Outcome, Reason, UncertainPolicy

log = structlog.get_logger(__name__)

_REVOKED = FailureKind.TOKEN_REFUSED
_PASSING = frozenset(
    {FailureKind.DNS, FailureKind.CONNECT, FailureKind.TLS, FailureKind.TIMEOUT, FailureKind.DISCONNECTED}
)


@dataclass(slots=True)
class Resolved:
    """How uncertain deliveries were resolved: what to publish, and which recipients to send to again, by hand-over."""

    send_again: list[tuple[int, ...]] = field(default_factory=list)
    publications: list[Publication] = field(default_factory=list)


class UncertainDeliveries:
    """Resolves uncertain deliveries by one policy."""

    def __init__(self, services: Services, recorder: Recorder, sign_in: ImapSignIn, copies: Copies) -> None:
        self._policy = services.rules.uncertain_policy
        self._topology = services.rules.topology
        self._reporter = services.rules.reporter
        self._ledger = services.ledger
        self._sent_folder = services.sent_folder
        self._habits = services.sent_habits
        self._clock = services.clock
        self._observer = services.observer
        self._publish = services.publish
        self._recorder = recorder
        self._sign_in = sign_in
        self._copies = copies

    async def report(self, letter: LetterContext, positions: tuple[int, ...], hand_over: HandOver) -> list[Publication]:
        """A letter was just handed over and no answer came."""
        if self._policy is UncertainPolicy.HOLD:
            return await self._hold(letter, positions, hand_over)
        await self._recorder.abandon(letter.context, positions)
        return [self._uncertain(letter, positions, hand_over), self._later(letter, positions)]

    async def resolve(self, letter: LetterContext, uncertain: Mapping[int, Uncertain], *, is_last: bool) -> Resolved:
        """Resolve what earlier attempts left uncertain; `is_last`: never send again, whatever is found."""
        resolved = Resolved()
        for claim, positions in _by_hand_over(uncertain).items():
            hand_over = claim.hand_over
            if self._policy is UncertainPolicy.HOLD:
                resolved.publications += await self._hold(letter, positions, hand_over)
                continue
            # Published before the ledger's entry can change: otherwise a crash after that would hide it for ever.
            await self._publish(self._uncertain(letter, positions, hand_over))
            found = await self._look(letter, positions, hand_over)
            if found is True:
                resolved.publications += await self._found(letter, positions, hand_over)
            elif is_last:
                resolved.publications += await self._hold(letter, positions, hand_over)
            elif found is False:
                log.warning("mail.sent_again", attempt=hand_over.attempt)
                resolved.send_again.append(positions)
            else:
                await self._recorder.abandon(letter.context, positions)
                resolved.publications.append(self._later(letter, positions))
        return resolved

    def held_again(self, letter: LetterContext, positions: tuple[int, ...], attempt: int) -> Publication:
        """The message for an operator about held letters, again: a crash may have come between their record and it."""
        return self._dead_letter(letter, positions, attempt)

    def _uncertain(self, letter: LetterContext, positions: tuple[int, ...], hand_over: HandOver) -> Publication:
        self._count(letter, positions, self._policy)
        event = self._reporter.uncertain(letter.context, positions, hand_over, self._policy, self._clock.now())
        return self._reporter.publication(event)

    def _count(self, letter: LetterContext, positions: tuple[int, ...], policy: UncertainPolicy) -> None:
        self._observer.ended(letter.context, Outcome.UNCERTAIN, UNCERTAIN, len(positions))
        letter.log("mail.uncertain", positions, policy=policy.value)

    async def _hold(self, letter: LetterContext, positions: tuple[int, ...], hand_over: HandOver) -> list[Publication]:
        """Halt automatic work: an operator decides, with the message in the dead queue."""
        self._count(letter, positions, UncertainPolicy.HOLD)
        event = self._reporter.uncertain(
            letter.context, positions, hand_over, UncertainPolicy.HOLD, self._clock.now(), "held: an operator decides"
        )
        self._observer.lost(len(positions))
        published = await self._recorder.record(
            letter.context, [Final(positions, Outcome.UNCERTAIN, to_message(event))]
        )
        return [*published, self._dead_letter(letter, positions, hand_over.attempt)]

    def _dead_letter(self, letter: LetterContext, positions: tuple[int, ...], attempt: int) -> Publication:
        """`attempt`: the uncertain one. A replay names it, so that it cannot cover one that becomes uncertain later."""
        reason = Reason.OUTCOME_UNKNOWN
        self._observer.buried(reason)
        work = letter.work(positions, attempts=attempt, reason=reason.value)
        why = requeue.DeadLetterReason(reason, "the letter was handed over and no answer came", self._clock.now())
        return requeue.dead(letter.context.arrival, self._topology, why, work.headers())

    async def _look(
        self, letter: LetterContext, positions: Sequence[int], hand_over: HandOver
    ) -> bool | DeliveryFailure:
        """True when the provider's own copy in Sent proves acceptance; False when Sent cannot prove it."""
        sender = letter.context.resolution.sender
        mailbox = sender.mailbox if sender else None
        if self._policy is UncertainPolicy.RESEND or mailbox is None or mailbox.id != hand_over.mailbox_id:
            return False
        target = copy_target(letter.context.event.data.account_id, mailbox)
        if target is None or not await self._saves(target.account_id, mailbox):
            return False
        caller = Caller(mailbox, letter.context.directory.version, target)
        if await self._sign_in.obstacle(caller) is not None:
            return False  # one more wrong password may lock the account
        found = await self._sent_folder.find(target, hand_over.message_id)
        if found is True:
            return not await self._may_be_of_others(letter, positions, hand_over)
        if found is not False and await self._sign_in.refused(caller, found) is None and found.fault is _REVOKED:
            return found  # the mailbox has a new token by now: the lookup is retried with it
        # Wait for transient trouble to pass; a mailbox without a Sent folder, or that refuses sign-in, never proves it.
        return found if found is False or found.fault in _PASSING else False

    async def _may_be_of_others(self, letter: LetterContext, positions: Sequence[int], hand_over: HandOver) -> bool:
        """True when another transaction may have put the letter into Sent.

        A common letter has one Message-ID, and recipients not accepted the first time get it later than others. For a
        recipient without an entry it is unknown whether the letter was handed over: it may have been deferred since.
        """
        known = await self._ledger.hand_overs(letter.context.event.key)
        if not set(letter.planned.named) <= {*positions, *known}:
            return True
        return any(o and o.message_id == hand_over.message_id and o != hand_over for o in known.values())

    async def _saves(self, account_id: str, mailbox: Mailbox) -> bool:
        known = provider_of(mailbox.smtp.host).saves_to_sent
        return bool(known if known is not None else await self._habits.saves(sent_place(account_id, mailbox)))

    async def _found(self, letter: LetterContext, positions: tuple[int, ...], hand_over: HandOver) -> list[Publication]:
        now = self._clock.now()
        facts = Facts(
            positions, message_id=hand_over.message_id, detail="no answer came, but the letter is in the Sent folder"
        )
        self._observer.delivered(letter.context, len(positions), now)
        letter.log("mail.sent", positions, is_found_in_sent=True)
        message = to_message(self._reporter.sent(letter.context, facts, now))
        published = await self._recorder.record(letter.context, [Final(positions, Outcome.SENT, message)])
        mailbox = letter.context.sender.mailbox
        if mailbox is None:
            return published
        return [*published, self._copies.after_finding(letter.context, mailbox, hand_over.message_id, positions)]

    def _later(self, letter: LetterContext, positions: Sequence[int]) -> Publication:
        work = letter.work(positions, attempts=letter.context.attempt, reason=Reason.OUTCOME_UNKNOWN.value)
        return requeue.later(
            letter.context.arrival, work.headers(), self._topology, retry_level_s(letter.context.attempt)
        )


def _by_hand_over(uncertain: Mapping[int, Uncertain]) -> dict[Uncertain, tuple[int, ...]]:
    groups: dict[Uncertain, tuple[int, ...]] = {}
    for position, claim in uncertain.items():
        groups[claim] = (*groups.get(claim, ()), position)
    return groups
