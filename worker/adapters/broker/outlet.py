"""A channel to publish on."""

from aio_pika.abc import AbstractChannel
from aiormq import Channel, spec

CONFIRM_TIMEOUT_S = 60.0


class Outlet:
    """A channel with confirms. A retired one closes as soon as nothing is in flight on it.

    It publishes on the channel below aio-pika's, which builds less for each message, and does not wait for each one to
    leave before the next one may follow: what matters is the confirmation.
    """

    def __init__(self, channel: AbstractChannel, underlay: Channel) -> None:
        self._channel = channel  # a strong reference: aio-pika keeps weak ones
        self._underlay = underlay
        self._in_flight = 0
        self._is_retired = False

    async def publish(self, body: bytes, properties: spec.Basic.Properties, exchange: str, routing_key: str) -> None:
        """Publish and wait for the confirmation. Raises what aio-pika raises."""
        self._in_flight += 1
        try:
            await self._underlay.basic_publish(
                body,
                exchange=exchange,
                routing_key=routing_key,
                properties=properties,
                mandatory=True,
                timeout=CONFIRM_TIMEOUT_S,
                wait=False,
            )
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
