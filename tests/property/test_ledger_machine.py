"""Owners that race, crash, sleep and come back: no letter is handed over twice unseen, and none is lost."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.ledger_worlds import LEASE_S, RETENTION_S, AnyLedger, World, database_world, memory_world, sqlite_url
from worker.delivery.ledger import Claim, Done, Granted, HandOver, Held, Record, Uncertain
from worker.domain.identity import event_key, result_id
from worker.domain.recipient_limit import KEPT_SLOTS, recipient_limit, slot_of
from worker.domain.vocabulary import Outcome
from worker.errors import LostClaim

T = TypeVar("T")

EVENT = event_key("/machine", "1")
RECIPIENTS = (0, 1, 2)
OWNERS = (0, 1, 2)
LETTERS_TO_ONE = 2

owners = st.sampled_from(OWNERS)
some = st.lists(st.sampled_from(RECIPIENTS), min_size=1, max_size=3, unique=True)


class LedgerMachine(RuleBasedStateMachine):
    """Believes of each entry only what the answers allow, and checks each answer against it.

    `possessor` is who was told last that the entry is theirs and has not given it back; `letters` what was handed
    over and not settled; `results` how it ended; `counted` the five minutes in which a letter was let through.
    """

    world: World

    def __init__(self) -> None:
        super().__init__()
        # A loop of its own: hypothesis is synchronous, and runs inside a test that has none.
        self.loop = asyncio.new_event_loop()
        self.possessor: dict[int, int] = {}
        self.letters: dict[int, HandOver] = {}
        self.results: dict[int, Done] = {}
        self.consents: dict[int, int] = {}
        self.counted: dict[int, int] = {}
        self.alive_until: dict[int, float] = {}
        self.attempts = 0

    def make_world(self) -> World:
        raise NotImplementedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.world = self.make_world()
        self.ledgers: list[AnyLedger] = [self.run(self.world.owner(f"owner {number}")) for number in OWNERS]

    def teardown(self) -> None:
        self.run(self.world.end())
        self.loop.close()

    def is_alive(self, owner: int) -> bool:
        return self.alive_until.get(owner, -1.0) > self.world.clock.monotonic()

    def renew(self, owner: int) -> None:
        self.alive_until[owner] = self.world.clock.monotonic() + LEASE_S

    @rule(owner=owners, recipients=some)
    def claim(self, owner: int, recipients: list[int]) -> None:
        self.renew(owner)
        claims = self.run(self.ledgers[owner].claim(EVENT, "acme", recipients))
        assert set(claims) == set(recipients)
        for recipient, claim in claims.items():
            self.check_claim(owner, recipient, claim)

    @rule(owner=owners, recipients=some)
    def claim_what_counts(self, owner: int, recipients: list[int]) -> None:
        """All recipients have one address, and it gets two letters in ten minutes."""
        self.renew(owner)
        now = self.world.clock.now()
        limit = recipient_limit(LETTERS_TO_ONE, "acme", now, dict.fromkeys(recipients, "robot@example.net"))
        claims = self.run(self.ledgers[owner].claim(EVENT, "acme", recipients, limit))
        assert set(claims) == set(recipients)
        for recipient, claim in sorted(claims.items()):
            self.check_claim(owner, recipient, Granted() if isinstance(claim, Granted) else claim)
            if isinstance(claim, Granted):
                assert claim.is_over_limit != self.may_leave(recipient, slot_of(now))

    def may_leave(self, recipient: int, slot: int) -> bool:
        self.counted = {each: at for each, at in self.counted.items() if at >= slot - KEPT_SLOTS}
        if recipient not in self.counted:
            if sum(at >= slot - 1 for at in self.counted.values()) >= LETTERS_TO_ONE:
                return False
            self.counted[recipient] = slot
        return True

    @rule(owner=owners, recipients=some, turns=st.integers(0, 6))
    def claim_and_be_cancelled(self, owner: int, recipients: list[int], turns: int) -> None:
        """A claim that reaches nobody blocks nobody, and takes nothing from who lives."""
        # What is the owner's own already may be let go or not, and so may what a dead one could come back for.
        wanted = [
            each
            for each in recipients
            if each in self.results
            or each not in self.possessor
            or (self.possessor[each] != owner and self.is_alive(self.possessor[each]))
        ]
        if not wanted:
            return
        self.renew(owner)

        async def claim_and_give_up() -> dict[int, Claim] | None:
            task = asyncio.create_task(self.ledgers[owner].claim(EVENT, "acme", wanted))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                return await task
            except asyncio.CancelledError:
                await self.ledgers[owner].keep_alive()  # with it goes what has to be let go
                return None

        for recipient, claim in (self.run(claim_and_give_up()) or {}).items():
            self.check_claim(owner, recipient, claim)

    @rule(recipients=some, racers=st.permutations(OWNERS))
    def race(self, recipients: list[int], racers: list[int]) -> None:
        """All claim at the same moment: at most one gets each entry."""
        for racer in racers:
            self.renew(racer)

        async def claim_all() -> list[dict[int, Claim]]:
            return await asyncio.gather(*(self.ledgers[racer].claim(EVENT, "acme", recipients) for racer in racers))

        answers = self.run(claim_all())
        for recipient in recipients:
            verdicts = [claims[recipient] for claims in answers]
            takers = [
                racer for racer, claim in zip(racers, verdicts, strict=True) if isinstance(claim, Granted | Uncertain)
            ]
            assert len(takers) <= 1
            if recipient in self.results:
                assert verdicts == [self.results[recipient]] * len(racers)
            if recipient in self.letters:
                assert Granted() not in verdicts
            for taker in takers:
                self.possessor[recipient] = taker

    def check_claim(self, owner: int, recipient: int, claim: Claim) -> None:
        if recipient in self.results:
            assert claim == self.results[recipient]
            return
        possessor = self.possessor.get(recipient)
        if possessor is not None and possessor != owner and self.is_alive(possessor):
            assert claim == Held(f"owner {possessor}")
            return
        letter = self.letters.get(recipient)
        assert claim == (Granted() if letter is None else Uncertain(letter))
        self.possessor[recipient] = owner

    @rule(owner=owners, recipients=some)
    def hand_over(self, owner: int, recipients: list[int]) -> None:
        self.renew(owner)
        self.attempts += 1
        letter = HandOver("acme", None, f"<{self.attempts}@acme.example>", self.attempts, self.world.clock.now())
        is_ours = all(self.possessor.get(each) == owner and each not in self.results for each in recipients)
        try:
            self.run(self.ledgers[owner].hand_over(EVENT, recipients, letter))
        except LostClaim:
            assert not is_ours
        else:
            assert is_ours
            self.letters |= dict.fromkeys(recipients, letter)

    @rule(owner=owners, recipients=some, outcome=st.sampled_from([Outcome.SENT, Outcome.FAILED, Outcome.UNCERTAIN]))
    def record(self, owner: int, recipients: list[int], outcome: Outcome) -> None:
        self.renew(owner)
        record = Record(tuple(recipients), outcome, result_id(EVENT, recipients, outcome), outcome.encode())
        done = Done(record.outcome, record.result_id, record.result)
        is_ours = all(self.possessor.get(each) == owner for each in recipients)
        recorded = [self.results[each] for each in recipients if each in self.results]
        try:
            self.run(self.ledgers[owner].record(EVENT, [record]))
        except LostClaim:
            assert not is_ours or (recorded and recorded != [done] * len(recipients))
        else:
            assert is_ours
            assert not recorded or recorded == [done] * len(recipients)
            self.results |= dict.fromkeys(recipients, done)

    @rule(owner=owners, recipients=some, attempts_ago=st.sampled_from([0, 0, 1, 5]))
    def reopen(self, owner: int, recipients: list[int], attempts_ago: int) -> None:
        """An operator's decision about uncertain letters: whoever recorded them, and nothing else is changed by it."""
        self.renew(owner)
        up_to_attempt = max(self.attempts - attempts_ago, 0)
        self.run(self.ledgers[owner].consent(EVENT, recipients, up_to_attempt))
        self.run(self.ledgers[owner].reopen(EVENT, recipients))
        for recipient in recipients:
            allowed = self.consents[recipient] = max(self.consents.get(recipient, 0), up_to_attempt)
            letter, done = self.letters.get(recipient), self.results.get(recipient)
            is_uncertain = done is not None and done.outcome is Outcome.UNCERTAIN
            if is_uncertain and letter is not None and letter.attempt <= allowed:
                del self.results[recipient], self.letters[recipient]
                self.possessor.pop(recipient, None)

    @rule(owner=owners, recipients=some, keeps_doubt=st.booleans())
    def give_back(self, owner: int, recipients: list[int], keeps_doubt: bool) -> None:
        self.renew(owner)
        ledger = self.ledgers[owner]
        self.run((ledger.abandon if keeps_doubt else ledger.release)(EVENT, recipients))
        for recipient in recipients:
            if self.possessor.get(recipient) == owner and recipient not in self.results:
                del self.possessor[recipient]
                if not keeps_doubt:
                    self.letters.pop(recipient, None)

    @rule(owner=owners)
    def keep_alive(self, owner: int) -> None:
        self.renew(owner)
        self.run(self.ledgers[owner].keep_alive())

    @rule(owner=owners)
    def crash_and_start_again(self, owner: int) -> None:
        """The old one says nothing; its claims stay with a name that nobody in the machine has any more."""
        for recipient, possessor in list(self.possessor.items()):
            if possessor == owner and recipient not in self.results:
                # Until its lease ends it holds them; waiting that long keeps the machine's books short.
                self.world.clock.advance(LEASE_S)
                del self.possessor[recipient]
        self.alive_until.pop(owner, None)
        for recipient, possessor in list(self.possessor.items()):
            if possessor == owner:
                self.possessor[recipient] = -1  # done by one that is gone
        self.ledgers[owner] = self.run(self.world.owner(f"owner {owner}"))

    @rule(seconds=st.sampled_from([1.0, LEASE_S / 3, LEASE_S - 1, LEASE_S, 3 * LEASE_S]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule(owner=owners)
    def expire(self, owner: int) -> None:
        """Within the retention nothing is forgotten (the machine's whole life is shorter than that)."""
        if self.world.clock.monotonic() < RETENTION_S:
            self.renew(owner)
            assert self.run(self.ledgers[owner].expire()) == 0

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "ledgers"):
            return
        entries = {entry.recipient: entry for entry in self.run(self.ledgers[0].entries(EVENT))}
        for recipient, done in self.results.items():
            assert entries[recipient].result_id == done.result_id
        for recipient, letter in self.letters.items():
            assert entries[recipient].hand_over == letter
        known = self.run(self.ledgers[0].hand_overs(EVENT))
        assert known.keys() == entries.keys()
        assert {recipient: letter for recipient, letter in known.items() if letter} == self.letters


def run_machine(make_world: Callable[[], World], examples: int, steps: int) -> None:
    class Machine(LedgerMachine):
        def make_world(self) -> World:
            return make_world()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


async def test_owners_of_a_ledger_in_memory_keep_its_promises() -> None:
    """Thousands of histories of three owners."""
    await asyncio.to_thread(run_machine, memory_world, 150, 40)


async def test_owners_of_a_ledger_in_sqlite_keep_its_promises() -> None:
    """The same histories, with transactions."""
    with tempfile.TemporaryDirectory() as directory:
        numbers = iter(range(10**6))

        def new_world() -> World:
            home = Path(directory) / str(next(numbers))
            home.mkdir()
            return database_world(sqlite_url(home))

        await asyncio.to_thread(run_machine, new_world, 20, 25)
