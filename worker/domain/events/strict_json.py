"""JSON from outside, parsed strictly: anything that two parsers could understand differently is refused.

The limits of depth and number of values are our own, because Python's differ between versions, and because the number
of values costs more time than the length of a text. They are checked before anything is decoded.
"""

import json
import re
from codecs import BOM_UTF8
from collections import Counter
from typing import Any, NoReturn

from pydantic_core import from_json

from worker.domain.text import one_line
from worker.errors import InvalidEvent

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
# A thousand recipients with five members each, two hundred files and a hundred references are some 7,000.
MAX_VALUES = 25_000
_BEGINNING_BYTES = 64 * 1024
MAX_NUMBER_CHARS = 4_300  # parsing one is quadratic; Python by itself refuses longer ones, but only integers

# Neither branch backtracks, whatever follows, and a step is short: the cost is linear in the text's length.
_BETWEEN_TEXTS = re.compile(r'[^"\[\]{},]*+(["\[\]{},]?)')
_IN_TEXT = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+){0,1000}("?)', re.DOTALL)


class Unbounded(ValueError):
    """JSON that is deeper, or has more values, than allowed; the text says which."""


def read_json(body: bytes) -> object:
    """Parse the JSON value in the body.

    Raises:
        InvalidEvent: when it is not JSON, too large, too deep, not UTF-8, or has a duplicate key in an object.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidEvent(f"body: {len(body)} bytes, more than {MAX_BODY_BYTES}")
    try:
        text = body.removeprefix(BOM_UTF8).decode()
        require_bounded(text)
        return _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise InvalidEvent(f"body: not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise InvalidEvent(f"body: not JSON at line {error.lineno} column {error.colno}: {error.msg}") from None
    except Unbounded as error:
        raise InvalidEvent(f"body: {error}") from None


def read_any_json(text: str) -> object:
    """Parse the JSON value in the text, duplicate keys included; within the same limits.

    Raises:
        ValueError: it is not JSON, is too deep, or has too many values.
    """
    require_bounded(text)
    return _LENIENT.decode(text)


def read_what_can_be(body: bytes) -> object:
    """Parse the JSON value in the body; beyond the limits, as much of it as its first 64 kB contain.

    None when it is not JSON. An event refused for its size still needs a result that identifies it.
    """
    if len(body) <= MAX_BODY_BYTES:
        try:
            return read_any_json(body.decode("utf-8-sig"))
        except Unbounded:
            pass
        except ValueError:
            return None
    try:
        return from_json(body[:_BEGINNING_BYTES].decode("utf-8-sig", "ignore"), allow_partial=True)
    except ValueError:
        return None


def require_bounded(text: str) -> None:
    """Raise `Unbounded` for a text that, if it were JSON, would be deeper or have more values than allowed."""
    opening = text.count("[") + text.count("{")
    # A fast upper bound, which counts characters inside strings too, settles most texts.
    if opening <= MAX_DEPTH and opening + text.count(",") <= MAX_VALUES:
        return
    at = depth = values = 0
    while at < len(text):
        found = _BETWEEN_TEXTS.match(text, at)
        mark, at = (found[1], found.end()) if found else ("", len(text))
        if mark == '"':
            at = _end_of_text(text, at)
        elif mark in ("]", "}"):
            depth -= 1
        elif mark:
            values += 1
            depth += mark != ","
            if depth > MAX_DEPTH:
                raise Unbounded("nested too deeply")
            if values > MAX_VALUES:
                raise Unbounded(f"more than {MAX_VALUES} values")


def _end_of_text(text: str, at: int) -> int:
    while found := _IN_TEXT.match(text, at):
        if found[1] or found.end() == at:
            return max(found.end(), at + 1)
        at = found.end()
    return len(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Parsers disagree about which of two equal keys counts, so the event's meaning would be ambiguous.
    found = dict(pairs)
    if len(found) != len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise InvalidEvent(f"body: the key {one_line(repeated[:60])!r} stands twice in one object")
    return found


def _whole(digits: str) -> int:
    return int(_short(digits))


def _fraction(digits: str) -> float:
    return float(_short(digits))


def _short(digits: str) -> str:
    if len(digits) > MAX_NUMBER_CHARS:
        raise Unbounded("a number with too many digits")
    return digits


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidEvent(f"body: {name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_whole, parse_float=_fraction, parse_constant=_refuse_constant
)
_LENIENT = json.JSONDecoder(parse_int=_whole, parse_float=_fraction)
