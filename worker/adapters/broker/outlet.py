"""A channel to publish on."""

from typing import Self
from uuid import uuid4

from aio_pika.abc import AbstractChannel

from worker.adapters.broker.confirms import Confirms, Fate
from worker.adapters.broker.frames import AROUND, content_frames, publish_frame
from worker.adapters.broker.properties import write_properties
from worker.adapters.broker.tap import Tap, TappedConnection
from worker.adapters.broker.underlay import underlay
from worker.delivery.messages import Publication

CONFIRM_TIMEOUT_S = 60.0
_LARGEST_FRAME_BYTES = 128 * 1024  # where the broker sets no limit


class Outlet:
    """A channel with confirms. A retired one closes as soon as nothing is in flight on it.

    Its messages go past the library, in as few writes as can be, and none waits for another one to leave.
    """

    def __init__(self, channel: AbstractChannel, number: int, tap: Tap, confirms: Confirms, frame_bytes: int) -> None:
        self._channel = channel  # a strong reference: aio-pika keeps weak ones
        self._number = number
        self._tap = tap
        self._confirms = confirms
        self._max_payload = frame_bytes - AROUND
        self._ids = uuid4().hex
        self._published = 0
        self._in_flight = 0
        self._is_retired = False

    @classmethod
    async def open(cls, connection: TappedConnection) -> Self:
        """Open a channel for publishing. Raises one of `BROKER_ERRORS`."""
        channel = await connection.channel(publisher_confirms=True)
        below = await underlay(channel)
        confirms = Confirms(CONFIRM_TIMEOUT_S)
        below.closing.add_done_callback(lambda _: confirms.lose())
        connection.tap.listeners[below.number] = confirms
        frame_bytes = below.connection.connection_tune.frame_max or _LARGEST_FRAME_BYTES
        return cls(channel, below.number, connection.tap, confirms, frame_bytes)

    async def publish(self, publication: Publication) -> Fate:
        """Publish, and wait for what becomes of it.

        Raises:
            TimeoutError: the broker does not say.
            ChannelInvalidStateError: the channel is gone.
            ValueError: a text in the properties is longer than AMQP takes it.
        """
        message_id = publication.message_id or self._next_id()
        frames = (
            publish_frame(self._number, publication.exchange, publication.routing_key),
            *content_frames(
                self._number, write_properties(publication, message_id), publication.body, self._max_payload
            ),
        )
        fate = self._confirms.published(message_id)
        self._tap.write(*frames)
        self._in_flight += 1
        try:
            return await fate
        finally:
            self._in_flight -= 1
            if self._is_retired:
                await self._close_if_done()

    async def retire(self) -> None:
        """Let what is in flight end, and then close."""
        self._is_retired = True
        await self._close_if_done()

    def _next_id(self) -> str:
        """Returned messages are matched by this id, so two in flight must not share one."""
        self._published += 1
        return f"{self._ids}-{self._published}"

    async def _close_if_done(self) -> None:
        if not self._in_flight and not self._channel.is_closed:
            await self._channel.close()
