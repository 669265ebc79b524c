"""Runs computation that would block the event loop for too long off the loop."""

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

# A few milliseconds at most: each address whose domain is hard to encode costs one.
ASIDE_BYTES = 16 * 1024

# One thread for everything large: threads compute in turn, each lengthens the event loop's wait for the interpreter,
# and each keeps the memory that it has freed.
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")


async def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result or exception; it must not hold the interpreter for long in one step."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, partial(function, *args, **kwargs))


def is_large(arrival: Arrival) -> bool:
    """True when parsing the message takes long enough to delay others."""
    return len(arrival.body) > ASIDE_BYTES


async def read_event(arrival: Arrival) -> Event[Data]:
    """Parse a message's event, a large one off the event loop. Raises `InvalidEvent`."""
    message = arrival.headers, arrival.content_type, arrival.body
    return await aside(parse, *message) if is_large(arrival) else parse(*message)
