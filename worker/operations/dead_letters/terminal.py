"""Makes foreign text and bytes safe for a terminal, without control sequences: anyone can write a dead letter."""

import json
from collections.abc import Iterator

_DUMPED_BYTES = 4_096
_DUMP_WIDTH = 16


def printable(text: str) -> str:
    """Keep line breaks and tabs; escape everything else that is not visible, as Python does."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def printable_line(text: str) -> str:
    """The same on one line: line breaks are escaped too, so no text can forge a line of output."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def json_line(value: object) -> str:
    """JSON on one line, readable in every script; invisible characters are escaped, which keeps the value the same."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def json_text(value: object) -> str:
    """The same, indented over several lines."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def hexdump(data: bytes, at_most: int = _DUMPED_BYTES) -> str:
    """Hex dump of the first `at_most` bytes: offset, hexadecimal and ASCII, sixteen bytes a line."""
    lines = list(_dumped(data[:at_most]))
    if len(data) > at_most:
        lines.append(f"… {len(data) - at_most} more bytes; --json and `export` have all of them")
    return "\n".join(lines)


def _dumped(data: bytes) -> Iterator[str]:
    for offset in range(0, len(data), _DUMP_WIDTH):
        line = data[offset : offset + _DUMP_WIDTH]
        visible = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{offset:08x}  {line.hex(' '):<{3 * _DUMP_WIDTH}} |{visible}|"


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
