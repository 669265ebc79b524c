"""The dead-letter commands' way to the broker, and their end: in good order at the first signal."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from worker.adapters.broker.dead_letter_queue import AmqpDeadQueue, open_dead_queue
from worker.adapters.clock import SystemClock
from worker.adapters.ledger import SqlLedger, open_ledger
from worker.addresses import broker_of, ledger_of
from worker.cli.configured import configured
from worker.cli.dead_letters_filters import Filters
from worker.cli.dead_letters_output import Outcome, progress_bar
from worker.cli.output import say
from worker.cli.publishing import publishing
from worker.cli.who import user
from worker.delivery.signatures import Signatures
from worker.errors import ConfigurationError, SendasError
from worker.operations.dead_letters.acting import Campaign, Deed
from worker.operations.dead_letters.deeds import ActEvent, Auditor, Consents, Order
from worker.operations.dead_letters.importing import Filed, Imported, put_all_back
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.looking import look, with_whole_digest
from worker.operations.dead_letters.queue import DeadMessage, Publish
from worker.operations.dead_letters.sightings import Sightings
from worker.settings import Settings


def look_through(filters: Filters, see: Callable[[DeadMessage, DeadLetter], None]) -> int:
    """Show `see` the letters that the filters match; returns how many. None: says how many there are at all.

    Raises:
        ConfigurationError: a filter has a value that no letter has and none could; the text has the values there are.
    """
    selection = filters.selection()
    settings = configured(is_quiet=True)
    sightings = Sightings(selection, settings.topology)

    async def run() -> int:
        async with _queue(settings) as queue:
            whole = await with_whole_digest(queue, selection)
            return await look(queue, whole, filters.at_most, see, sightings.add)

    count = asyncio.run(run())
    if not count:
        _say_that_none_matches(sightings)
    return count


def _say_that_none_matches(sightings: Sightings) -> None:
    if complaint := sightings.complaint():
        raise ConfigurationError(complaint)
    say(sightings.summary())


@asynccontextmanager
async def _queue(settings: Settings) -> AsyncIterator[AmqpDeadQueue]:
    async with open_dead_queue(broker_of(settings), settings.topology.dead) as queue:
        yield queue


class _NoConsents:
    """Stands for a ledger that is not there."""

    async def consent(self, event_key: str, recipients: Sequence[int], up_to_attempt: int) -> None:  # noqa: ARG002
        raise ConfigurationError("--resend-uncertain: the consent is kept in the ledger, and there is none here")


@asynccontextmanager
async def trust(settings: Settings) -> AsyncIterator[tuple[Signatures, Consents]]:
    """The signatures and consents that workers believe: those of their ledger.

    Where the ledger's file is not there, no message can be known for a worker's and none be signed: letters then go
    back as new events.

    Raises:
        ConfigurationError: the ledger cannot be used.
        Unavailable: its database does not answer.
    """
    path = settings.ledger.removeprefix("sqlite:///")
    if path != settings.ledger and not Path(path).exists():  # noqa: ASYNC240 - nothing else is done meanwhile
        say(f"no ledger at {path} (SENDAS_LEDGER_URL): without the workers' own, letters go back as new events")
        yield Signatures(secrets.token_bytes()), _NoConsents()
        return
    ledger: SqlLedger = await open_ledger(ledger_of(settings), f"sendas dead-letters/{user()}", SystemClock())
    try:
        yield Signatures(ledger.message_key), ledger
    finally:
        await ledger.close()


def _publisher(settings: Settings) -> AbstractAsyncContextManager[Publish]:
    return publishing(settings, "sendas-dead-letters-publisher")


async def act(
    settings: Settings,
    deed: Callable[[Publish], Deed],
    event: ActEvent,
    order: Order,
    rate: float,
    *,
    is_rehearsal: bool,
) -> Outcome:
    """Carry out an order, or only count what could be done. What ends it half-way is in the outcome.

    Raises:
        ConfigurationError: a filter has a value that no letter has and none could; nothing was done then.
    """
    clock, sightings = SystemClock(), Sightings(order.selection, settings.topology)
    async with _queue(settings) as queue, _publisher(settings) as publish:
        order = replace(order, selection=await with_whole_digest(queue, order.selection))
        with progress_bar(await queue.size()) as on_progress:
            campaign = Campaign(
                queue,
                deed(publish),
                order.selection,
                clock,
                limit=order.limit,
                per_s=rate,
                on_progress=on_progress,
                on_letter=sightings.add,
            )
            auditor = Auditor(publish, settings.topology, settings.source, clock)
            job = campaign.rehearse() if is_rehearsal else auditor.carry_out(campaign, event, order)
            problem = await _unless_told_to_stop(job)
    if problem is None and not campaign.tally.matched:
        _say_that_none_matches(sightings)
    return Outcome(order.id, campaign.tally, problem, is_rehearsal)


async def _unless_told_to_stop(job: Awaitable[object]) -> str | None:
    """Run a job; None, or what ended it before its end. The first signal ends it in good order."""
    task = asyncio.ensure_future(job)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return "interrupted"
    except SendasError as error:
        return str(error)
    return None


async def put_back(settings: Settings, filed: Filed) -> tuple[Imported, str | None]:
    """Put a file's letters into the dead queue; how many went, and what ended it before its end."""
    imported = Imported(filed.count)
    async with trust(settings) as (signatures, _), _queue(settings) as queue, _publisher(settings) as publish:
        problem = await _unless_told_to_stop(
            put_all_back(queue, publish, settings.topology.dead, filed, imported, signatures)
        )
    return imported, problem
