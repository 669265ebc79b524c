"""Messages that nobody here can handle: they go to the dead queue for an operator, and who waits for them is told."""

from collections.abc import Mapping

import structlog

from worker.delivery import requeueing
from worker.delivery.messages import Arrival, HeaderValue, Publication
from worker.delivery.observing import Observer
from worker.delivery.ports import Clock
from worker.delivery.reporting import Reporter
from worker.domain.event import LetterEvent
from worker.domain.planning import distinct_positions
from worker.domain.topology import MAX_RETURNS, Topology
from worker.domain.vocabulary import Reason
from worker.domain.work import Work

log = structlog.get_logger(__name__)

RETURNED_TOO_OFTEN = "it came back again and again without being settled: a worker may have died of it"


def has_returned_too_often(arrival: Arrival) -> bool:
    """True when the broker would give the message up soon, with nobody told of it."""
    return arrival.returns >= MAX_RETURNS


class Burials:
    """Buries messages for mistakes of our own, and tells of them."""

    def __init__(self, reporter: Reporter, topology: Topology, clock: Clock, observer: Observer) -> None:
        self._reporter = reporter
        self._topology = topology
        self._clock = clock
        self._observer = observer

    def of_mistake(
        self, arrival: Arrival, event: LetterEvent, error: BaseException, work: Work, headers: Mapping[str, HeaderValue]
    ) -> list[Publication]:
        """The end of a message, or of a part of its work, that met a mistake. `headers`: the work to be kept."""
        log.error("event.unhandled", exc_info=error)
        return self._buried(arrival, event, type(error).__name__, work, headers)

    def of_returned(self, arrival: Arrival, event: LetterEvent, work: Work) -> list[Publication]:
        """The end of a message that worker after worker did not settle."""
        log.error("event.returned_too_often", returns=arrival.returns)
        return self._buried(arrival, event, RETURNED_TOO_OFTEN, work, requeueing.own_headers(arrival))

    def _buried(
        self, arrival: Arrival, event: LetterEvent, detail: str, work: Work, headers: Mapping[str, HeaderValue]
    ) -> list[Publication]:
        self._observer.settled(arrival.queue, event.type, "failed")
        self._observer.buried(Reason.INTERNAL_ERROR)
        wanted = tuple(work.recipients if work.recipients is not None else distinct_positions(event.data.recipients))
        self._observer.lost(len(wanted))
        death = requeueing.Death(Reason.INTERNAL_ERROR, detail, self._clock.now())
        return [*self._told(event, work, wanted, detail), requeueing.dead(arrival, self._topology, death, headers)]

    def _told(self, event: LetterEvent, work: Work, wanted: tuple[int, ...], detail: str) -> list[Publication]:
        """The result. It is not "failed": the letter may have been handed over already, or go on after a replay."""
        try:
            result = self._reporter.stranded(event, wanted, work, self._clock.now(), detail)
            return [self._reporter.publication(result)]
        except Exception:  # the mistake may be in the results themselves, and the message must be kept all the same
            log.exception("event.not_told")
            return []
