"""Frames of AMQP 0-9-1 that are read and written without the library: those that every letter needs.

The library builds an object of each frame, field by field, and passes it through several queues and tasks.
"""

from functools import lru_cache
from struct import Struct

HEAD = Struct(">BHI")  # section 4.2.3: type, channel, size of the payload, which one byte more follows
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
AROUND = HEAD.size + 1  # how much longer a frame is than its payload
A_HEARTBEAT = HEAD.pack(HEARTBEAT, 0, 0) + bytes((END,))

_METHOD_ID = Struct(">HH")
_CONTENT = Struct(">HHQ")  # section 4.2.6.1: class, weight, size of the body
_END = bytes((END,))
_MAX_SHORT_BYTES = 255
_BASIC, _PUBLISH, _ACK = 60, 40, 80
_MANDATORY = 1
_ACKNOWLEDGEMENT = Struct(">HHQB")

DELIVER = _METHOD_ID.pack(_BASIC, 60)
RETURN = _METHOD_ID.pack(_BASIC, 50)
ACK = _METHOD_ID.pack(_BASIC, _ACK)
NACK = _METHOD_ID.pack(_BASIC, 120)
CHANNEL_CLOSE = _METHOD_ID.pack(20, 40)
"""How the payload of a method begins."""


def fits_short_string(text: str) -> bool:
    """Whether AMQP takes the text as a property, for example: at most 255 bytes of UTF-8."""
    return len(text) <= _MAX_SHORT_BYTES // 4 or len(text.encode()) <= _MAX_SHORT_BYTES


def short_string(text: str) -> bytes:
    """A text of at most 255 bytes, its length first. Raises `ValueError` when it is longer."""
    data = text.encode()
    if len(data) > _MAX_SHORT_BYTES:
        raise ValueError("a short string has at most 255 bytes")
    return bytes((len(data),)) + data


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """One frame."""
    return HEAD.pack(kind, channel, len(payload)) + payload + _END


@lru_cache(maxsize=256)  # exchanges and routing keys are few
def publish_frame(channel: int, exchange: str, routing_key: str) -> bytes:
    """`basic.publish`, mandatory: what no queue takes comes back."""
    return frame(
        METHOD,
        channel,
        b"".join(
            (
                _METHOD_ID.pack(_BASIC, _PUBLISH),
                b"\0\0",  # reserved
                short_string(exchange),
                short_string(routing_key),
                bytes((_MANDATORY,)),
            )
        ),
    )


def content_frames(channel: int, properties: bytes, body: bytes, max_payload: int) -> list[bytes]:
    """Header and body of a message; `properties` as a header has them. `max_payload`: of one frame, in bytes."""
    header = frame(HEADER, channel, _CONTENT.pack(_BASIC, 0, len(body)) + properties)
    if len(body) <= max_payload:
        return [header, frame(BODY, channel, body)] if body else [header]
    pieces = (body[at : at + max_payload] for at in range(0, len(body), max_payload))
    return [header, *(frame(BODY, channel, piece) for piece in pieces)]


def acknowledgement_frame(channel: int, tag: int, *, is_multiple: bool = False) -> bytes:
    """`basic.ack`; `is_multiple`: of all up to this tag."""
    return frame(METHOD, channel, _ACKNOWLEDGEMENT.pack(_BASIC, _ACK, tag, is_multiple))


def content_header(payload: bytes) -> tuple[int, bytes]:
    """The size of the body, and the properties, of the header before it. Raises `struct.error` when it is cut off."""
    _, _, size = _CONTENT.unpack_from(payload)
    return size, payload[_CONTENT.size :]
