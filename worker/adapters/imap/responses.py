"""What comes in: a server's responses, parsed without trust; what cannot be read gives `Malformed`, never an error."""

import re
from dataclasses import dataclass

from worker.adapters.imap.wire import Malformed, decode_mailbox_name

MAX_NUMBER = 2**32 - 1  # RFC 3501 section 9, `number`

_CODE = re.compile(rb"\[([^\s\[\]]{1,64})(?: ([^\]]*))?\]")
_LIST_HEAD = re.compile(rb'LIST +\(([^()]*)\) +(?:NIL|"(\\?[^\r\n])") +', re.IGNORECASE)
_QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\[^\r\n])*)"')
_LITERAL = re.compile(rb"\{(\d{1,10})\}\r\n")
_ATOM = re.compile(rb"[^\s\"(){]+")
_NUMBERS = re.compile(rb"SEARCH((?: +\d{1,10})*) *", re.IGNORECASE)
_RIGHTS = re.compile(rb"MYRIGHTS .+? \"?([a-z0-9]{0,36})\"?", re.IGNORECASE | re.DOTALL)
_STORAGE = re.compile(rb"QUOTA .*\(.*\bSTORAGE (\d{1,15}) (\d{1,15})\b.*\)", re.IGNORECASE | re.DOTALL)
_MESSAGES = re.compile(rb"QUOTA .*\(.*\bMESSAGE (\d{1,15}) (\d{1,15})\b.*\)", re.IGNORECASE | re.DOTALL)
_BODY = re.compile(rb"\d{1,10} FETCH \(.*?BODY\[\] \{(\d{1,10})\}\r\n", re.IGNORECASE | re.DOTALL)
_NOT_SELECTABLE = frozenset({"\\noselect", "\\nonexistent"})


@dataclass(frozen=True, slots=True)
class ResponseCode:
    """What stands in brackets before a reply's text (RFC 3501 section 7.1, RFC 5530); `name` in upper case."""

    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class AppendUid:
    """Where an appended message is (RFC 4315 section 3)."""

    uid_validity: int
    uid: int


@dataclass(frozen=True, slots=True)
class ListedFolder:
    """One folder of a LIST response. `raw` is its name on the wire, `name` the same for people; flags in lower case."""

    name: str
    raw: bytes
    delimiter: str | None
    flags: frozenset[str]

    @property
    def is_selectable(self) -> bool:
        """False for a name that is only a step in the hierarchy."""
        return not self.flags & _NOT_SELECTABLE

    @property
    def exists(self) -> bool:
        """False for a name that is listed only because something stands below it, or was subscribed."""
        return "\\nonexistent" not in self.flags


def mailbox_name(raw: bytes) -> str:
    """A name on the wire as people read it. Some servers send names in plain UTF-8: shown as they are."""
    name = decode_mailbox_name(raw)
    return raw.decode("utf-8", "replace") if isinstance(name, Malformed) else name


def response_code(text: bytes) -> ResponseCode | None:
    """The response code that a reply's text begins with, if it does."""
    match = _CODE.match(text)
    if match is None:
        return None
    name, arguments = match.groups(default=b"")
    return ResponseCode(name.decode("ascii", "replace").upper(), arguments.decode("utf-8", "replace"))


def append_uid(code: ResponseCode | None) -> AppendUid | Malformed | None:
    """What an APPENDUID code says; None when it is another code, or none."""
    if code is None or code.name != "APPENDUID":
        return None
    numbers = [_number(word) for word in code.arguments.split()]
    if len(numbers) != 2 or not all(numbers):
        return Malformed("APPENDUID without two numbers")
    return AppendUid(*(number for number in numbers if number))


def uid_validity(untagged: bytes) -> int | None:
    """The UIDVALIDITY of a selected folder, when this is the response that tells it."""
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
    """The words of a CAPABILITY response or code, in upper case."""
    return frozenset(word.upper() for word in text.decode("ascii", "replace").split())


def search_result(untagged: bytes) -> tuple[int, ...] | Malformed | None:
    """The numbers of a SEARCH response; None when it is another response."""
    if untagged[:6].upper() != b"SEARCH":
        return None
    match = _NUMBERS.fullmatch(untagged)
    if match is None:
        return Malformed("SEARCH with something else than numbers")
    numbers = tuple(int(word) for word in match.group(1).split())
    return numbers if all(1 <= number <= MAX_NUMBER for number in numbers) else Malformed("SEARCH out of range")


def my_rights(untagged: bytes) -> str | None:
    """The rights that a MYRIGHTS response tells (RFC 4314 section 3.8); None when it is another response."""
    match = _RIGHTS.fullmatch(untagged)
    return match[1].decode("ascii").lower() if match else None


def quota_free_kib(untagged: bytes) -> int | None:
    """What a QUOTA response says is left of its STORAGE, not below 0; None when it says nothing of it.

    None is left either where no more messages may be added, whatever their size.
    """
    messages = _MESSAGES.fullmatch(untagged)
    if messages is not None and int(messages[1]) >= int(messages[2]):
        return 0
    match = _STORAGE.fullmatch(untagged)
    return max(int(match[2]) - int(match[1]), 0) if match else None


def fetched_body(untagged: bytes) -> bytes | None:
    """The whole message in a FETCH response; None when it is another response, or cut off."""
    match = _BODY.match(untagged)
    if match is None:
        return None
    body = untagged[match.end() : match.end() + int(match[1])]
    return body if len(body) == int(match[1]) else None


def listed_folder(untagged: bytes) -> ListedFolder | Malformed | None:
    """The folder of a LIST response, its literals included; None when it is another response."""
    if untagged[:5].upper() != b"LIST ":
        return None
    head = _LIST_HEAD.match(untagged)
    if head is None:
        return Malformed("LIST without flags and delimiter")
    raw = _string(untagged, head.end())
    if isinstance(raw, Malformed):
        return raw
    if any(byte < 0x20 or byte == 0x7F for byte in raw):
        return Malformed("LIST with control characters in a name")
    flags, delimiter = head.groups()
    return ListedFolder(
        name=mailbox_name(raw),
        raw=raw,  # sent back byte for byte
        delimiter=None if delimiter is None else delimiter[-1:].decode("latin-1"),
        flags=frozenset(flag.lower() for flag in flags.decode("ascii", "replace").split()),
    )


def _string(data: bytes, start: int) -> bytes | Malformed:
    """A quoted string, a literal or an atom that begins at `start`."""
    if quoted := _QUOTED.match(data, start):
        return re.sub(rb"\\(.)", rb"\1", quoted.group(1))
    if literal := _LITERAL.match(data, start):
        content = data[literal.end() : literal.end() + int(literal.group(1))]
        return content if len(content) == int(literal.group(1)) else Malformed("a literal that ends too early")
    if atom := _ATOM.match(data, start):
        return atom.group()
    return Malformed("neither quoted string, literal nor atom")
