"""A message in the hands of a consumer, from its delivery until it is settled."""

import re
from collections.abc import Mapping, Sequence

from aiormq import Channel

from worker.adapters.broker.acknowledging import Acknowledgements
from worker.adapters.broker.deliveries import Delivered
from worker.delivery.messages import Arrival

_DELIVERIES = "x-delivery-count"
_ACQUISITIONS = "x-acquired-count"
_ACQUISITIONS_SINCE = (4, 3)
_VERSION = re.compile(r"(\d+)\.(\d+)")


def counting_headers(server_properties: Mapping[str, object]) -> tuple[str, ...]:
    """The headers in which this broker's quorum queues count how often a message came back.

    From RabbitMQ 4.3 on the first leaves out what was given back by `basic.nack`, and the second counts everything.
    Before, the second is a header like any other: what a producer writes there is no count.
    """
    version = server_properties.get("version")
    found = _VERSION.match(version.decode("ascii", "replace") if isinstance(version, bytes) else str(version))
    if found is not None and (int(found[1]), int(found[2])) < _ACQUISITIONS_SINCE:
        return (_DELIVERIES,)
    return (_DELIVERIES, _ACQUISITIONS)


class Delivery:
    """A message that was delivered and is not settled yet."""

    __slots__ = ("_acknowledgements", "_channel", "_counts", "_message")

    def __init__(
        self, message: Delivered, channel: Channel, acknowledgements: Acknowledgements, counts: Sequence[str]
    ) -> None:
        self._message = message
        self._channel = channel
        self._acknowledgements = acknowledgements
        self._counts = counts

    @property
    def is_taken_back(self) -> bool:
        """Whether the channel that it came on is gone, and so the message is the broker's again."""
        return self._channel.is_closed

    def arrival(self, queue: str) -> Arrival:
        """The message as the delivery sees it."""
        message = self._message
        # A message that comes for the first time has at most what a producer wrote there.
        returns = max(map(self._count, self._counts)) if message.is_redelivered else 0
        return Arrival(queue, message.body, message.headers, message.content_type, message.is_redelivered, returns)

    def _count(self, header: str) -> int:
        count = self._message.headers.get(header)
        return count if isinstance(count, int) else 0

    def acknowledge(self) -> None:
        """It is dealt with. Raises one of `BROKER_ERRORS`."""
        self._acknowledgements.add(self._message.tag)

    async def give_back(self, *, has_failed: bool = False) -> None:
        """It is to be delivered again; one that has failed counts towards the queue's delivery limit.

        Up to RabbitMQ 4.2 both count. Raises one of `BROKER_ERRORS`.
        """
        if has_failed:
            await self._channel.basic_reject(self._message.tag, requeue=True)
        else:
            await self._channel.basic_nack(self._message.tag, requeue=True)
        self._acknowledgements.returned(self._message.tag)
