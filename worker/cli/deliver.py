"""`sendas deliver`: runs one event through the worker's pipeline, without a broker."""

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

from cyclopts import Parameter
from prometheus_client import CollectorRegistry

from worker.adapters.clock import SystemClock
from worker.adapters.ledger import open_ledger
from worker.adapters.ledger.shared_memory import mailbox_memory
from worker.adapters.snapshot.directory import CompiledDirectory
from worker.app import delivery_rules, open_outside, token_telling
from worker.cli.common import print_line, read_event, say
from worker.cli.configured import configured
from worker.cli.letters import show_letters
from worker.cli.snapshots import read_own_snapshot
from worker.cli.temporary_ledger import temporary_ledger
from worker.delivery.messages import Arrival, Publication
from worker.delivery.services import Services
from worker.delivery.wiring import Delivery, build_delivery
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.events.models import CommentCreated, LetterEvent, TaskCreated
from worker.domain.snapshot.secret_references import References
from worker.domain.topology import Topology
from worker.domain.vocabulary import ResultType
from worker.errors import ConfigurationError
from worker.settings import Settings
from worker.telemetry.metrics import Metrics
from worker.telemetry.observer import MetricsObserver

_GOOD = frozenset({ResultType.MAIL_SENT, ResultType.SENT_COPY_SAVED, ResultType.SENT_COPY_SKIPPED})


def deliver(
    *,
    event: Path,
    snapshot: Path | None = None,
    only_print: Annotated[bool, Parameter(name="--print", negative="")] = False,
) -> int:
    """Send one event's letters, once, and print the results that the worker would publish, one a line.

    Nothing is tried again later, and nothing is remembered: done twice, it sends twice. With `--print` nothing is
    sent, and no server is needed.

    Parameters
    ----------
    event
        An event in structured CloudEvents JSON.
    snapshot
        A configuration snapshot (JSON); the one that SENDAS_SNAPSHOT_URL names when it is left out.
    only_print
        Print the letters as they would leave instead. Exit status 1: none would.
    """
    settings = configured(is_quiet=True)
    directory, _, references = read_own_snapshot(snapshot, settings.reference_accounts)
    parsed, body = read_event(event)
    arrival = Arrival(settings.topology.outbound, body, {}, STRUCTURED)
    if only_print:
        if not isinstance(parsed.data, CommentCreated | TaskCreated):
            raise ConfigurationError(f"{event}: the event asks for no letter")
        letters = show_letters(settings, directory, arrival, cast("LetterEvent", parsed))
        return 0 if asyncio.run(letters) else 1
    return 0 if asyncio.run(_deliver(settings, directory, references, arrival)) else 1


class _FixedSnapshot:
    """A snapshot service with one fixed snapshot."""

    def __init__(self, directory: CompiledDirectory) -> None:
        self.directory = directory

    async def refresh(self) -> None:
        """Do nothing: there is never a newer snapshot."""


async def _deliver(settings: Settings, directory: CompiledDirectory, references: References, arrival: Arrival) -> bool:
    clock = SystemClock()
    async with (
        temporary_ledger() as address,
        mailbox_memory(address, clock) as memory,
        open_outside(settings, memory.refresh_tokens, _no_matter, references=references) as outside,
    ):
        ledger = await open_ledger(address, "sendas deliver", clock)
        services = Services(
            rules=delivery_rules(settings),
            snapshot=_FixedSnapshot(directory),
            ledger=ledger,
            mailboxes=ledger.mailboxes,
            transport=outside.transport,
            sent_folder=outside.sent_folder,
            files=outside.files,
            clock=clock,
            observer=MetricsObserver(Metrics(CollectorRegistry())),
            publish=_print,
            sent_habits=memory.sent_habits,
        )
        try:
            return await _Errand(build_delivery(services), settings.topology).run(arrival)
        finally:
            try:
                await token_telling(settings, memory.refresh_tokens, outside, services.snapshot, _print).tell()
            finally:
                await ledger.close()


def _no_matter() -> None:
    """Do nothing: rotated tokens are reported at the end."""


async def _print(publication: Publication) -> None:
    print_line(publication.body.decode())


class _Errand:
    """Carries messages between stages as the broker would, except that nothing is retried later."""

    def __init__(self, delivery: Delivery, topology: Topology) -> None:
        self._handlers = {topology.outbound: delivery.pipeline.handle, topology.sent_copy: delivery.copies.handle}
        # A copy that briefly waits for the provider's own copy waits here too.
        self._moment = topology.delay(topology.sent_copy, 5)
        self._topology = topology
        self._is_good = True

    async def run(self, arrival: Arrival) -> bool:
        """Returns True if every letter was sent and every required copy was saved."""
        waiting = deque([arrival])
        while waiting:
            current = waiting.popleft()
            waiting.extend(await self._carried(await self._handlers[current.queue](current)))
        return self._is_good

    async def _carried(self, publications: Sequence[Publication]) -> list[Arrival]:
        arrivals = []
        for publication in publications:
            if publication.exchange == self._topology.results_exchange:
                self._is_good &= publication.type in _GOOD
                print_line(publication.body.decode())
            elif publication.routing_key in self._handlers:
                arrivals.append(_arrival(publication, publication.routing_key))
            elif publication.routing_key == self._moment and "sendas-last-reason" not in publication.headers:
                await asyncio.sleep(5)
                arrivals.append(_arrival(publication, self._topology.sent_copy))
            else:
                self._is_good = False
                say(f"a worker would go on: the message would be put into {publication.routing_key}")
        return arrivals


def _arrival(publication: Publication, queue: str) -> Arrival:
    return Arrival(queue, publication.body, dict(publication.headers), publication.content_type)
