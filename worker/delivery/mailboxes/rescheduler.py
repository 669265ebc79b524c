"""Reschedules backlogged letters until they are due.

A backlog of 100,000 letters returns several times before it is done: it goes through a queue of its own, a few
messages at a time, without parsing the events. So however many of its letters return at once, no other mailbox's
letter queues behind them, and they cost the worker little.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from worker.delivery import requeue
from worker.delivery.instrumentation import Unfinished
from worker.delivery.mailboxes.gate import MailboxGate
from worker.delivery.messages import Arrival, Publication
from worker.delivery.services import Services
from worker.domain.backoff import is_expired
from worker.domain.work import TURN, Work, read_work


class Rescheduler:
    """Handles the messages of the backlog's own queue."""

    def __init__(
        self,
        services: Services,
        gate: MailboxGate,
        unfinished: Unfinished,
    ) -> None:
        self._topology = services.rules.topology
        self._max_age_s = services.rules.limits.max_age_s
        self._clock = services.clock
        self._observer = services.observer
        self._gate = gate
        self._unfinished = unfinished

    async def handle(self, arrival: Arrival) -> Sequence[Publication]:
        """Admit a message, or delay it until its turn, as `messages.Handler` says."""
        now = self._clock.now()
        try:
            work = read_work(arrival.headers, now)
        except ValueError:
            return [self._admitted(arrival)]  # the work queue reports what is wrong with it
        turn = self._next_turn(work, now)
        return [self._admitted(arrival) if turn is None else self._sent_away(arrival, work, turn, now)]

    def _next_turn(self, work: Work, now: datetime) -> datetime | None:
        """When the letter may return; None when it need not wait."""
        if work.turn is None or work.lane is None or is_expired(work.first_seen, now, self._max_age_s):
            return None
        return self._gate.next_turn(work.lane, work.turn)

    def _admitted(self, arrival: Arrival) -> Publication:
        self._observer.settled(arrival.queue, None, "admitted")
        return requeue.admitted(arrival, self._topology)

    def _sent_away(self, arrival: Arrival, work: Work, turn: datetime, now: datetime) -> Publication:
        self._observer.settled(arrival.queue, None, "sent_away")
        headers = requeue.own_headers(arrival) | {TURN: turn.isoformat()}
        later = requeue.until_turn(arrival, headers, self._topology, turn, now)
        wait_s = self._topology.delay_s(later.routing_key) or 0
        self._unfinished.put_off(work.first_seen, now + timedelta(seconds=wait_s))
        return later
