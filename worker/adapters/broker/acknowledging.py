"""Acknowledging what was taken from a queue: those of one turn of the event loop together, in as few frames as can be.

The library builds, queues and drains a frame for every acknowledgement, which costs more than reading the message did.
"""

import asyncio

from aiormq import Channel
from aiormq.exceptions import ChannelInvalidStateError

from worker.adapters.broker.frames import acknowledgement_frame
from worker.adapters.broker.tap import Tap


class Acknowledgements:
    """Those of one channel, on which nobody else settles."""

    def __init__(self, channel: Channel, tap: Tap) -> None:
        self._channel = channel
        self._tap = tap
        self._settled: set[int] = set()  # above the first tag that is not settled
        self._first_unsettled = 1  # tags are counted from 1 (section 4.1)
        self._waiting: list[int] = []

    def add(self, tag: int) -> None:
        """Acknowledge one delivery, soon. Raises `ChannelInvalidStateError` when its channel is gone."""
        if self._channel.is_closed:
            raise ChannelInvalidStateError("the channel is closed")
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append(tag)

    def returned(self, tag: int) -> None:
        """Take note of one that was given back instead."""
        self._settled.add(tag)

    async def flush(self) -> None:
        """Write what is still to be written, and wait until the network has taken it."""
        if not self._channel.is_closed:
            self._write()
            await self._tap.drain()

    def _write(self) -> None:
        if self._waiting and not self._channel.is_closed:  # those of a closed one come again; the ledger knows them
            self._tap.write(*self._frames())

    def _frames(self) -> list[bytes]:
        waiting, self._waiting = self._waiting, []
        self._settled.update(waiting)
        while self._first_unsettled in self._settled:
            self._settled.remove(self._first_unsettled)
            self._first_unsettled += 1
        frames = [self._frame(tag) for tag in waiting if tag >= self._first_unsettled]
        below = [tag for tag in waiting if tag < self._first_unsettled]
        if below:
            # The highest of them, not of all below: the broker closes the channel over a tag that was given back.
            frames.append(self._frame(max(below), is_multiple=True))
        return frames

    def _frame(self, tag: int, *, is_multiple: bool = False) -> bytes:
        return acknowledgement_frame(self._channel.number, tag, is_multiple=is_multiple)
