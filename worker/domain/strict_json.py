"""JSON from outside, read strictly: what two parsers could understand differently is refused."""

import json
from codecs import BOM_UTF8
from collections import Counter
from typing import Any, NoReturn

from worker.domain.text import one_line
from worker.errors import InvalidEvent

MAX_BODY_BYTES = 16 * 1024 * 1024


def read_json(body: bytes) -> object:
    """The JSON value in the body.

    Raises:
        InvalidEvent: when it is no JSON, too large, too deep, not UTF-8, or has a key twice in one object.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidEvent(f"body: {len(body)} bytes, more than {MAX_BODY_BYTES}")
    try:
        return _DECODER.decode(body.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        raise InvalidEvent(f"body: not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise InvalidEvent(f"body: not JSON at line {error.lineno} column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise InvalidEvent("body: nested too deeply") from None
    except ValueError:
        raise InvalidEvent("body: a number with too many digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Parsers disagree about which of two equal keys counts, so nobody could say what such an event means.
    found = dict(pairs)
    if len(found) != len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise InvalidEvent(f"body: the key {one_line(repeated[:60])!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidEvent(f"body: {name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
