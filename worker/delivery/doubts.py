"""Letters of which nobody knows whether they were accepted: told of, looked for, and settled by the policy.

SMTP leaves one window open: the final dot was written and no answer came (RFC 5321 section 4.2.5 and RFC 1047). It
cannot be closed, only not hidden.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from worker.delivery import requeueing
from worker.delivery.case import LetterCase
from worker.delivery.copies import Copies
from worker.delivery.copy_jobs import copy_target
from worker.delivery.facts import Facts
from worker.delivery.imap_sign_in import Caller, ImapSignIn
from worker.delivery.ledger import HandOver, InDoubt, Ledger
from worker.delivery.messages import Publication, Publish
from worker.delivery.observing import Observer
from worker.delivery.ports import Clock, SentFolder
from worker.delivery.recording import Final, Recorder
from worker.delivery.reporting import Reporter
from worker.delivery.sent_habits import SentHabits, sent_place
from worker.domain.backoff import retry_level_s
from worker.domain.classification import UNCERTAIN
from worker.domain.message import to_message
from worker.domain.providers import provider_of
from worker.domain.snapshot import Mailbox
from worker.domain.topology import Topology
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import Outcome, Reason, UncertainPolicy

log = structlog.get_logger(__name__)

_REVOKED = Fault.TOKEN_REFUSED
_PASSING = frozenset({Fault.DNS, Fault.CONNECT, Fault.TLS, Fault.TIMEOUT, Fault.DISCONNECTED})


@dataclass(slots=True)
class Settled:
    """What came of doubts: whom to send to again, and what to publish.

    Those of one hand-over are sent to again together, and with nobody else: so that, as long as one of them is in
    doubt, a letter in Sent is theirs or is known to be another's.
    """

    send_again: list[tuple[int, ...]] = field(default_factory=list)
    publications: list[Publication] = field(default_factory=list)


class Doubts:
    """Deals with uncertain letters by one policy."""

    def __init__(
        self,
        *,
        policy: UncertainPolicy,
        ledger: Ledger,
        recorder: Recorder,
        sent_folder: SentFolder,
        habits: SentHabits,
        reporter: Reporter,
        topology: Topology,
        clock: Clock,
        observer: Observer,
        publish: Publish,
        sign_in: ImapSignIn,
        copies: Copies,
    ) -> None:
        self._policy = policy
        self._copies = copies
        self._ledger = ledger
        self._recorder = recorder
        self._sent_folder = sent_folder
        self._habits = habits
        self._reporter = reporter
        self._topology = topology
        self._clock = clock
        self._observer = observer
        self._publish = publish
        self._sign_in = sign_in

    async def arise(self, item: LetterCase, positions: tuple[int, ...], hand_over: HandOver) -> list[Publication]:
        """A letter was handed over just now and no answer came."""
        if self._policy is UncertainPolicy.HOLD:
            return await self._hold(item, positions, hand_over)
        await self._recorder.let_go(item.case, positions)
        told = self._tell(item, positions, hand_over)
        return [*told, self._later(item, positions)]

    async def settle(self, item: LetterCase, doubts: Mapping[int, InDoubt], *, is_last: bool) -> Settled:
        """Settle what earlier attempts left in doubt; `is_last`: it is not to be sent again, whatever is found."""
        settled = Settled()
        for claim, positions in _by_hand_over(doubts).items():
            hand_over = claim.hand_over
            if self._policy is UncertainPolicy.HOLD:
                settled.publications += await self._hold(item, positions, hand_over)
                continue
            # Told before the ledger's word of the doubt can change: a crash after that would hide it for ever.
            for told in self._tell(item, positions, hand_over):
                await self._publish(told)
            found = await self._look(item, positions, hand_over)
            if found is True:
                settled.publications += await self._found(item, positions, hand_over)
            elif is_last:
                settled.publications += await self._hold(item, positions, hand_over)
            elif found is False:
                log.warning("mail.sent_again", attempt=hand_over.attempt)
                settled.send_again.append(positions)
            else:
                await self._recorder.let_go(item.case, positions)
                settled.publications.append(self._later(item, positions))
        return settled

    def held_again(self, item: LetterCase, positions: tuple[int, ...], attempt: int) -> Publication:
        """The message for an operator about held letters: a crash may have come between their record and it."""
        return self._buried(item, positions, attempt)

    def _tell(self, item: LetterCase, positions: tuple[int, ...], hand_over: HandOver) -> list[Publication]:
        self._count(item, positions, self._policy)
        event = self._reporter.uncertain(item.case, positions, hand_over, self._policy, self._clock.now())
        return [self._reporter.publication(event)]

    def _count(self, item: LetterCase, positions: tuple[int, ...], policy: UncertainPolicy) -> None:
        self._observer.ended(item.case, Outcome.UNCERTAIN, UNCERTAIN, len(positions))
        item.log("mail.uncertain", positions, policy=policy.value)

    async def _hold(self, item: LetterCase, positions: tuple[int, ...], hand_over: HandOver) -> list[Publication]:
        """Nothing more is done by itself: an operator decides, with the message in the dead queue."""
        self._count(item, positions, UncertainPolicy.HOLD)
        event = self._reporter.uncertain(
            item.case, positions, hand_over, UncertainPolicy.HOLD, self._clock.now(), "held: an operator decides"
        )
        self._observer.lost(len(positions))
        published = await self._recorder.record(item.case, [Final(positions, Outcome.UNCERTAIN, to_message(event))])
        return [*published, self._buried(item, positions, hand_over.attempt)]

    def _buried(self, item: LetterCase, positions: tuple[int, ...], attempt: int) -> Publication:
        """`attempt`: the one that is in doubt. A replay names it, so that it cannot mean a doubt that arises later."""
        reason = Reason.OUTCOME_UNKNOWN
        self._observer.buried(reason)
        work = item.work(positions, attempts=attempt, reason=reason.value)
        why = requeueing.Death(reason, "the letter was handed over and no answer came", self._clock.now())
        return requeueing.dead(item.case.arrival, self._topology, why, work.headers())

    async def _look(self, item: LetterCase, positions: Sequence[int], hand_over: HandOver) -> bool | Trouble:
        """Whether the provider's own copy in Sent shows that it was accepted; False where it could not show it."""
        sender = item.case.resolution.sender
        mailbox = sender.mailbox if sender else None
        if self._policy is UncertainPolicy.RESEND or mailbox is None or mailbox.id != hand_over.mailbox_id:
            return False
        target = copy_target(item.case.event.data.account_id, mailbox)
        if target is None or not await self._saves(target.account_id, mailbox):
            return False
        caller = Caller(mailbox, item.case.directory.version, target)
        if await self._sign_in.obstacle(caller) is not None:
            return False  # one more wrong password may lock the account
        found = await self._sent_folder.find(target, hand_over.message_id)
        if found is True:
            return not await self._may_be_of_others(item, positions, hand_over)
        if found is not False and await self._sign_in.refused(caller, found) is None and found.fault is _REVOKED:
            return found  # the mailbox has another token by now: it is looked for again, with that
        # What passes is waited for; a mailbox without a Sent folder, or that refuses the sign-in, shows nothing ever.
        return found if found is False or found.fault in _PASSING else False

    async def _may_be_of_others(self, item: LetterCase, positions: Sequence[int], hand_over: HandOver) -> bool:
        """Whether another transaction can have put the letter into Sent.

        A common letter has one Message-ID, and those who were not accepted the first time get it later than others. Of
        a recipient without an entry nobody knows whether the letter was handed over: they may be put off after it was.
        """
        known = await self._ledger.hand_overs(item.case.event.key)
        if not set(item.letter.named) <= {*positions, *known}:
            return True
        return any(o and o.message_id == hand_over.message_id and o != hand_over for o in known.values())

    async def _saves(self, account_id: str, mailbox: Mailbox) -> bool:
        known = provider_of(mailbox.smtp.host).saves_to_sent
        return bool(known if known is not None else await self._habits.saves(sent_place(account_id, mailbox)))

    async def _found(self, item: LetterCase, positions: tuple[int, ...], hand_over: HandOver) -> list[Publication]:
        now = self._clock.now()
        facts = Facts(
            positions, message_id=hand_over.message_id, detail="no answer came, but the letter is in the Sent folder"
        )
        self._observer.delivered(item.case, len(positions), now)
        item.log("mail.sent", positions, is_found_in_sent=True)
        message = self._reporter.sent(item.case, facts, now)
        published = await self._recorder.record(item.case, [Final(positions, Outcome.SENT, message)])
        mailbox = item.case.sender.mailbox
        if mailbox is None:
            return published
        return [*published, self._copies.after_finding(item.case, mailbox, hand_over.message_id, positions)]

    def _later(self, item: LetterCase, positions: Sequence[int]) -> Publication:
        work = item.work(positions, attempts=item.case.attempt, reason=Reason.OUTCOME_UNKNOWN.value)
        return requeueing.later(item.case.arrival, work.headers(), self._topology, retry_level_s(item.case.attempt))


def _by_hand_over(doubts: Mapping[int, InDoubt]) -> dict[InDoubt, tuple[int, ...]]:
    groups: dict[InDoubt, tuple[int, ...]] = {}
    for position, claim in doubts.items():
        groups[claim] = (*groups.get(claim, ()), position)
    return groups
