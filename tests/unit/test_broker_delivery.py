"""How often a message came back, by the headers of the broker's version."""

from collections.abc import Mapping
from typing import Any

import pytest

from worker.adapters.broker.deliveries import Delivered
from worker.adapters.broker.delivery import Delivery, counting_headers


class Channel:
    """Notes how messages are given back."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, bool]] = []

    async def basic_nack(self, tag: int, *, requeue: bool) -> None:
        """Note it."""
        self.said.append(("nack", tag, requeue))

    async def basic_reject(self, tag: int, *, requeue: bool) -> None:
        """Note it."""
        self.said.append(("reject", tag, requeue))


class Acknowledgements:
    """Notes nothing."""

    def returned(self, _: int) -> None:
        """Nothing to note."""


def delivery(
    headers: Mapping[str, object], version: object, *, is_redelivered: bool = True, channel: Channel | None = None
) -> Delivery:
    message = Delivered(7, is_redelivered, None, headers)
    counts = counting_headers({"version": version})
    some: Any = channel or Channel()
    none: Any = Acknowledgements()
    return Delivery(message, some, none, counts)


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
    ],
)
def test_the_larger_of_the_brokers_counts_is_believed(
    version: object, headers: Mapping[str, object], returns: int
) -> None:
    """If a broker counts in one header what it no longer counts in the other, then a worker's bound still holds."""
    assert delivery(headers, version).arrival("q").returns == returns
    assert delivery(headers, version, is_redelivered=False).arrival("q").returns == 0


@pytest.mark.parametrize(("has_failed", "how"), [(True, "reject"), (False, "nack")])
async def test_only_what_failed_is_rejected(has_failed: bool, how: str) -> None:
    """If a worker gives messages back as it ends, then that does not count as a failure where the broker can tell."""
    channel = Channel()
    await delivery({}, "4.3.0", channel=channel).give_back(has_failed=has_failed)
    assert channel.said == [(how, 7, True)]
