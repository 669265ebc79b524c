"""A broker in memory: carries publications between handlers, and lets the clock run through delay queues."""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from tests.doubles.clock import SteppedClock
from worker.delivery.messages import Arrival, Handler, Publication
from worker.domain.results.events import AnyResultEvent, parse_result
from worker.domain.topology import Topology

_DEATH = "x-death"


@dataclass(order=True, slots=True)
class _Delayed:
    due_s: float
    number: int
    arrival: Arrival = field(compare=False)


class MemoryBroker:
    """Does to messages what RabbitMQ does with this topology.

    What comes back from a delay queue bears the broker's own headers, and a message that is put into a delay queue
    with them is dropped as a cycle, in silence, as RabbitMQ does. `results`, `dead` and `waits` (seconds, by queue)
    tell what happened; `dropped` is what was lost.
    """

    def __init__(self, topology: Topology, clock: SteppedClock) -> None:
        self._topology = topology
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._ready: deque[Arrival] = deque()
        self._delayed: list[_Delayed] = []
        self._numbers = count()
        self._delays = {
            topology.delay(queue, level_s): (queue, level_s)
            for queue in topology.work_queues
            for level_s in topology.levels_s(queue)
        }
        self.results: list[AnyResultEvent] = []
        self.dead: list[Arrival] = []
        self.waits: dict[str, list[int]] = {queue: [] for queue in topology.work_queues}
        self.dropped: list[Publication] = []
        self.handled: list[Arrival] = []

    def attach(self, queue: str, handler: Handler) -> None:
        """Have a handler deal with the messages of a queue."""
        self._handlers[queue] = handler

    def put(self, arrival: Arrival) -> None:
        """A message comes into its queue."""
        self._ready.append(arrival)

    @property
    def waiting(self) -> list[Arrival]:
        """What is in queues, delayed or not."""
        return [*self._ready, *(delayed.arrival for delayed in sorted(self._delayed))]

    def publish(self, publications: Sequence[Publication]) -> None:
        """Route messages as the broker would."""
        for publication in publications:
            self._route(publication)

    async def run(self, max_messages: int = 10_000, until_s: float | None = None) -> None:
        """Deal with messages, one after the other, until none is left or none is due before `until_s`.

        What a handler raises passes on, and the message is there again.
        """
        for _ in range(max_messages):
            if not self._ready and not self._wake(until_s):
                return
            await self.step()
        raise AssertionError(f"still going round after {max_messages} messages")

    async def step(self) -> None:
        """Deal with one message that is ready."""
        arrival = self._ready.popleft()
        try:
            publications = await self._handlers[arrival.queue](arrival)
        except BaseException:
            self._ready.append(redelivered(arrival))
            raise
        self.handled.append(arrival)
        self.publish(publications)

    def take_ready(self) -> list[Arrival]:
        """Take all messages that are ready, as a consumer that dies with them would; put them back to redeliver."""
        taken = list(self._ready)
        self._ready.clear()
        return taken

    def wake_next(self) -> bool:
        """Let the time pass until the next delayed message is ready; False when none waits."""
        return self._wake(None)

    def _wake(self, until_s: float | None) -> bool:
        if not self._delayed or (until_s is not None and self._delayed[0].due_s > until_s):
            return False
        self._clock.step(max(self._delayed[0].due_s - self._clock.monotonic(), 0.0))
        while self._delayed and self._delayed[0].due_s <= self._clock.monotonic():
            self._ready.append(heapq.heappop(self._delayed).arrival)
        return True

    def _route(self, publication: Publication) -> None:
        if publication.exchange == self._topology.results_exchange:
            assert not publication.must_route
            self.results.append(parse_result(publication.body))
            return
        assert publication.exchange == ""
        assert publication.must_route
        assert all(isinstance(value, str | int) for value in publication.headers.values())
        queue = publication.routing_key
        headers: dict[str, object] = dict(publication.headers)
        if queue == self._topology.dead:
            self.dead.append(_arrival(queue, publication, headers))
        elif queue in self._handlers:
            self._ready.append(_arrival(queue, publication, headers))
        elif _DEATH in headers:
            self.dropped.append(publication)
        else:
            back_to, level_s = self._delays[queue]
            self.waits[back_to].append(level_s)
            arrival = _arrival(back_to, publication, headers | {_DEATH: [{"queue": queue, "reason": "expired"}]})
            due_s = self._clock.monotonic() + timedelta(seconds=level_s).total_seconds()
            heapq.heappush(self._delayed, _Delayed(due_s, next(self._numbers), arrival))


def redelivered(arrival: Arrival) -> Arrival:
    """The message once more, as after a lost connection."""
    headers = {**arrival.headers, "x-delivery-count": 1}
    return Arrival(arrival.queue, arrival.body, headers, arrival.content_type, is_redelivered=True)


def _arrival(queue: str, publication: Publication, headers: dict[str, object]) -> Arrival:
    return Arrival(queue, publication.body, headers, publication.content_type)
