"""A channel to publish on."""

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractExchange

CONFIRM_TIMEOUT_S = 60.0


class Outlet:
    """A channel with confirms, and its exchanges. A retired one closes as soon as nothing is in flight on it."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel  # a strong reference: aio-pika keeps weak ones
        self._exchanges: dict[str, AbstractExchange] = {"": channel.default_exchange}
        self._in_flight = 0
        self._is_retired = False

    async def publish(self, message: Message, exchange: str, routing_key: str) -> None:
        """Publish and wait for the confirmation. Raises what aio-pika raises."""
        self._in_flight += 1
        try:
            target = await self._exchange(exchange)
            await target.publish(message, routing_key, mandatory=True, timeout=CONFIRM_TIMEOUT_S)
        finally:
            self._in_flight -= 1
            await self._close_if_done()

    async def retire(self) -> None:
        """Let what is in flight end, and then close."""
        self._is_retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._is_retired and not self._in_flight and not self._channel.is_closed:
            await self._channel.close()

    async def _exchange(self, name: str) -> AbstractExchange:
        if name not in self._exchanges:
            self._exchanges[name] = await self._channel.get_exchange(name, ensure=False)
        return self._exchanges[name]
