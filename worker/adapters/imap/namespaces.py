"""Determines the mailbox's own folders and their prefix from NAMESPACE (RFC 2342)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from worker.adapters.imap.encoding import Malformed

MAX_NAMESPACE_BYTES = 8 * 1024  # of a response; servers have some prefixes of a few dozen bytes
MAX_NAMESPACES = 100  # of one kind; no server has as many

_INBOX = b"INBOX"
_TOKEN = re.compile(rb'\s*(?:(\()|(\))|(NIL)|"((?:[^"\\\r\n]|\\[^\r\n])*)"|\{(\d{1,10})\}\r\n)', re.IGNORECASE)

_Token = bytes | None | str
"""A string, NIL, or one of the two parentheses."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """The prefix of its folder names on the wire, and the hierarchy delimiter; None: it has no levels."""

    prefix: bytes = b""
    delimiter: bytes | None = None

    @property
    def start(self) -> bytes:
        """The prefix of folders below it; some servers omit the trailing delimiter."""
        if not self.prefix or self.delimiter is None or self.prefix.endswith(self.delimiter):
            return self.prefix
        return self.prefix + self.delimiter

    def holds(self, raw: bytes) -> bool:
        """Whether a wire name is in the namespace, or is its top folder."""
        name, start = folded(raw), folded(self.start)
        return name.startswith(start) or name + (self.delimiter or b"") == start


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The mailbox's own namespaces, the first of which is for new folders, and other users' and shared ones.

    Without any, as on a server that does not announce them, every folder is the mailbox's own.
    """

    personal: tuple[Namespace, ...] = ()
    foreign: tuple[Namespace, ...] = ()

    def is_own(self, raw: bytes) -> bool:
        """Whether a folder is the mailbox's own: the longest matching prefix decides, own ones first among equals."""
        if raw.upper() == _INBOX:
            return True
        own = max((len(each.start) for each in self.personal or (Namespace(),) if each.holds(raw)), default=-1)
        others = max((len(each.start) for each in self.foreign if each.holds(raw)), default=-1)
        return own >= 0 and own >= others

    def is_named_foreign(self, raw: bytes) -> bool:
        """Whether a name's prefix marks the folder as another user's, or shared."""
        return not self.is_own(raw) and any(each.start and each.holds(raw) for each in self.foreign)


def folded(raw: bytes) -> bytes:
    """Normalise a wire name for comparison: INBOX is case-insensitive (RFC 3501 section 5.1)."""
    return _INBOX + raw[len(_INBOX) :] if raw[: len(_INBOX)].upper() == _INBOX else raw


def own_names(namespaces: Namespaces, raw: bytes, inbox_delimiter: bytes | None) -> Iterator[bytes]:
    """Possible wire names, among the mailbox's own, for a folder in the settings, likeliest first.

    Settings may name it with or without the prefix, and with `/` if mail programs show that between levels. The last
    ones are for servers that keep all folders below INBOX without announcing it.
    """
    if raw.upper() == _INBOX or namespaces.is_named_foreign(raw):
        yield raw
        return
    if namespaces.is_own(raw):
        yield raw
    delimiters = {each.delimiter for each in namespaces.personal} | {inbox_delimiter}
    for spelled in _spellings(raw, delimiters):
        if namespaces.is_own(spelled):
            yield spelled
        yield from (each.start + spelled for each in namespaces.personal)
        if inbox_delimiter is not None and not folded(spelled).startswith(_INBOX + inbox_delimiter):
            yield _INBOX + inbox_delimiter + spelled


def _spellings(raw: bytes, delimiters: Iterable[bytes | None]) -> Iterator[bytes]:
    yield raw
    for delimiter in delimiters:
        if delimiter is not None and delimiter != b"/" and b"/" in raw:
            yield raw.replace(b"/", delimiter)


def namespaces(untagged: bytes) -> Namespaces | Malformed | None:
    """Parse a NAMESPACE response; None for any other response."""
    if untagged[:10].upper() != b"NAMESPACE ":
        return None
    if len(untagged) > MAX_NAMESPACE_BYTES:
        return Malformed("NAMESPACE with too much in it")
    tokens = list(_tokens(untagged[10:]))
    kinds: list[tuple[Namespace, ...]] = []
    position = 0
    while len(kinds) < 3:
        kind = _kind(tokens, position)
        if kind is None:
            return Malformed("NAMESPACE without three lists of prefixes")
        found, position = kind
        kinds.append(found)
    personal, *others = kinds
    return Namespaces(personal, tuple(each for kind in others for each in kind))


def _tokens(data: bytes) -> Iterator[_Token]:
    position = 0
    while match := _TOKEN.match(data, position):
        opening, closing, nil, quoted, literal = match.groups()
        position = match.end()
        if opening or closing:
            yield "(" if opening else ")"
        elif nil:
            yield None
        elif literal is not None:
            yield data[position : position + int(literal)]
            position += int(literal)
        else:
            yield re.sub(rb"\\(.)", rb"\1", quoted)


def _kind(tokens: list[_Token], position: int) -> tuple[tuple[Namespace, ...], int] | None:
    """Parse one of the three lists; also returns the position of the next."""
    if tokens[position : position + 1] == [None]:
        return (), position + 1
    if tokens[position : position + 1] != ["("]:
        return None
    found: list[Namespace] = []
    position += 1
    while tokens[position : position + 1] == ["("] and len(found) < MAX_NAMESPACES:
        prefix, delimiter = (*tokens[position + 1 : position + 3], "", "")[:2]
        if not isinstance(prefix, bytes) or not (delimiter is None or isinstance(delimiter, bytes)):
            return None
        found.append(Namespace(prefix, delimiter or None))
        after = _after(tokens, position)
        if after is None:
            return None
        position = after
    return (tuple(found), position + 1) if tokens[position : position + 1] == [")"] else None


def _after(tokens: list[_Token], position: int) -> int | None:
    """The position after the list that begins at `position`; RFC 2342 extensions may contain nested lists."""
    depth = 0
    for index in range(position, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[index], 0) if isinstance(tokens[index], str) else 0  # type: ignore[arg-type]
        if depth == 0:
            return index + 1
    return None
