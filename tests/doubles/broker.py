"""An in-memory broker: carries publications between handlers, and advances the clock past delays."""

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
    """Treats messages as RabbitMQ does with this topology.

    Messages that return from a delay queue carry the broker's own headers; one published to a delay queue with them is
    silently dropped as a cycle, as RabbitMQ does. `results`, `dead` and `waits` (seconds, by queue) record what
    happened; `dropped` records losses.
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
        """Register a handler for a queue's messages."""
        self._handlers[queue] = handler

    def put(self, arrival: Arrival) -> None:
        """Put a message into its queue."""
        self._ready.append(arrival)

    @property
    def waiting(self) -> list[Arrival]:
        """Messages in queues, delayed or not."""
        return [*self._ready, *(delayed.arrival for delayed in sorted(self._delayed))]

    def publish(self, publications: Sequence[Publication]) -> None:
        """Route messages as the broker would."""
        for publication in publications:
            self._route(publication)

    async def run(self, max_messages: int = 10_000, until_s: float | None = None) -> None:
        """Handle messages, one at a time, until none is left or none is due before `until_s`.

        A handler's exception propagates, and the message is requeued.
        """
        for _ in range(max_messages):
            if not self._ready and not self._wake(until_s):
                return
            await self.step()
        raise AssertionError(f"still going round after {max_messages} messages")

    async def step(self) -> None:
        """Handle one ready message."""
        arrival = self._ready.popleft()
        try:
            publications = await self._handlers[arrival.queue](arrival)
        except BaseException:
            self._ready.append(redelivered(arrival))
            raise
        self.handled.append(arrival)
        self.publish(publications)

    def take_ready(self) -> list[Arrival]:
        """Take all ready messages, as a consumer that then dies would; put them back to redeliver."""
        taken = list(self._ready)
        self._ready.clear()
        return taken

    def wake_next(self) -> bool:
        """Advance the clock until the next delayed message is ready; False if there is none."""
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
    """The message as redelivered after a lost connection."""
    headers = {**arrival.headers, "x-delivery-count": 1}
    return Arrival(arrival.queue, arrival.body, headers, arrival.content_type, is_redelivered=True)


def _arrival(queue: str, publication: Publication, headers: dict[str, object]) -> Arrival:
    return Arrival(queue, publication.body, headers, publication.content_type)
