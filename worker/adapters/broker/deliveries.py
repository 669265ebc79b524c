"""Messages out of the frames that bring them: method, header, and the body in as many frames as it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct

from worker.adapters.broker.frames import BODY, DELIVER, HEADER, METHOD, content_header
from worker.adapters.broker.properties import read_properties

_TAG = Struct(">QB")


@dataclass(slots=True)
class Delivered:
    """A message that was delivered."""

    tag: int
    is_redelivered: bool
    content_type: str | None
    headers: Mapping[str, object]
    body: bytes = b""


class Deliveries:
    """Those of one channel, on which only one consumer is; gives each to `take` when it is complete."""

    def __init__(self, take: Callable[[Delivered], None]) -> None:
        self._take = take
        self._tag: tuple[int, bool] | None = None
        self._message: Delivered | None = None
        self._missing_bytes = 0
        self._pieces: list[bytes] = []

    def take(self, kind: int, payload: bytes) -> bool:
        """As `tap.Listener` says. The frames of one message are never mixed with others of its channel."""
        if kind == METHOD and payload.startswith(DELIVER):
            self._tag = _read_tag(payload)
            return True
        if kind == HEADER and self._tag is not None:
            self._begin(self._tag, payload)
            return True
        if kind == BODY and self._message is not None:
            self._go_on(self._message, payload)
            return True
        return False

    def _begin(self, tag: tuple[int, bool], payload: bytes) -> None:
        self._tag = None
        self._missing_bytes, properties = content_header(payload)
        message = Delivered(*tag, *read_properties(properties))
        if self._missing_bytes:
            self._message = message
        else:
            self._take(message)

    def _go_on(self, message: Delivered, payload: bytes) -> None:
        self._missing_bytes -= len(payload)
        if self._missing_bytes > 0:
            self._pieces.append(payload)
            return
        message.body = b"".join((*self._pieces, payload)) if self._pieces else payload
        self._message = None
        self._pieces.clear()
        self._take(message)


def _read_tag(payload: bytes) -> tuple[int, bool]:
    """The delivery's number, and whether it was delivered before; the consumer's name stands before both."""
    name_bytes = payload[len(DELIVER)]
    tag, bits = _TAG.unpack_from(payload, len(DELIVER) + 1 + name_bytes)
    return tag, bool(bits & 1)
