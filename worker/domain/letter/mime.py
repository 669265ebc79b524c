"""MIME parts as bytes (RFC 2045, 2046, 2231): texts, attached files, multiparts. All lines and parts end in CRLF."""

import re
from binascii import b2a_base64
from collections.abc import Sequence
from itertools import chain
from struct import Struct
from urllib.parse import quote

from worker.domain.letter.headers import encoded_words
from worker.domain.letter.media_types import media_type
from worker.domain.letter.model import Attachment

_MAX_LINE_BYTES = 990  # RFC 5322 section 2.1.1 allows 998; some servers count the line end, a dot or a prefix
_BASE64_COLUMNS = 76  # RFC 2045 section 6.8
_AT_A_TIME = 4_096 * 57  # bytes, in whole lines: 57 make one
_MANY_LINES = Struct(f"{_BASE64_COLUMNS}s" * 16)
_CONTROLS_TO_SPACES = bytes(
    ord(" ") if (byte < ord(" ") and byte not in b"\t\r\n") or byte == 0x7F else byte for byte in range(256)
)

_NAME_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Also angle brackets, which Windows forbids in file names, and which some mail programs take for quotes.
_NOT_IN_NAMES = re.compile(r"[/\\<>]")
_QUOTABLE_NAME = re.compile(r"(?!.*=\?)[ -~]+")  # "=?" could be mistaken for the beginning of an encoded word
_MAX_NAME_BYTES = 240  # file systems allow 255
_MAX_EXTENSION_CHARS = 16
_MAX_SEGMENT_CHARS = 50


class Boundaries:
    """Boundaries of one letter, derived from its own token and therefore the same whenever it is composed.

    All begin with `=_` and the token. Base64 never contains `=_`, and a text that contains `stem` is sent as base64,
    so no part can contain a boundary, even when an attacker knows the token.
    """

    def __init__(self, token: str) -> None:
        self.stem = f"=_{token}"
        self.alternative = f"{self.stem}.alternative"
        self.related = f"{self.stem}.related"
        self.mixed = f"{self.stem}.mixed"


def text_part(subtype: str, text: str, boundaries: Boundaries) -> bytes:
    """A text in UTF-8: unencoded when it is ASCII with short enough lines, else in base64."""
    # Search the bytes for controls, which is several times faster; in UTF-8 they are never part of another character.
    data = text.encode("utf-8", "replace").translate(_CONTROLS_TO_SPACES)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = data.rstrip(b"\n")
    body = data.replace(b"\n", b"\r\n") + b"\r\n"
    header = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: ".encode("ascii")
    if data.isascii() and boundaries.stem.encode("ascii") not in data and _has_short_lines(data):
        return header + b"7bit\r\n\r\n" + body
    return header + b"base64\r\n\r\n" + _base64(body)


def attached_part(attachment: Attachment, content: bytes) -> bytes:
    """A file, inline when it has a content ID (RFC 2392).

    `filename` is its name (RFC 2183, RFC 2231). `name` repeats it for programs that do not read RFC 2231: outside
    ASCII in encoded words, which RFC 2047 section 5 does not allow there but nearly all programs read.
    """
    name = file_name(attachment.name)
    header = [
        f"Content-Type: {media_type(attachment.content_type)};",
        *_name_parameter(name),
        "Content-Transfer-Encoding: base64",
        *([f"Content-ID: <{attachment.content_id}>"] if attachment.content_id else ()),
        f"Content-Disposition: {'inline' if attachment.content_id else 'attachment'};",
        *_filename_parameters(name),
        "\r\n",
    ]
    return "\r\n".join(header).encode("ascii") + _base64(content)


def multipart(subtype: str, boundary: str, parts: Sequence[bytes], parameters: str = "") -> bytes:
    """Parts between boundaries; the line break before a boundary belongs to the boundary (RFC 2046 section 5.1.1)."""
    opening = f'Content-Type: multipart/{subtype};{parameters}\r\n boundary="{boundary}"\r\n\r\n'.encode("ascii")
    delimiter = f"--{boundary}\r\n".encode("ascii")
    delimited = [piece for part in parts for piece in (delimiter, part)]
    return b"".join([opening, *delimited, f"--{boundary}--\r\n".encode("ascii")])


def file_name(name: str) -> str:
    """A name that is safe to save under: no path, no control or direction characters, no more than 240 bytes."""
    cleaned = _NOT_IN_NAMES.sub("_", _NAME_CONTROL.sub("", name)).strip()
    if not cleaned.strip("."):
        return "file"
    if len(cleaned.encode()) <= _MAX_NAME_BYTES:
        return cleaned
    stem, dot, extension = cleaned.rpartition(".")
    if not dot or len(extension) > _MAX_EXTENSION_CHARS:
        stem, dot, extension = cleaned, "", ""
    room = _MAX_NAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension


def _has_short_lines(data: bytes) -> bool:
    return len(data) <= _MAX_LINE_BYTES or max(map(len, data.split(b"\n"))) <= _MAX_LINE_BYTES


def _base64(data: bytes) -> bytes:
    """Base64 in lines of 76 columns; large data in chunks, so that other threads run in between."""
    return b"".join([_base64_lines(data[start : start + _AT_A_TIME]) for start in range(0, len(data), _AT_A_TIME)])


def _base64_lines(data: bytes) -> bytes:
    """Split many lines at a time, which halves the time of a large file."""
    encoded = b2a_base64(data, newline=False)
    even = len(encoded) - len(encoded) % _MANY_LINES.size
    lines = list(chain.from_iterable(_MANY_LINES.iter_unpack(encoded[:even])))
    lines += [encoded[start : start + _BASE64_COLUMNS] for start in range(even, len(encoded), _BASE64_COLUMNS)]
    return b"\r\n".join([*lines, b""])


def _name_parameter(name: str) -> list[str]:
    """Lines of the `name` parameter."""
    if _QUOTABLE_NAME.fullmatch(name):
        return [f" name={_quoted(name)}"]
    first, *others = encoded_words(name)
    lines = [f' name="{first}', *(f" {word}" for word in others)]
    lines[-1] += '"'
    return lines


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _filename_parameters(name: str) -> list[str]:
    """Lines of `filename` parameters; the encoded form is continued over lines without breaking a character."""
    if _QUOTABLE_NAME.fullmatch(name):
        return [f" filename={_quoted(name)}"]
    segments = [""]
    for character in name:
        encoded = quote(character, safe="")
        if len(segments[-1]) + len(encoded) > _MAX_SEGMENT_CHARS:
            segments.append("")
        segments[-1] += encoded
    segments[0] = f"utf-8''{segments[0]}"
    if len(segments) == 1:
        return [f" filename*={segments[0]}"]
    last = len(segments) - 1
    return [f" filename*{n}*={segment}{';' if n < last else ''}" for n, segment in enumerate(segments)]
