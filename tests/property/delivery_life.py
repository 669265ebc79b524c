"""Workers that live through everything that may happen, until all has come to its end."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import IMAP, TOPOLOGY, DeliveryWorld, FlakyLedger
from tests.doubles.broker import redelivered
from tests.doubles.dead_queue import KeptMessage
from tests.doubles.moody_server import Mood, MoodyServer, MoodyTransport
from tests.property.delivery_verdict import Verdict, waiting_in
from worker.delivery.messages import Arrival, Handler, Publication
from worker.delivery.wiring import Delivery
from worker.domain.vocabulary import UncertainPolicy
from worker.errors import Unavailable
from worker.operations.dead_letters.letter import read_dead_letter
from worker.operations.dead_letters.replay_rules import ReplayRules, refusal, replayed

_CONSENT = ReplayRules(resend_uncertain=True, force_loop=True)
_LEASE_S = 60.0
_TURNS = 300
"""Turns of the event loop after which a task that has not ended stands at a closed gate."""


@dataclass(eq=False)
class _Worker:
    """A process. `stuck` are its tasks while it stands still, with messages that are the broker's again."""

    ledger: FlakyLedger
    delivery: Delivery
    gate: asyncio.Event
    stuck: list["asyncio.Task[None]"] = field(default_factory=list)


class Life:
    """Two workers, one server, one event."""

    def __init__(
        self, seed: int, mood: Mood, policy: UncertainPolicy, recipients: int, *, is_common: bool, provider_saves: bool
    ) -> None:
        self._chance = random.Random(seed)
        self._mood = mood
        smtp = {"smtp": {"host": "smtp.gmail.com"}} if provider_saves else {}
        account = an_account(
            mailboxes=[a_mailbox(sent_copy={"imap": IMAP}, **smtp)], settings={"name_all_recipients": is_common}
        )
        self.world = DeliveryWorld([account], policy=policy)
        self.server = MoodyServer(self._chance, mood, self.world.clock, saves=provider_saves)
        self.world.sent_folder = self.server.folder
        self._names = iter(range(10**6))
        self._workers = [self._a_worker(), self._a_worker()]
        self._killed: list[_Worker] = []
        self._given_back: dict[int, Arrival] = {}  # by identity, and kept so that none is used twice
        self._consents: Counter[str] = Counter()
        self._was_frozen = False
        self.addresses = [f"client{n}@example.net" for n in range(recipients)]
        self.event = a_comment_event(recipients=[a_recipient(address) for address in self.addresses])
        self._version = 2000

    def _a_worker(self) -> _Worker:
        gate = asyncio.Event()
        gate.set()
        ledger = self.world.another_ledger(f"worker {next(self._names)}")
        self.world.transport = MoodyTransport(self.server, gate)  # type: ignore[assignment]  # another double
        return _Worker(ledger, self.world.another_worker(ledger), gate)

    async def live(self) -> None:
        """Everything goes wrong for a while, then nothing any more; then an operator replays what is held."""
        try:
            self.world.publish(self.event)
            await self._go_through_a_bad_time()
            await self._come_to_an_end()
            self._judge()
            self._replay()
            await self._go_through_a_bad_time()
            await self._come_to_an_end()
            self._judge()
        finally:
            await self._bury()

    async def _bury(self) -> None:
        """The tasks of those who were killed end too, so that nothing of them is left in the loop."""
        for worker in (*self._killed, *self._workers):
            for task in worker.stuck:
                task.cancel()
            worker.gate.set()
            await asyncio.gather(*worker.stuck, return_exceptions=True)
            await self._turns(_TURNS)  # what they left to itself, such as a shielded word to the ledger

    async def _go_through_a_bad_time(self) -> None:
        self.server.is_calm = False
        for _ in range(25):
            if not await self._round():
                break
            if self._chance.random() < 0.2:
                self._change_account()
            if self._chance.random() < 0.3:
                self.server.save_late()

    async def _come_to_an_end(self) -> None:
        self.server.is_calm = True
        self.server.save_late()
        self._change_account()
        for worker in self._workers:
            worker.ledger.failures.clear()
            await self._thaw(worker)
        for _ in range(2_000):
            if not await self._round():
                return await self._look_around()
        raise AssertionError("it never comes to an end")

    async def _look_around(self) -> None:
        """What somebody who died has left to be told is told by now, and nothing stays suspended."""
        for _ in range(2):
            self.world.clock.step(31)
            for worker in self._workers:
                await worker.delivery.sync.poll()
        mailboxes = self._workers[0].ledger.mailboxes
        assert (await mailboxes.look()).overdue == []
        assert await mailboxes.suspended() == []

    def _change_account(self) -> None:
        """Suspended mailboxes are open again after that; sometimes the account wants the other kind of letters."""
        self._version += 1
        [account] = self.world.snapshot.directory.accounts.values()
        [mailbox] = account.mailboxes
        is_common = account.settings.name_all_recipients != self.server.is_moved(self._mood.switches)
        changed = account.model_copy(
            update={
                "mailboxes": (mailbox.model_copy(update={"display_name": f"ACME {self._version}"}),),
                "settings": account.settings.model_copy(update={"name_all_recipients": is_common}),
            }
        )
        self.world.serve(changed, version=self._version)

    async def _round(self) -> bool:
        """Deal with all messages that are ready, at the same time; False when there is nothing left to do."""
        self.world.clock.step(0.001)
        broker, moved = self.world.broker, self.server.is_moved
        awake = [worker for worker in self._workers if worker.gate.is_set()]
        for worker in awake:
            await worker.ledger.keep_alive()
            if self._chance.random() < 0.3:
                await worker.delivery.sync.poll()
        arrivals = broker.take_ready()
        if not arrivals:
            return broker.wake_next()
        if moved(self._mood.duplicates):
            arrivals.append(redelivered(self._chance.choice(arrivals)))
        if moved(self._mood.ledger_fails):
            self._have_ledger_fail(self._chance.choice(awake).ledger)
        tasks: dict[asyncio.Task[None], Arrival] = {}
        shares: dict[_Worker, list[asyncio.Task[None]]] = {worker: [] for worker in awake}
        for arrival in arrivals:
            worker = self._chance.choice(awake)
            task = asyncio.create_task(self._deal_with(worker, arrival))
            tasks[task] = arrival
            shares[worker].append(task)
        if moved(self._mood.freezes):
            await self._freeze_or_thaw(shares, tasks)
        elif moved(self._mood.crashes):
            await self._crash(self._chance.choice(awake), shares, tasks)
        await asyncio.gather(*(task for worker in shares if worker.gate.is_set() for task in shares[worker]))
        return True

    def _have_ledger_fail(self, ledger: FlakyLedger) -> None:
        method = self._chance.choice(("claim", "hand_over", "record", "release", "abandon", "suspend"))
        ledger.failures[method] = self._chance.randrange(1, 3)
        ledger.commits_anyway = {"hand_over"} if self._chance.random() < 0.5 else set()

    async def _deal_with(self, worker: _Worker, arrival: Arrival) -> None:
        delivery = worker.delivery
        handlers: dict[str, Handler] = {
            TOPOLOGY.outbound: delivery.pipeline.handle,
            TOPOLOGY.backlog: delivery.rescheduler.handle,
            TOPOLOGY.sent_copy: delivery.copies.handle,
        }
        handler = handlers[arrival.queue]
        try:
            publications = list(await handler(arrival))
        except Unavailable:
            if id(arrival) not in self._given_back:
                self.world.broker.put(redelivered(arrival))
            return
        self._publish(arrival, publications)

    def _publish(self, arrival: Arrival, publications: list[Publication]) -> None:
        """Sometimes only some are confirmed before a crash, and the message comes again."""
        if self.server.is_moved(self._mood.crashes):
            self._chance.shuffle(publications)
            self.world.broker.publish(publications[: self._chance.randrange(len(publications) + 1)])
            if id(arrival) not in self._given_back:
                self.world.broker.put(redelivered(arrival))
        else:
            self.world.broker.publish(publications)

    async def _freeze_or_thaw(
        self, shares: dict[_Worker, list["asyncio.Task[None]"]], tasks: dict["asyncio.Task[None]", Arrival]
    ) -> None:
        """A worker stands still for longer than its lease; some are killed like that, the others come back."""
        for worker in self._workers:
            if not worker.gate.is_set():
                if self._chance.random() < 0.3:
                    self._killed.append(worker)
                    self._workers[self._workers.index(worker)] = self._a_worker()
                else:
                    await self._thaw(worker)
                return
        self._was_frozen = True
        worker = self._chance.choice(list(shares))
        await self._turns(self._chance.randrange(12))
        worker.gate.clear()
        await self._turns(_TURNS)
        worker.stuck = [task for task in shares[worker] if not task.done()]
        for task in worker.stuck:
            self._given_back[id(tasks[task])] = tasks[task]
            self.world.broker.put(redelivered(tasks[task]))
        self.world.clock.step(_LEASE_S + 1)
        for other in self._workers:
            if other is not worker:
                await other.ledger.keep_alive()

    async def _thaw(self, worker: _Worker) -> None:
        worker.gate.set()
        await asyncio.gather(*worker.stuck)
        worker.stuck = []

    async def _turns(self, number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    async def _crash(
        self,
        worker: _Worker,
        shares: dict[_Worker, list["asyncio.Task[None]"]],
        tasks: dict["asyncio.Task[None]", Arrival],
    ) -> None:
        await self._turns(self._chance.randrange(12))
        mine = shares.pop(worker)
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        for task in mine:
            if task.cancelled():
                self.world.broker.put(redelivered(tasks[task]))
        if self._chance.random() < 0.5:
            await worker.ledger.close()
            self._workers[self._workers.index(worker)] = self._a_worker()

    def _replay(self) -> None:
        """An operator has all that is held sent again; the messages may come twice."""
        broker = self.world.broker
        dead, broker.dead = broker.dead, []
        for number, message in enumerate(dead):
            kept = KeptMessage(number, message.body, dict(message.headers), {"content_type": message.content_type})
            letter = read_dead_letter(kept)
            assert refusal(letter, TOPOLOGY, _CONSENT, "replay") is None
            again = replayed(kept, letter, TOPOLOGY.outbound, "replay", self.world.clock.now())
            for address in waiting_in(message, self.addresses):
                self._consents[address] += 1
            arrival = Arrival(TOPOLOGY.outbound, again.body, dict(again.headers), again.content_type)
            for _ in range(self._chance.randrange(1, 3)):
                broker.put(arrival)

    def _judge(self) -> None:
        verdict = Verdict(self.world.broker, self.server, self.addresses, self._consents, is_shaken=self._was_frozen)
        verdict.pronounce()
