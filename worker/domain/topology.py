"""Exchanges, queues and bindings, as data; names derive from a prefix so that installations can share a broker."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from worker.domain.backoff import BACKLOG_LEVELS_S, CHECK_LEVELS_S, PAUSE_LEVELS_S, level_name
from worker.domain.vocabulary import EventType, ResultType

# A message that kills its worker must not do so for ever; the default of RabbitMQ 4 is 20, 3.x has none.
_WORK_DELIVERY_LIMIT = 20
MAX_RETURNS = 15
"""How often a message may be returned unsettled before a worker dead-letters it itself, with a reason and a result:
well before the broker drops it without either."""

MAX_HISTORY_BYTES = 2_000_000_000
"""Limit of the history's queue in bytes, about a million results: beyond it the oldest are dropped, so that a history
that is down for long does not fill the broker.
"""

# Inspecting the dead queue returns messages, which counts as a delivery; it must never reach the limit there.
_NO_DELIVERY_LIMIT = 1_000_000_000

_LEVELS_S = {level_name(level_s): level_s for level_s in (*PAUSE_LEVELS_S, *BACKLOG_LEVELS_S)}

Argument = str | int


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable quorum queue and the arguments it is declared with."""

    name: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BindingSpec:
    """Which messages of an exchange go to a queue."""

    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything the worker needs on the broker. `has_history`: whether results also go to the history's queue."""

    prefix: str = "sendas"
    events_exchange: str = "product.events"
    results_exchange: str = "sendas.results"
    has_history: bool = False

    @property
    def outbound(self) -> str:
        """The work queue: events to turn into letters."""
        return f"{self.prefix}.outbound"

    @property
    def backlog(self) -> str:
        """The queue through which backlogged letters return until they are due, apart from all other letters."""
        return f"{self.prefix}.backlog"

    @property
    def sent_copy(self) -> str:
        """The queue of letters to copy to Sent."""
        return f"{self.prefix}.sent-copy"

    @property
    def mailbox_check(self) -> str:
        """The queue of mailboxes to check. Messages in its delay queues are not retries: their check has not begun."""
        return f"{self.prefix}.mailbox-check"

    @property
    def work_queues(self) -> tuple[str, ...]:
        """The queues that workers consume."""
        return (self.outbound, self.backlog, self.sent_copy, self.mailbox_check)

    @property
    def dead(self) -> str:
        """The dead queue: unreadable messages, and those the worker cannot handle, wait there for an operator."""
        return f"{self.prefix}.dead"

    @property
    def history(self) -> str:
        """The queue of results for the history. It always exists, and is bound only where there is a history."""
        return f"{self.prefix}.history"

    def delay(self, queue: str, level_s: int) -> str:
        """The queue in which messages wait before they return to `queue`."""
        return f"{queue}.delay.{level_name(level_s)}"

    def levels_s(self, queue: str) -> tuple[int, ...]:
        """The possible waits of a work queue's messages, in seconds."""
        return {self.backlog: BACKLOG_LEVELS_S, self.mailbox_check: CHECK_LEVELS_S}.get(queue, PAUSE_LEVELS_S)

    def delay_s(self, queue: str) -> int | None:
        """How long messages wait in this queue, in seconds; None when it is no delay queue."""
        return _LEVELS_S.get(queue.rpartition(".")[2]) if self.kind(queue) == "delay" else None

    def kind(self, queue: str) -> Literal["work", "delay", "dead", "history"]:
        """The purpose of the queue with this name."""
        if queue == self.dead:
            return "dead"
        if queue == self.history:
            return "history"
        return "delay" if ".delay." in queue.removeprefix(self.prefix) else "work"

    def queues(self) -> Iterator[QueueSpec]:
        """All queues, with targets of dead-lettering before those that refer to them."""
        yield QueueSpec(self.dead, {"x-queue-type": "quorum", "x-delivery-limit": _NO_DELIVERY_LIMIT})
        for work in self.work_queues:
            yield QueueSpec(work, {**_dead_lettering(self.dead), "x-delivery-limit": _WORK_DELIVERY_LIMIT})
        for work in self.work_queues:
            for level_s in self.levels_s(work):
                yield QueueSpec(self.delay(work, level_s), {**_dead_lettering(work), "x-message-ttl": level_s * 1_000})
        # When full, it drops the oldest: refusing new ones would keep letters from being recorded as published.
        yield QueueSpec(
            self.history,
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": _NO_DELIVERY_LIMIT,
                "x-max-length-bytes": MAX_HISTORY_BYTES,
                "x-overflow": "drop-head",
            },
        )

    def bindings(self) -> Iterator[BindingSpec]:
        """Which of the product's events the worker consumes, and which results the history gets."""
        for event_type in (EventType.COMMENT_CREATED, EventType.TASK_CREATED):
            yield BindingSpec(self.events_exchange, self.outbound, event_type.value)
        yield BindingSpec(self.events_exchange, self.mailbox_check, EventType.MAILBOX_CHECK_REQUESTED.value)
        if self.has_history:
            yield from self._of_history()

    def unwanted_bindings(self) -> Iterator[BindingSpec]:
        """Bindings to remove if present: without a history, nothing consumes its queue."""
        if not self.has_history:
            yield from self._of_history()

    def _of_history(self) -> Iterator[BindingSpec]:
        for result_type in ResultType:
            yield BindingSpec(self.results_exchange, self.history, result_type.value)


def _dead_lettering(target: str) -> dict[str, Argument]:
    """Dead-lettering that loses nothing: at-least-once works only together with reject-publish."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": target,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
