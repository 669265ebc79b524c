"""The dead-letter commands' way to the broker, and their end: in good order at the first signal."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from worker.adapters.broker.dead_queue import AmqpDeadQueue, open_dead_queue
from worker.adapters.clock import SystemClock
from worker.addresses import broker_of
from worker.cli.configured import configured
from worker.cli.dead_letters_filters import Filters
from worker.cli.dead_letters_output import Outcome, progress_bar
from worker.cli.publishing import publishing
from worker.errors import SendasError
from worker.operations.dead_letters.acting import Campaign, Deed, Tally
from worker.operations.dead_letters.deeds import ActEvent, Auditor, Order
from worker.operations.dead_letters.importing import Filed, Imported, put_all_back
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.looking import look
from worker.operations.dead_letters.queue import DeadMessage, Publish
from worker.settings import Settings


def look_through(filters: Filters, see: Callable[[DeadMessage, DeadLetter], None]) -> int:
    """Show `see` the letters that the filters match; returns how many."""
    selection = filters.selection()
    settings = configured(is_quiet=True)

    async def run() -> int:
        async with _queue(settings) as queue:
            return await look(queue, selection, filters.limit, see)

    return asyncio.run(run())


@asynccontextmanager
async def _queue(settings: Settings) -> AsyncIterator[AmqpDeadQueue]:
    async with open_dead_queue(broker_of(settings), settings.topology.dead) as queue:
        yield queue


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
    """Carry out an order, or only count what could be done. Never raises what the broker does: the outcome says it."""
    clock = SystemClock()
    async with _queue(settings) as queue, _publisher(settings) as publish:
        with progress_bar(await queue.size()) as on_progress:
            campaign = Campaign(
                queue,
                deed(publish),
                order.selection,
                clock,
                limit=order.limit,
                per_s=rate,
                on_progress=on_progress,
            )
            auditor = Auditor(publish, settings.topology, settings.source, clock)
            job = campaign.rehearse() if is_rehearsal else auditor.carry_out(campaign, event, order)
            problem = await _unless_told_to_stop(job)
    return Outcome(order.id, campaign.tally, problem, is_rehearsal)


async def _unless_told_to_stop(job: Awaitable[Tally]) -> str | None:
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


async def put_back(settings: Settings, filed: Filed) -> Imported:
    """Put a file's letters into the dead queue."""
    async with _queue(settings) as queue, _publisher(settings) as publish:
        return await put_all_back(queue, publish, settings.topology.dead, filed)
