"""The dead queue's port: looking at messages without taking them away, and taking away what is dealt with."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from worker.delivery.messages import Publication

Publish = Callable[[Publication], Awaitable[None]]
"""Publishes one message; returns when the broker has confirmed it."""


class DeadMessage(Protocol):
    """A message of the dead queue, as the broker keeps it."""

    @property
    def place(self) -> int:
        """Which one it is of those that were taken; the first is 0."""

    @property
    def body(self) -> bytes: ...

    @property
    def headers(self) -> Mapping[str, object]:
        """Headers with the values that AMQP gave them."""

    @property
    def properties(self) -> Mapping[str, object]:
        """AMQP properties that are set, by their names in the specification, without the headers."""


class DeadLetterWindow(Protocol):
    """Messages taken out of the queue for a while, in the queue's order.

    Each message that was given must be settled or kept: how many are given ahead depends on it.
    """

    def __aiter__(self) -> "DeadLetterWindow": ...

    async def __anext__(self) -> DeadMessage:
        """The next message. Raises `Unavailable` when the broker is lost."""

    def keep(self, message: DeadMessage) -> None:
        """It stays in the queue: it goes back, with all the others, at the end of the taking."""

    async def settle(self, message: DeadMessage) -> None:
        """It leaves the queue for good. Raises `Unavailable` when the broker is lost: then it is still there."""


class DeadQueue(Protocol):
    """The queue of what nobody could read or handle."""

    async def size(self) -> int:
        """How many messages are there, without those that somebody else has taken just now."""

    def take(self, at_most: int) -> AbstractAsyncContextManager[DeadLetterWindow]:
        """Take so many of the messages, or all if there are fewer; what is not settled returns in its order.

        Messages are taken for a while only: see to it that it is well below 30 minutes, when the broker takes them
        back by itself.
        """
