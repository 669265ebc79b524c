"""`sendas publish`: publishes events from files, as the product would."""

import asyncio
from pathlib import Path

from worker.cli.common import read_events, say
from worker.cli.configured import configured
from worker.cli.publishing import publishing
from worker.delivery.messages import Publication
from worker.domain.events.cloudevents import STRUCTURED, parse
from worker.errors import ConfigurationError, InvalidEvent
from worker.settings import Settings


def publish(*files: Path, unchecked: bool = False) -> int:
    """Publish events to the product's exchange, confirmed by the broker.

    Parameters
    ----------
    files
        JSON files, each with one event in structured CloudEvents form, an array of them, or one a line.
    unchecked
        Publish also what is no valid event, to see what becomes of it.
    """
    if not files:
        raise ConfigurationError("publish: name at least one file with events")
    settings = configured(is_quiet=True)
    publications = [publication for path in files for publication in _publications(settings, path, unchecked=unchecked)]
    asyncio.run(_publish(settings, publications))
    say(f"published {len(publications)} events to {settings.events_exchange}")
    return 0


def _publications(settings: Settings, path: Path, *, unchecked: bool) -> list[Publication]:
    bodies = read_events(path)
    if not bodies:
        raise ConfigurationError(f"{path}: there is no event in it")
    return [_publication(settings, path, number, body, unchecked=unchecked) for number, body in enumerate(bodies, 1)]


def _publication(settings: Settings, path: Path, number: int, body: bytes, *, unchecked: bool) -> Publication:
    routing_key = "comment.created"
    try:
        routing_key = parse({}, STRUCTURED, body).type.value
    except InvalidEvent as error:
        if not unchecked:
            raise ConfigurationError(f"{path}, event {number}: {error}") from None
    return Publication(settings.events_exchange, routing_key, body, content_type=STRUCTURED)


async def _publish(settings: Settings, publications: list[Publication]) -> None:
    async with publishing(settings, "sendas-publish") as publish_one:
        await asyncio.gather(*map(publish_one, publications))
