"""What the broker says of the messages that are published on one channel."""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from struct import Struct

from aiormq.exceptions import ChannelInvalidStateError
from pamqp.header import ContentHeader

from worker.adapters.broker.frames import ACK, BODY, CHANNEL_CLOSE, HEADER, METHOD, NACK, RETURN

_TAG = Struct(">QB")
_MULTIPLE = 1


class Fate(Enum):
    """What became of a published message."""

    CONFIRMED = auto()
    RETURNED = auto()
    """No queue takes it."""
    REFUSED = auto()
    """The broker could not keep it: it is to be published again."""


@dataclass(slots=True)
class _Pending:
    message_id: str
    fate: "asyncio.Future[Fate]"
    until_s: float
    is_returned: bool = False


class Confirms:
    """Those of one channel in confirm mode, on which nobody else publishes.

    A returned message comes before its confirmation and without its number: it is found by its id.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pending: dict[int, _Pending] = {}  # the oldest first
        self._published = 0
        self._loop = asyncio.get_running_loop()
        self._look: asyncio.TimerHandle | None = None
        self._is_return = False
        self.is_lost = False

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    def published(self, message_id: str) -> "asyncio.Future[Fate]":
        """Take note of the next message on the channel; gives its fate, or what keeps it from being known.

        Raises:
            ChannelInvalidStateError: the channel is gone.
        """
        if self.is_lost:
            raise ChannelInvalidStateError("the channel is closed")
        fate: asyncio.Future[Fate] = self._loop.create_future()
        self._published += 1  # the broker counts from 1
        until_s = self._loop.time() + self._timeout_s
        self._pending[self._published] = _Pending(message_id, fate, until_s)
        if self._look is None:
            self._look = self._loop.call_at(until_s, self._end_waiting)
        return fate

    def lose(self) -> None:
        """The channel is gone: nobody will ever say."""
        self.is_lost = True
        pending, self._pending = self._pending, {}
        for each in pending.values():
            if not each.fate.done():
                each.fate.set_exception(ChannelInvalidStateError("the channel was closed"))
        if self._look is not None:
            self._look.cancel()

    def take(self, kind: int, payload: bytes) -> bool:
        """As `tap.Listener` says."""
        if kind == METHOD:
            return self._take_method(payload)
        if not self._is_return or kind not in (HEADER, BODY):
            return False
        if kind == HEADER:
            self._note_return(payload)
        return True

    def _take_method(self, payload: bytes) -> bool:
        method = payload[:4]
        self._is_return = method == RETURN
        if method == ACK:
            self._tell(payload, Fate.CONFIRMED)
        elif method == NACK:
            self._tell(payload, Fate.REFUSED)
        elif method == CHANNEL_CLOSE:
            self.lose()  # at once: a frame after the library's answer to it would cost the connection
        return self._is_return or method in (ACK, NACK)

    def _tell(self, payload: bytes, fate: Fate) -> None:
        last, bits = _TAG.unpack_from(payload, len(ACK))
        tags = [tag for tag in self._pending if tag <= last] if bits & _MULTIPLE else [last]
        for tag in tags:
            pending = self._pending.pop(tag, None)
            if pending is not None and not pending.fate.done():
                pending.fate.set_result(Fate.RETURNED if pending.is_returned else fate)

    def _note_return(self, payload: bytes) -> None:
        header = ContentHeader()
        header.unmarshal(payload)
        for pending in self._pending.values():
            if pending.message_id == header.properties.message_id:
                pending.is_returned = True
                return

    def _end_waiting(self) -> None:
        """Tell those who have waited too long; one timer for all, at the time of the oldest."""
        self._look = None
        for pending in list(self._pending.values()):
            if pending.until_s > self._loop.time():
                self._look = self._loop.call_at(pending.until_s, self._end_waiting)
                return
            if not pending.fate.done():
                pending.fate.set_exception(TimeoutError("the broker does not confirm"))
