"""The first page: current throughput, failures, and what is stalled."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from starlette.responses import Response
from starlette.routing import Route

from worker.console.mailboxes import Standing
from worker.console.visits import Visit, page
from worker.errors import Unavailable

_SPAN = timedelta(hours=1)
_BUCKET_S = 120
_MOST_SUSPENDED = 20


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue's depth; `kind` is work, delay or dead."""

    name: str
    kind: str
    messages: int


async def _overview(visit: Visit) -> Response:
    is_whole = visit.person.accounts is None  # platform-wide numbers are hidden from people limited to some accounts
    workers, failures, suspended = await asyncio.gather(
        visit.services.workers.look() if is_whole else _nothing(), _failures(visit), _suspended(visit)
    )
    return visit.render(
        "overview.html",
        is_whole=is_whole,
        workers=workers,
        failures=failures,
        suspended=suspended,
        most_suspended=_MOST_SUSPENDED,
        queues=_queues(visit) if is_whole else (),
    )


async def _nothing() -> Sequence[object]:
    return ()


async def _failures(visit: Visit) -> Mapping[str, Sequence[int]] | None:
    """Failures in the last hour by reason, most frequent first; None if the history is off or unavailable."""
    history, now = visit.services.history, visit.services.clock.now()
    if history is None:
        return None
    try:
        found = await history.failures(now - _SPAN, now, _BUCKET_S, visit.person.accounts)
    except Unavailable:
        return None
    return dict(sorted(found.items(), key=lambda each: -sum(each[1])))


async def _suspended(visit: Visit) -> Sequence[Standing] | None:
    """Suspended mailboxes, oldest suspension first; None if the ledger is unavailable."""
    try:
        held_up = await visit.services.mailboxes.held_up(visit.person)
    except Unavailable:
        return None
    return [standing for standing in held_up if standing.suspension is not None]


def _queues(visit: Visit) -> list[Queue]:
    """Work and dead queues always, delay queues only if not empty."""
    depths = visit.services.depths.messages()
    queues = [Queue(name, kind, int(messages)) for (name, kind), messages in depths.items()]
    return [queue for queue in queues if queue.kind != "delay" or queue.messages]


ROUTES = (Route("/", page(_overview), methods=["GET"]),)
