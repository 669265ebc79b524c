"""How commands publish: on a connection of their own, established first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from worker.adapters.broker.publisher import Publisher
from worker.addresses import broker_of
from worker.background import background
from worker.delivery.messages import Publication, Publish
from worker.errors import Unavailable
from worker.settings import Settings
from worker.telemetry.metrics import Metrics


@asynccontextmanager
async def publishing(settings: Settings, name: str, patience_s: float | None = None) -> AsyncIterator[Publish]:
    """Yield a function that publishes with confirmation.

    Waits for an unavailable broker: for ever, or `patience_s` for the connection and again per message, after which
    it raises `Unavailable`.

    Raises:
        ConfigurationError: the address is wrong, or the broker refuses it.
    """
    metrics = Metrics(CollectorRegistry())
    publisher = Publisher(broker_of(settings), metrics, max_bytes=settings.max_message_bytes, name=name)
    async with background(publisher.run()) as failed:
        up, ended = asyncio.ensure_future(publisher.wait_until_up()), asyncio.ensure_future(failed)
        await asyncio.wait({up, ended}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if ended.done():
            await ended

        async def publish(publication: Publication) -> None:
            try:
                async with asyncio.timeout(patience_s):
                    await publisher.publish(publication)
            except TimeoutError:
                raise Unavailable("the broker does not answer") from None

        yield publish
