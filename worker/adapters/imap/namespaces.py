"""Which folders are the mailbox's own, and under which prefix it has them: NAMESPACE (RFC 2342)."""

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
    """What its folders' names begin with, on the wire, and what stands between levels; None: it has no levels."""

    prefix: bytes = b""
    delimiter: bytes | None = None

    @property
    def start(self) -> bytes:
        """The prefix of folders below it; some servers leave out the delimiter at its end."""
        if not self.prefix or self.delimiter is None or self.prefix.endswith(self.delimiter):
            return self.prefix
        return self.prefix + self.delimiter

    def holds(self, raw: bytes) -> bool:
        """Whether a folder's name on the wire is in it, or is the folder on top of it."""
        name, start = folded(raw), folded(self.start)
        return name.startswith(start) or name + (self.delimiter or b"") == start


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The mailbox's own namespaces, the first of which is where it makes folders, and those of others or of all.

    Without any, as before a server that does not tell: every folder is the mailbox's own.
    """

    personal: tuple[Namespace, ...] = ()
    foreign: tuple[Namespace, ...] = ()

    def is_own(self, raw: bytes) -> bool:
        """Whether a folder is the mailbox's own: by the longest prefix that fits, and its own among equal ones."""
        if raw.upper() == _INBOX:
            return True
        own = max((len(each.start) for each in self.personal or (Namespace(),) if each.holds(raw)), default=-1)
        others = max((len(each.start) for each in self.foreign if each.holds(raw)), default=-1)
        return own >= 0 and own >= others

    def is_named_foreign(self, raw: bytes) -> bool:
        """Whether a name says by its own prefix that the folder is another user's, or shared."""
        return not self.is_own(raw) and any(each.start and each.holds(raw) for each in self.foreign)


def folded(raw: bytes) -> bytes:
    """A name on the wire for comparing: INBOX may be written in any case (RFC 3501 section 5.1)."""
    return _INBOX + raw[len(_INBOX) :] if raw[: len(_INBOX)].upper() == _INBOX else raw


def own_names(namespaces: Namespaces, raw: bytes, inbox_delimiter: bytes | None) -> Iterator[bytes]:
    """The names on the wire that a folder of the settings may have among the mailbox's own, the likeliest first.

    Settings name it with or without the prefix, and with `/` where mail programs show that between levels. The last
    are for servers that have all folders below INBOX and do not tell so.
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
    """What a NAMESPACE response tells; None when it is another response."""
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
    """One of the three lists, and where the next begins."""
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
    """Where it goes on after the list that begins at `position`; extensions of RFC 2342 may hold lists of their own."""
    depth = 0
    for index in range(position, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[index], 0) if isinstance(tokens[index], str) else 0  # type: ignore[arg-type]
        if depth == 0:
            return index + 1
    return None
