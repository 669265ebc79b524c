"""Parses server responses as untrusted input; unreadable ones yield `Malformed`, never an error."""

import re
from dataclasses import dataclass

from worker.adapters.imap.encoding import Malformed, decode_mailbox_name

MAX_NUMBER = 2**32 - 1  # RFC 3501 section 9, `number`

_CODE = re.compile(rb"\[([^\s\[\]]{1,64})(?: ([^\]]*))?\]")
_LIST_HEAD = re.compile(rb'LIST +\(([^()]*)\) +(?:NIL|"(\\?[^\r\n])") +', re.IGNORECASE)
_QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\[^\r\n])*)"')
_LITERAL = re.compile(rb"\{(\d{1,10})\}\r\n")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_ATOM = re.compile(rb"[^\s\"(){]+")
_RIGHTS = re.compile(rb"\"?([a-z0-9]{0,36})\"?", re.IGNORECASE)
_STORAGE = re.compile(rb"\bSTORAGE (\d{1,15}) (\d{1,15})(?!\d)", re.IGNORECASE)
_MESSAGES = re.compile(rb"\bMESSAGE (\d{1,15}) (\d{1,15})(?!\d)", re.IGNORECASE)
_FETCH = re.compile(rb"\d{1,10} FETCH \(", re.IGNORECASE)
_BODY = re.compile(rb"BODY\[\] \{(\d{1,10})\}\r\n", re.IGNORECASE)

# Longer responses are not parsed. Each limit is far above what real servers send.
MAX_LISTED_BYTES = 16 * 1024  # of a LIST response
MAX_NAME_BYTES = 4 * 1024  # of a folder's name in it: in modified UTF-7 a letter may have eight
MAX_FOUND = 10_000  # letters with one Message-ID
MAX_QUOTA_BYTES = 4 * 1024  # of a QUOTA or MYRIGHTS response: a folder's name and some words
MAX_CAPABILITY_BYTES = 8 * 1024  # capabilities beyond this are ignored
MAX_CODE_BYTES = 8 * 1024  # of the text searched for a response code
_MAX_FETCH_ITEMS_BYTES = 1_024  # before the message itself: its UID and flags

_NOT_SELECTABLE = frozenset({"\\noselect", "\\nonexistent"})


@dataclass(frozen=True, slots=True)
class ResponseCode:
    """The bracketed code before a reply's text (RFC 3501 section 7.1, RFC 5530); `name` in upper case."""

    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class AppendUid:
    """Where an appended message is (RFC 4315 section 3)."""

    uid_validity: int
    uid: int


@dataclass(frozen=True, slots=True)
class ListedFolder:
    """One folder of a LIST response. `raw` is its wire name, `name` its display name; flags in lower case."""

    name: str
    raw: bytes
    delimiter: str | None
    flags: frozenset[str]

    @property
    def is_selectable(self) -> bool:
        """False for a name that is only a level of the hierarchy."""
        return not self.flags & _NOT_SELECTABLE

    @property
    def exists(self) -> bool:
        """False for a name listed only because it has children or a subscription."""
        return "\\nonexistent" not in self.flags


def mailbox_name(raw: bytes) -> str:
    """Decode a wire name for display. Names that some servers send in plain UTF-8 stay unchanged."""
    name = decode_mailbox_name(raw)
    return raw.decode("utf-8", "replace") if isinstance(name, Malformed) else name


def response_code(text: bytes) -> ResponseCode | None:
    """The response code at the start of a reply's text, if any."""
    match = _CODE.match(text[:MAX_CODE_BYTES])
    if match is None:
        return None
    name, arguments = match.groups(default=b"")
    return ResponseCode(name.decode("ascii", "replace").upper(), arguments.decode("utf-8", "replace"))


def append_uid(code: ResponseCode | None) -> AppendUid | Malformed | None:
    """Parse an APPENDUID code; None for another code, or none."""
    if code is None or code.name != "APPENDUID":
        return None
    numbers = [_number(word) for word in code.arguments.split()]
    if len(numbers) != 2 or not all(numbers):
        return Malformed("APPENDUID without two numbers")
    return AppendUid(*(number for number in numbers if number))


def uid_validity(untagged: bytes) -> int | None:
    """The UIDVALIDITY of the selected folder, if this response carries it."""
    if untagged[:3].upper() != b"OK ":
        return None
    code = response_code(untagged[3:])
    return _number(code.arguments) if code is not None and code.name == "UIDVALIDITY" else None


def _number(word: str) -> int | None:
    """A number from 1 to 2^32-1 in ASCII digits, or None."""
    if not (word.isascii() and word.isdigit() and len(word) <= 10):
        return None
    return int(word) if 1 <= int(word) <= MAX_NUMBER else None


def capabilities(text: bytes) -> frozenset[str]:
    """The capabilities in a CAPABILITY response or code, in upper case."""
    return frozenset(text[:MAX_CAPABILITY_BYTES].decode("ascii", "replace").upper().split())


def search_result(untagged: bytes) -> tuple[int, ...] | Malformed | None:
    """The numbers in a SEARCH response; None for any other response."""
    if untagged[:6].upper() != b"SEARCH":
        return None
    words = untagged[6:].split(maxsplit=MAX_FOUND)
    if len(words) > MAX_FOUND:
        return Malformed(f"SEARCH with more than {MAX_FOUND} numbers")
    numbers = tuple(_number(word.decode("ascii", "replace")) for word in words)
    if untagged[6:7].isdigit() or not all(numbers):
        return Malformed("SEARCH with something else than numbers")
    return tuple(number for number in numbers if number)


def my_rights(untagged: bytes) -> str | None:
    """The rights in a MYRIGHTS response (RFC 4314 section 3.8); None for any other response."""
    if untagged[:9].upper() != b"MYRIGHTS " or len(untagged) > MAX_QUOTA_BYTES:
        return None
    folder, _, rights = untagged[9:].rpartition(b" ")
    match = _RIGHTS.fullmatch(rights)
    return match[1].decode("ascii").lower() if match and folder else None


def quota_free_kib(untagged: bytes) -> int | None:
    """The free STORAGE in a QUOTA response, at least 0; None if the response does not give it.

    Also 0 if the message count is exhausted, whatever the size. The resource list comes last (RFC 9208 section 5.1);
    the root's name before it may contain anything.
    """
    if untagged[:6].upper() != b"QUOTA " or len(untagged) > MAX_QUOTA_BYTES or not untagged.endswith(b")"):
        return None
    resources = untagged.rfind(b"(") + 1
    messages = _MESSAGES.search(untagged, resources)
    if messages is not None and int(messages[1]) >= int(messages[2]):
        return 0
    match = _STORAGE.search(untagged, resources)
    return max(int(match[2]) - int(match[1]), 0) if match else None


def fetched_body(untagged: bytes) -> bytes | None:
    """The whole message in a FETCH response; None for any other response, or a truncated one."""
    items = _FETCH.match(untagged)
    match = _BODY.search(untagged, items.end(), items.end() + _MAX_FETCH_ITEMS_BYTES) if items else None
    if match is None:
        return None
    body = untagged[match.end() : match.end() + int(match[1])]
    return body if len(body) == int(match[1]) else None


def listed_folder(untagged: bytes) -> ListedFolder | Malformed | None:
    """The folder in a LIST response, including literals; None for any other response."""
    if untagged[:5].upper() != b"LIST ":
        return None
    if len(untagged) > MAX_LISTED_BYTES:
        return Malformed("LIST with too much in it")
    head = _LIST_HEAD.match(untagged)
    if head is None:
        return Malformed("LIST without flags and delimiter")
    raw = _string(untagged, head.end())
    if isinstance(raw, Malformed):
        return raw
    if len(raw) > MAX_NAME_BYTES:
        return Malformed("LIST with a name that is too long")
    if _CONTROL.search(raw):
        return Malformed("LIST with control characters in a name")
    flags, delimiter = head.groups()
    return ListedFolder(
        name=mailbox_name(raw),
        raw=raw,  # sent back byte for byte
        delimiter=None if delimiter is None else delimiter[-1:].decode("latin-1"),
        flags=frozenset(flag.lower() for flag in flags.decode("ascii", "replace").split()),
    )


def _string(data: bytes, start: int) -> bytes | Malformed:
    """Parse the quoted string, literal or atom at `start`."""
    if quoted := _QUOTED.match(data, start):
        return re.sub(rb"\\(.)", rb"\1", quoted.group(1))
    if literal := _LITERAL.match(data, start):
        content = data[literal.end() : literal.end() + int(literal.group(1))]
        return content if len(content) == int(literal.group(1)) else Malformed("a literal that ends too early")
    if atom := _ATOM.match(data, start):
        return atom.group()
    return Malformed("neither quoted string, literal nor atom")
