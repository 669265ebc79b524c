"""Acknowledging what was taken from a queue: those of one turn of the event loop together, in as few frames as can be.

The library builds, queues and drains a frame for every acknowledgement, which costs more than reading the message did.
"""

import asyncio
from struct import Struct

from aiormq import Channel
from aiormq.abc import ChannelFrame
from aiormq.exceptions import ChannelInvalidStateError

# AMQP 0-9-1, section 4.2.3: type (1: method), channel, size; class 60, method 80 (basic.ack); tag, multiple; frame end.
_FRAME = Struct(">BHIHHQBB")
_METHOD, _SIZE, _BASIC, _ACK, _END = 1, 13, 60, 80, 0xCE
_FULL_WAIT_S = 0.005


class Acknowledgements:
    """Those of one channel, on which nobody else settles."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
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
            written = asyncio.get_running_loop().create_future()
            await self._channel.write_queue.put(ChannelFrame(self._frames(), should_close=False, drain_future=written))
            await written

    def _write(self) -> None:
        if not self._waiting or self._channel.is_closed:
            return  # those of a closed channel come again; the ledger knows what was done
        if self._channel.write_queue.full():
            asyncio.get_running_loop().call_later(_FULL_WAIT_S, self._write)
        else:
            self._channel.write_queue.put_nowait(ChannelFrame(self._frames(), should_close=False))

    def _frames(self) -> bytes:
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
        return b"".join(frames)

    def _frame(self, tag: int, *, is_multiple: bool = False) -> bytes:
        return _FRAME.pack(_METHOD, self._channel.number, _SIZE, _BASIC, _ACK, tag, is_multiple, _END)
