"""Computing that would stop the event loop for too long: it is done beside it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from worker.delivery.messages import Arrival
from worker.domain.events.cloudevents import parse
from worker.domain.events.models import Data, Event

P = ParamSpec("P")
T = TypeVar("T")

# Some milliseconds at most: of addresses whose domains are hard to encode, each costs one.
ASIDE_BYTES = 16 * 1024

# One for all that is large: threads compute in turn, and with each the event loop waits longer for its own, and the
# memory is kept that each has freed.
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")


async def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function gives or raises; it must not hold the interpreter for long in one step."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, partial(function, *args, **kwargs))


def is_large(arrival: Arrival) -> bool:
    """Whether the message takes long enough to read that others would notice."""
    return len(arrival.body) > ASIDE_BYTES


async def read_event(arrival: Arrival) -> Event[Data]:
    """The event that a message carries; a large one is read beside the event loop. Raises `InvalidEvent`."""
    message = arrival.headers, arrival.content_type, arrival.body
    return await aside(parse, *message) if is_large(arrival) else parse(*message)
