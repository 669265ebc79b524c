"""The results that the worker publishes, collected by the event they tell of."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from demo.scenes import Json, Scene

RESULTS_EXCHANGE = "sendas.results"


@dataclass
class Outcome:
    """What is known of one event so far."""

    results: dict[str, Any] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def of_kind(self, prefix: str) -> list[Any]:
        """The different results whose type begins with the prefix."""
        return [result for result in self.results.values() if result["type"].startswith(prefix)]

    @property
    def mail(self) -> list[Any]:
        """The results about letters."""
        return self.of_kind("mail.")

    @property
    def recipients(self) -> dict[str, str]:
        """Each recipient's outcome, with its reason; "" stands for recipients who could not be read."""
        found = {}
        for result in self.mail:
            data = result["data"]
            for recipient in data["recipients"] or [{"address": "", "outcome": "failed"}]:
                reason = f": {data['reason']}" if data["reason"] else ""
                found[recipient["address"]] = recipient["outcome"] + reason
        return found

    @property
    def copies(self) -> tuple[str, ...]:
        """What became of the copies in Sent; those put off have no outcome yet."""
        outcomes = (result["data"]["outcome"] for result in self.of_kind("sent_copy."))
        return tuple(sorted(outcome for outcome in outcomes if outcome is not None))

    @property
    def announcements(self) -> frozenset[str]:
        """Types of the other results."""
        return frozenset(result["type"] for result in self.of_kind("mailbox."))

    @property
    def sender(self) -> Any:
        """The sender, as the first result about a letter has it; None when there is none."""
        return next((result["data"]["sender"] for result in self.mail), None)

    def is_complete(self, scene: Scene) -> bool:
        """Whether everything is there that must come of the scene, whatever it says."""
        return (
            len(self.recipients) >= len(scene.recipients)
            and len(self.copies) >= len(scene.copies)
            and len(self.announcements) >= len(scene.announcements)
        )


class Results:
    """All results so far; whoever waits for some is told of each that comes."""

    def __init__(self, tell: Callable[[Json], None]) -> None:
        self._tell = tell
        self._outcomes: dict[str, Outcome] = {}
        self._news = asyncio.Condition()

    def of(self, scene: Scene) -> Outcome:
        """What came of a scene so far."""
        return self._outcomes.setdefault(scene.id, Outcome())

    async def wait_for(self, scenes: list[Scene], *, timeout_s: float) -> bool:
        """Wait until all scenes are complete; False when that took too long."""
        return await self._wait(lambda: all(self.of(scene).is_complete(scene) for scene in scenes), timeout_s)

    async def wait_for_repeat(self, scene: Scene, *, timeout_s: float) -> bool:
        """Wait until each result about the scene's letters has come once more; False when that took too long."""
        outcome = self.of(scene)
        return await self._wait(lambda: all(outcome.seen[result["id"]] > 1 for result in outcome.mail), timeout_s)

    async def _wait(self, is_there: Callable[[], bool], timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(is_there)
        except TimeoutError:
            return False
        return True

    async def checked(self, event_id: str, *, timeout_s: float) -> Json | None:
        """The answer to a check, or None when that took too long."""
        outcome = self._outcomes.setdefault(event_id, Outcome())
        if not await self._wait(lambda: bool(outcome.of_kind("mailbox.checked")), timeout_s):
            return None
        answer: Json = outcome.of_kind("mailbox.checked")[0]["data"]
        return answer

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Take one result from the broker."""
        result = json.loads(message.body)
        self._tell(result)
        event_id = result["data"].get("event_id")
        if event_id is None:
            return  # an operator's act, a mailbox that is resumed, a rotated token: no event asked for it
        async with self._news:
            outcome = self._outcomes.setdefault(event_id, Outcome())
            outcome.results.setdefault(result["id"], result)  # a repeat is known by its id, and dropped
            outcome.seen[result["id"]] += 1
            self._news.notify_all()


@asynccontextmanager
async def collected(amqp_url: str, tell: Callable[[Json], None] = lambda _: None) -> AsyncIterator[Results]:
    """Collect results from a queue of our own while the context lasts, and tell of each."""
    results = Results(tell)
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(RESULTS_EXCHANGE, "#")
        await queue.consume(results.take, no_ack=True)
        yield results


async def dead_letters(amqp_url: str) -> list[str]:
    """The messages that wait in the dead queue, headers and body."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("sendas.dead", passive=True)
        found = []
        # Closing the channel gives them back.
        while (message := await queue.get(fail=False)) is not None:
            found.append(f"{message.headers} {message.body.decode(errors='replace')}")
        return found
