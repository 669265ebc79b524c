"""A message of the work queue as a text that a fuzzer can change: header lines, an empty line, the body."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """What AMQP gives: headers, content type, body."""

    headers: dict[str, object]
    content_type: str | None
    body: bytes


def read_message(data: bytes) -> Message:
    """Lines of `name: value` up to the first empty one are headers, but `content-type` is the property of that name.

    A value that is no UTF-8 stays bytes, as the AMQP library leaves it.
    """
    head, _, body = data.partition(b"\n\n")
    headers: dict[str, object] = {}
    content_type = None
    for line in head.split(b"\n"):
        name, colon, raw = line.partition(b":")
        if not colon:
            continue
        value = _text(raw.strip(b" "))
        if name == b"content-type":
            content_type = value if isinstance(value, str) else None
        else:
            headers[name.decode("utf-8", "replace")[:255]] = value
    return Message(headers, content_type, body)


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
