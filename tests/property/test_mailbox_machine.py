"""Workers that enter, die, suspend and resume as they like: never more connections than allowed, nor letters."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.ledger_worlds import LEASE_S, AnyLedger, World, database_world, memory_world, sqlite_url
from worker.delivery.mailboxes.rules import CAP_STEP
from worker.delivery.mailboxes.state import (
    Entered,
    Full,
    MailboxKey,
    MailboxLimits,
    OutboxMessage,
    Outdated,
    Revision,
    Shut,
    Suspension,
)
from worker.domain.identity import result_id
from worker.domain.vocabulary import Reason

T = TypeVar("T")

KEYS = (MailboxKey("acme", "mb"), MailboxKey("globex", "mb"))
OWNERS = (0, 1, 2)
LIMITS = MailboxLimits(3, per_minute=7)

keys = st.sampled_from(KEYS)
owners = st.sampled_from(OWNERS)


class MailboxMachine(RuleBasedStateMachine):
    """Keeps its own books of who has how many connections, what is suspended, and what was let through when."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.held: Counter[tuple[int, MailboxKey]] = Counter()
        self.alive_until: dict[int, float] = {}
        self.suspended: dict[MailboxKey, Suspension] = {}
        self.permits: list[tuple[MailboxKey, datetime]] = []
        self.versions = dict.fromkeys(KEYS, 1)
        self.caps: dict[MailboxKey, tuple[int, float]] = {}
        self.entered_with: dict[tuple[int, MailboxKey], int] = {}

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
        """A call of an owner: what it had when it was taken for dead it may have lost, and must ask for anew."""
        if not self.is_alive(owner):
            for key in KEYS:
                self.held[owner, key] = 0
                self.run(self.ledgers[owner].mailboxes.keep(key, 0))
        self.alive_until[owner] = self.world.clock.monotonic() + LEASE_S

    def revision(self, key: MailboxKey) -> Revision:
        return Revision(f"{self.versions[key]:032x}", self.versions[key])

    @rule(owner=owners, key=keys)
    def enter(self, owner: int, key: MailboxKey) -> None:
        self.renew(owner)
        wanted = self.held[owner, key] + 1
        entry = self.run(self.ledgers[owner].mailboxes.enter(key, self.revision(key), LIMITS, wanted))
        if key in self.suspended:
            assert entry == Shut(self.suspended[key])
        elif isinstance(entry, Entered):
            self.held[owner, key] = entry.connections
            self.entered_with[owner, key] = self.versions[key]
            assert entry.connections == wanted
            assert not entry.is_probe or self.total(key) == 1
            assert self.total(key) <= self.cap(key)
        else:
            assert isinstance(entry, Full)

    def cap(self, key: MailboxKey) -> float:
        """How many connections the server lets the mailbox have, as far as it has said so."""
        connections, since_s = self.caps.get(key, (LIMITS.connections, 0.0))
        return connections + (self.world.clock.monotonic() - since_s) // CAP_STEP.total_seconds()

    @rule(owner=owners, key=keys)
    def too_many(self, owner: int, key: MailboxKey) -> None:
        """The server refuses a connection. The rest is over at once: what is looked at is what follows it.

        Only one that was let in can be refused, and what is said of former settings is forgotten with them.
        """
        self.renew(owner)
        if not self.held[owner, key] or self.entered_with.get((owner, key)) != self.versions[key]:
            return
        at = self.world.clock.now()
        connections = self.run(self.ledgers[owner].mailboxes.rest(key, at, Reason.TOO_MANY_CONNECTIONS))
        assert connections is not None
        assert 1 <= connections <= max(self.total(key) - 1, 1)
        assert connections <= max(self.cap(key) - 1, 1)
        self.caps[key] = connections, self.world.clock.monotonic()

    def total(self, key: MailboxKey) -> int:
        return sum(self.held[owner, key] for owner in OWNERS if self.is_alive(owner))

    @rule(owner=owners, key=keys)
    def enter_with_older_settings(self, owner: int, key: MailboxKey) -> None:
        self.renew(owner)
        if self.versions[key] > 1:
            older = Revision("f" * 32, self.versions[key] - 1)
            entry = self.run(self.ledgers[owner].mailboxes.enter(key, older, LIMITS, self.held[owner, key]))
            assert not isinstance(entry, Full)
            assert not (key in self.suspended and not isinstance(entry, Shut))
            if isinstance(entry, Entered):  # nobody has used the newer ones yet
                self.versions[key] += 1
                self.caps.pop(key, None)
            else:
                assert isinstance(entry, Outdated | Shut)

    @rule(owner=owners, key=keys)
    def give_back(self, owner: int, key: MailboxKey) -> None:
        self.renew(owner)
        self.held[owner, key] = max(self.held[owner, key] - 1, 0)
        self.run(self.ledgers[owner].mailboxes.keep(key, self.held[owner, key]))

    @rule(owner=owners, key=keys)
    def prove(self, owner: int, key: MailboxKey) -> None:
        self.renew(owner)
        self.run(self.ledgers[owner].mailboxes.prove(key, self.revision(key)))

    @rule(owner=owners, key=keys)
    def permit(self, owner: int, key: MailboxKey) -> None:
        self.renew(owner)
        obstacle = self.run(self.ledgers[owner].mailboxes.permit(key, LIMITS, 1))
        if obstacle is None:
            assert key not in self.suspended
            self.permits.append((key, self.world.clock.now()))

    @rule(racers=st.permutations(OWNERS), key=keys)
    def suspend(self, racers: list[int], key: MailboxKey) -> None:
        """All find out at the same moment, and one suspension is in force."""
        for racer in racers:
            self.renew(racer)
        since = self.world.clock.now()
        made = [
            Suspension(key, self.revision(key), Reason.AUTH_FAILED, since, detail=f"owner {racer}") for racer in racers
        ]

        async def all_at_once() -> list[Suspension | None]:
            return await asyncio.gather(
                *(
                    self.ledgers[racer].mailboxes.suspend(each, _told(each))
                    for racer, each in zip(racers, made, strict=True)
                )
            )

        answers = set(self.run(all_at_once()))
        assert len(answers) == 1
        [in_force] = answers
        if in_force is None:  # settings that somebody used are newer
            assert key not in self.suspended
            return
        assert self.suspended.setdefault(key, in_force) == in_force

    @rule(racers=st.permutations(OWNERS), key=keys, is_changed=st.booleans())
    def resume(self, racers: list[int], key: MailboxKey, is_changed: bool) -> None:
        for racer in racers:
            self.renew(racer)
        suspension = self.suspended.pop(key, None)
        if suspension is None:
            return

        async def all_at_once() -> list[bool]:
            return await asyncio.gather(
                *(self.ledgers[racer].mailboxes.resume(suspension, _told(suspension)) for racer in racers)
            )

        assert sorted(self.run(all_at_once())) == [False, False, True]
        if is_changed:
            self.versions[key] += 2
            self.caps.pop(key, None)  # with the settings goes what was known of them

    @rule(owner=owners)
    def look(self, owner: int) -> None:
        self.renew(owner)
        news = self.run(self.ledgers[owner].mailboxes.look())
        assert {key: each.connections for key, each in news.held.items()} == {
            key: self.held[owner, key] for key in KEYS if self.held[owner, key]
        }

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0, LEASE_S, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @invariant()
    def nothing_is_exceeded(self) -> None:
        if not hasattr(self, "ledgers"):
            return
        for key in KEYS:
            assert self.total(key) <= LIMITS.connections
            times = [at for each, at in self.permits if each == key]
            for begin in times[-20:]:
                within = [at for at in times if begin <= at < begin + timedelta(seconds=60)]
                assert len(within) <= (LIMITS.per_minute or 0)
        known = self.run(self.ledgers[0].mailboxes.suspended())
        assert {suspension.key: suspension for suspension in known} == self.suspended


def _told(suspension: Suspension) -> OutboxMessage:
    stage = f"{suspension.since.isoformat()}/{suspension.detail}"
    return OutboxMessage(result_id(suspension.key.account_id, (), stage), b"{}")


def run_machine(make_world: Callable[[], World], examples: int, steps: int) -> None:
    class Machine(MailboxMachine):
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


async def test_workers_that_share_mailboxes_in_memory_exceed_nothing() -> None:
    await asyncio.to_thread(run_machine, memory_world, 80, 40)


async def test_workers_that_share_mailboxes_in_sqlite_exceed_nothing() -> None:
    with tempfile.TemporaryDirectory() as directory:
        numbers = iter(range(10**6))

        def new_world() -> World:
            home = Path(directory) / str(next(numbers))
            home.mkdir()
            return database_world(sqlite_url(home))

        await asyncio.to_thread(run_machine, new_world, 10, 25)
