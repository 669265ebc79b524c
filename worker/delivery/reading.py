"""Reading events: small ones at once, others beside the event loop."""

from worker.delivery.aside import aside
from worker.delivery.messages import Arrival
from worker.domain.cloudevents import parse
from worker.domain.event import Data, Event

# Some milliseconds at most: of addresses whose domains are hard to encode, each costs one.
ASIDE_BYTES = 16 * 1024


def is_large(arrival: Arrival) -> bool:
    """Whether the message takes long enough to read that others would notice."""
    return len(arrival.body) > ASIDE_BYTES


async def read_event(arrival: Arrival) -> Event[Data]:
    """The event that a message carries. Raises `InvalidEvent`."""
    message = arrival.headers, arrival.content_type, arrival.body
    return await aside(parse, *message) if is_large(arrival) else parse(*message)
