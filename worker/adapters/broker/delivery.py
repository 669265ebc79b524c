"""A message in the hands of a consumer, from its delivery until it is settled."""

from aiormq import Channel

from worker.adapters.broker.acknowledging import Acknowledgements
from worker.adapters.broker.deliveries import Delivered
from worker.delivery.messages import Arrival


class Delivery:
    """A message that was delivered and is not settled yet."""

    __slots__ = ("_acknowledgements", "_channel", "_message")

    def __init__(self, message: Delivered, channel: Channel, acknowledgements: Acknowledgements) -> None:
        self._message = message
        self._channel = channel
        self._acknowledgements = acknowledgements

    @property
    def is_taken_back(self) -> bool:
        """Whether the channel that it came on is gone, and so the message is the broker's again."""
        return self._channel.is_closed

    def arrival(self, queue: str) -> Arrival:
        """The message as the delivery sees it."""
        message = self._message
        count = message.headers.get("x-delivery-count")  # of quorum queues; what a producer wrote into it is no count
        returns = count if message.is_redelivered and isinstance(count, int) else 0
        return Arrival(queue, message.body, message.headers, message.content_type, message.is_redelivered, returns)

    def acknowledge(self) -> None:
        """It is dealt with. Raises one of `BROKER_ERRORS`."""
        self._acknowledgements.add(self._message.tag)

    async def give_back(self) -> None:
        """It is to be delivered again. Raises one of `BROKER_ERRORS`."""
        await self._channel.basic_nack(self._message.tag, requeue=True)
        self._acknowledgements.returned(self._message.tag)
