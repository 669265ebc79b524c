"""A delivered message: how often it came back, by the headers of the broker's version, and how it is settled."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiormq import spec
from aiormq.abc import DeliveredMessage
from pamqp.header import ContentHeader

from worker.adapters.broker.connection import ChannelCalls
from worker.adapters.broker.consumer import Delivery, counting_headers


class Channel:
    """Notes how messages are settled; what is never taken from it waits for ever."""

    def __init__(self, *, is_stuck: bool = False) -> None:
        self.said: list[tuple[object, ...]] = []
        self.close_callbacks: set[Callable[..., None]] = set()
        self.is_waited_for = asyncio.Event()
        self._is_stuck = is_stuck

    async def basic_ack(self, tag: int, *, wait: bool) -> None:
        """Note it."""
        await self._note("ack", tag, wait)

    async def basic_nack(self, tag: int, *, requeue: bool, wait: bool) -> None:
        """Note it."""
        await self._note("nack", tag, requeue, wait)

    async def basic_reject(self, tag: int, *, requeue: bool, wait: bool) -> None:
        """Note it."""
        await self._note("reject", tag, requeue, wait)

    async def _note(self, *words: object) -> None:
        if self._is_stuck:
            self.is_waited_for.set()
            await asyncio.Event().wait()
        self.said.append(words)


def delivery(
    headers: Mapping[str, object] | None,
    version: object,
    *,
    is_redelivered: bool = True,
    channel: Channel | None = None,
    timeout_s: float = 60,
) -> Delivery:
    given: Any = headers
    some: Any = channel or Channel()
    header = ContentHeader(body_size=4, properties=spec.Basic.Properties(headers=given, content_type="text/x"))
    message = DeliveredMessage(spec.Basic.Deliver("ctag", 7, is_redelivered, "", "q"), header, b"body", some)
    return Delivery(message, counting_headers({"version": version}), ChannelCalls(some, timeout_s))


@pytest.mark.parametrize(
    ("version", "headers", "returns"),
    [
        ("3.10.8", {"x-delivery-count": 2}, 2),
        ("4.2.9", {"x-delivery-count": 2, "x-acquired-count": 99}, 2),  # a producer wrote it
        ("4.3.0", {"x-delivery-count": 0, "x-acquired-count": 9}, 9),  # given back by nack nine times
        ("4.3.0-rc.1", {"x-acquired-count": 9}, 9),
        (b"4.10.1", {"x-delivery-count": 3, "x-acquired-count": 4}, 4),
        ("5.0.0", {"x-delivery-count": 4, "x-acquired-count": 3}, 4),
        ("unknown", {"x-delivery-count": 1, "x-acquired-count": 3}, 3),
        (None, {"x-delivery-count": "many", "x-acquired-count": None}, 0),
        ("4.3.0", {}, 0),
        ("4.3.0", None, 0),
    ],
)
def test_the_larger_of_the_brokers_counts_is_believed(
    version: object, headers: Mapping[str, object] | None, returns: int
) -> None:
    """If a broker counts in one header what it no longer counts in the other, then a worker's bound still holds."""
    assert delivery(headers, version).arrival("q").returns == returns
    assert delivery(headers, version, is_redelivered=False).arrival("q").returns == 0


@pytest.mark.parametrize("is_redelivered", [False, True])
def test_an_arrival_is_the_message_as_it_came(is_redelivered: bool) -> None:
    arrival = delivery({"a": 1}, "4.3.0", is_redelivered=is_redelivered).arrival("queue")
    assert (arrival.queue, arrival.body, arrival.headers, arrival.content_type) == (
        "queue",
        b"body",
        {"a": 1},
        "text/x",
    )
    assert arrival.is_redelivered is is_redelivered


async def test_an_acknowledgement_does_not_wait_for_the_network() -> None:
    """If each waited until it has left the socket, then acknowledgements would wait for one another."""
    channel = Channel()
    await delivery({}, "4.3.0", channel=channel).acknowledge()
    assert channel.said == [("ack", 7, False)]


@pytest.mark.parametrize(("has_failed", "how"), [(True, "reject"), (False, "nack")])
async def test_only_what_failed_is_rejected(has_failed: bool, how: str) -> None:
    """If a worker gives messages back as it ends, then that does not count as a failure where the broker can tell."""
    channel = Channel()
    await delivery({}, "4.3.0", channel=channel).give_back(has_failed=has_failed)
    assert channel.said == [(how, 7, True, False)]


async def test_a_settlement_ends_when_its_channel_does() -> None:
    """If a connection ends while acknowledgements wait for its writer, then their tasks end too, and room is left."""
    channel = Channel(is_stuck=True)
    stuck = delivery({}, "4.3.0", channel=channel)
    settling = [asyncio.create_task(stuck.acknowledge()), asyncio.create_task(stuck.give_back())]
    await channel.is_waited_for.wait()
    for callback in channel.close_callbacks:
        callback(channel, None)
    outcomes = await asyncio.gather(*settling, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError, TimeoutError]


async def test_a_settlement_that_nothing_takes_ends_by_its_timeout() -> None:
    stuck = delivery({}, "4.3.0", channel=Channel(is_stuck=True), timeout_s=0)
    with pytest.raises(TimeoutError):
        await stuck.acknowledge()
