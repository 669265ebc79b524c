"""Servers of every mood, crashes at any await, redeliveries and duplicates: nobody is forgotten, nobody gets it twice
unseen, and everything final is published."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import (
    BUSY,
    GREYLISTED,
    IMAP,
    TOO_FAST,
    UNKNOWN_RECIPIENT,
    UNREACHABLE,
    WRONG_PASSWORD,
    DeliveryWorld,
)
from tests.doubles.broker import redelivered
from tests.doubles.mail_transport import OK, Delivered
from worker.delivery.messages import Arrival, Publication
from worker.delivery.ports import BeforeFinalDot, Route
from worker.domain.envelope import MailboxResumedEvent, MailboxSuspendedEvent, MailUncertainEvent
from worker.domain.letters import ComposedLetter
from worker.domain.results import MailboxResumed, MailboxSuspended, MailFailed, MailSent, MailUncertain
from worker.domain.transmission import Fault, Transmission, Trouble
from worker.domain.vocabulary import Outcome, Phase, UncertainPolicy
from worker.errors import Unavailable

LOST = Trouble(Phase.DATA, Fault.DISCONNECTED)
TROUBLES = (BUSY, GREYLISTED, TOO_FAST, UNKNOWN_RECIPIENT, UNREACHABLE)


@dataclass(frozen=True)
class Mood:
    """How much goes wrong, as chances."""

    refuses: float
    loses_answers: float
    crashes: float
    ledger_fails: float
    duplicates: float


class MoodyTransport:
    """A mail server that does anything it may; `delivered` is what it really accepted."""

    def __init__(self, chance: random.Random, mood: Mood) -> None:
        self.delivered: list[Delivered] = []
        self._chance = chance
        self._mood = mood
        self.is_calm = False
        self.wrong_passwords = 0

    def _is(self, probability: float) -> bool:
        return not self.is_calm and self._chance.random() < probability

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        await self._moments()
        if self._is(self._mood.refuses / 2):
            trouble = self._chance.choice((UNREACHABLE, TOO_FAST, WRONG_PASSWORD))
            self.wrong_passwords += trouble is WRONG_PASSWORD
            return Transmission(refused=dict.fromkeys(letter.envelope_to, trouble))
        refused = {r: self._chance.choice(TROUBLES) for r in letter.envelope_to if self._is(self._mood.refuses)}
        taken = [recipient for recipient in letter.envelope_to if recipient not in refused]
        if not taken:
            return Transmission(refused=refused)
        await self._moments()
        await before_final_dot()
        if self._is(self._mood.refuses):
            return Transmission(refused={**refused, **dict.fromkeys(taken, BUSY)})
        is_answer_lost = self._is(self._mood.loses_answers)
        if not (is_answer_lost and self._is(0.5)):
            self.delivered.append(Delivered(route, letter, tuple(taken)))
        with suppress(asyncio.CancelledError):  # after the dot the answer is still waited for
            await self._moments()
        if is_answer_lost:
            return Transmission(refused=refused, uncertain=dict.fromkeys(taken, LOST))
        return Transmission(accepted=dict.fromkeys(taken, OK), refused=refused)

    async def _moments(self) -> None:
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None:
        """Nothing to close."""

    async def close(self) -> None:
        """Nothing to close."""


class Life:
    """A worker that lives through all that until everything has come to its end."""

    def __init__(self, seed: int, mood: Mood, policy: UncertainPolicy, recipients: int, is_common: bool) -> None:
        self._chance = random.Random(seed)
        self._mood = mood
        account = an_account(
            mailboxes=[a_mailbox(sent_copy={"imap": IMAP})], settings={"name_all_recipients": is_common}
        )
        self.world = DeliveryWorld([account], policy=policy)
        self.transport = MoodyTransport(self._chance, mood)
        self.world.transport = self.transport  # type: ignore[assignment]
        self.world._start()
        self.addresses = [f"client{n}@example.net" for n in range(recipients)]
        self.event = a_comment_event(recipients=[a_recipient(address) for address in self.addresses])
        self._version = 2000

    async def live(self) -> None:
        """Everything goes wrong for a while, then nothing any more, so that it comes to an end."""
        self.world.publish(self.event)
        for _ in range(25):
            if not await self._round():
                break
            if self._chance.random() < 0.2:
                self._mend_mailbox()
        self.transport.is_calm = True
        self.world.ledger.failures.clear()
        self._mend_mailbox()
        for _ in range(2_000):
            if not await self._round(is_calm=True):
                return await self._look_around()
        raise AssertionError("it never comes to an end")

    async def _look_around(self) -> None:
        """What somebody who died has left to be told is told by now, and nothing stays suspended."""
        for _ in range(2):
            self.world.clock.step(31)
            await self.world.delivery.keeper.look()
        assert (await self.world.ledger.mailboxes.look()).overdue == []
        assert await self.world.ledger.mailboxes.suspended() == []

    def _mend_mailbox(self) -> None:
        self._version += 1
        [account] = self.world.snapshot.directory.accounts.values()
        [mailbox] = account.mailboxes
        mended = mailbox.model_copy(update={"display_name": f"ACME {self._version}"})
        self.world.serve(account.model_copy(update={"mailboxes": (mended,)}), version=self._version)

    async def _round(self, *, is_calm: bool = False) -> bool:
        """Deal with all messages that are ready, at the same time."""
        self.world.clock.step(0.001)
        broker = self.world.broker
        arrivals = broker.take_ready()
        if not arrivals:
            return broker.wake_next()
        if not is_calm and self._chance.random() < self._mood.duplicates:
            arrivals.append(redelivered(self._chance.choice(arrivals)))
        if self._chance.random() < 0.3:
            await self.world.delivery.keeper.look()
        if not is_calm and self._chance.random() < self._mood.ledger_fails:
            method = self._chance.choice(("claim", "hand_over", "record", "release", "let_go", "suspend"))
            self.world.ledger.failures[method] = self._chance.randrange(1, 3)
            self.world.ledger.commits_anyway = {"hand_over"} if self._chance.random() < 0.5 else set()
        tasks = {asyncio.create_task(self._deal_with(arrival)): arrival for arrival in arrivals}
        if not is_calm and self._chance.random() < self._mood.crashes:
            await self._crash(tasks)
        else:
            await asyncio.gather(*tasks)
        return True

    async def _deal_with(self, arrival: Arrival) -> None:
        try:
            publications = await self._handler(arrival)
        except Unavailable:
            self.world.broker.put(redelivered(arrival))
            return
        self._publish(arrival, publications)

    async def _handler(self, arrival: Arrival) -> list[Publication]:
        delivery = self.world.delivery
        handler = delivery.copies.handle if arrival.queue.endswith("sent-copy") else delivery.pipeline.handle
        return list(await handler(arrival))

    def _publish(self, arrival: Arrival, publications: list[Publication]) -> None:
        """Sometimes only some are confirmed before a crash, and the message comes again."""
        if not self.transport.is_calm and self._chance.random() < self._mood.crashes:
            self._chance.shuffle(publications)
            self.world.broker.publish(publications[: self._chance.randrange(len(publications) + 1)])
            self.world.broker.put(redelivered(arrival))
        else:
            self.world.broker.publish(publications)

    async def _crash(self, tasks: dict["asyncio.Task[None]", Arrival]) -> None:
        for _ in range(self._chance.randrange(12)):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task, arrival in tasks.items():
            if task.cancelled():
                self.world.broker.put(redelivered(arrival))
        if self._chance.random() < 0.5:
            await self.world.restart()

    def check(self) -> None:
        """What has to hold in the end, whatever happened."""
        results = self.world.broker.results
        self._check_ends()
        accepted = Counter(recipient for one in self.transport.delivered for recipient in one.recipients)
        uncertain = self._uncertain()
        for address, times in accepted.items():
            assert times <= 1 + uncertain[address], f"{address} got it {times} times"
        by_id: dict[str, set[bytes]] = {}
        for result in results:
            if isinstance(result.data, MailSent | MailFailed | MailboxSuspended | MailboxResumed):
                by_id.setdefault(result.id, set()).add(result.to_json())
        assert all(len(words) == 1 for words in by_id.values()), "one id, two results"
        assert len({one.letter.message_id for one in self.transport.delivered}) <= len(self.addresses)
        assert self.world.broker.dropped == []
        self._check_suspensions()

    def _check_suspensions(self) -> None:
        """Each was told of, and each ended."""
        suspended = {result.id for result in self.world.results(MailboxSuspendedEvent)}
        resumed = {result.id for result in self.world.results(MailboxResumedEvent)}
        assert len(suspended) == len(resumed)
        assert len(suspended) <= self.transport.wrong_passwords

    def _check_ends(self) -> None:
        ends: dict[str, set[str]] = {address: set() for address in self.addresses}
        for result in self.world.broker.results:
            if isinstance(result.data, MailSent | MailFailed):
                for recipient in result.data.recipients:
                    ends[recipient.address].add(recipient.outcome)
            elif isinstance(result.data, MailUncertain) and result.data.resolution_policy is UncertainPolicy.HOLD:
                for recipient in result.data.recipients:
                    ends[recipient.address].add("held")
        for address, known in ends.items():
            assert len(known) == 1, f"{address} ended as {known or 'nothing'}"
        assert all(dead.headers["sendas-dead-reason"] == "outcome_unknown" for dead in self.world.broker.dead)
        is_held = any("held" in known for known in ends.values())
        assert is_held == bool(self.world.broker.dead)
        accepted = {recipient for one in self.transport.delivered for recipient in one.recipients}
        assert all(Outcome.SENT not in known or address in accepted for address, known in ends.items())

    def _uncertain(self) -> Counter[str]:
        """How often each recipient was told to be in doubt; a repeat with the same id counts once."""
        told = {result.id: result for result in self.world.results(MailUncertainEvent)}
        return Counter(recipient.address for result in told.values() for recipient in result.data.recipients)


chances = st.sampled_from((0.0, 0.1, 0.4))
moods = st.builds(Mood, chances, chances, chances, chances, chances)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 2**32), moods, st.sampled_from(UncertainPolicy), st.integers(1, 12), st.booleans())
def test_whatever_happens_everybody_comes_to_one_published_end(
    seed: int, mood: Mood, policy: UncertainPolicy, recipients: int, is_common: bool
) -> None:
    logging = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # thousands of lines otherwise

    async def live() -> None:
        life = Life(seed, mood, policy, recipients, is_common)
        await life.live()
        life.check()

    # A loop of its own: hypothesis is synchronous, and the session's loop is at rest here.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(live())
    finally:
        loop.close()
        structlog.configure(**logging)
