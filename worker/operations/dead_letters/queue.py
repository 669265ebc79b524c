"""The dead queue's port: inspects messages in place, and removes those that were handled."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from worker.delivery.messages import Publication

Publish = Callable[[Publication], Awaitable[None]]
"""Publishes one message; returns once the broker has confirmed it."""


class DeadMessage(Protocol):
    """A message in the dead queue, as the broker stores it."""

    @property
    def place(self) -> int:
        """Index among the messages taken, from 0."""

    @property
    def body(self) -> bytes: ...

    @property
    def headers(self) -> Mapping[str, object]:
        """Headers with their AMQP values."""

    @property
    def properties(self) -> Mapping[str, object]:
        """AMQP properties that are set, by their names in the specification; excludes the headers."""


class DeadLetterWindow(Protocol):
    """Messages held for a limited time, in queue order.

    Every message received must be settled or kept: that decides how many are prefetched.
    """

    def __aiter__(self) -> "DeadLetterWindow": ...

    async def __anext__(self) -> DeadMessage:
        """The next message. Raises `Unavailable` when the broker is lost."""

    def keep(self, message: DeadMessage) -> None:
        """Leave the message in the queue; it returns with all others when the window closes."""

    async def settle(self, message: DeadMessage) -> None:
        """Remove the message for good. Raises `Unavailable` when the broker is lost; the message then stays queued."""


class DeadQueue(Protocol):
    """The queue of messages that could not be read or handled."""

    async def size(self) -> int:
        """Number of messages in the queue, excluding those that another consumer holds."""

    def take(self, at_most: int) -> AbstractAsyncContextManager[DeadLetterWindow]:
        """Take up to `at_most` messages; those not settled return to the queue in order.

        Hold them for well under 30 minutes, after which the broker requeues them by itself.
        """
