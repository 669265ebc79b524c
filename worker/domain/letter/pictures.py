"""Pictures that a letter's HTML embeds or refers to: they become inline parts, so that the recipient sees them.

Mail programs do not show `data:` URLs (RFC 2397), but they show parts of the letter named by `cid:` (RFC 2392).
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from urllib.parse import unquote, unquote_to_bytes

from worker.domain.letter.markup import Tag, replaced, with_attribute
from worker.domain.letter.model import Attachment

MAX_INLINE_BYTES = 10 * 1024 * 1024
"""Limit for pictures and attached files together. A picture beyond it is replaced by its alternative text."""

_SOURCES = {"img": "src", "input": "src", "image": "src", "v:imagedata": "src", "v:fill": "src"} | dict.fromkeys(
    ("body", "table", "td", "th"), "background"
)
_REFERENCE = re.compile(r"data:|cid:", re.IGNORECASE)
_REFERENCE_CHARS = 5
_AT_A_TIME_CHARS = 65_536
_DATA_URL = re.compile(r"\s*data:\s*image/([a-z0-9][a-z0-9.+-]{0,60})((?:;[^,;]{0,100}){0,5}),", re.IGNORECASE)
_CONTENT_ID_URL = re.compile(r"\s*cid:(\S{1,1000})\s*", re.IGNORECASE)
_WHITE_SPACE = dict.fromkeys(map(ord, " \t\r\n\f"))
_EXTENSIONS = {"jpeg": "jpg", "svg+xml": "svg", "x-icon": "ico", "vnd.microsoft.icon": "ico"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture embedded in the HTML."""

    content_type: str
    content: bytes

    @property
    def digest(self) -> str:
        """Identifies the picture in every letter."""
        return sha256(self.content_type.encode("ascii") + b"\0" + self.content).hexdigest()[:32]


class InlineParts:
    """Moves pictures from a letter's HTML into parts, text by text; each picture becomes one part.

    Args:
        domain: right side of the Content-IDs.
        files: the event's files; one with contents and a content ID is a part, one without contents was left out.
        max_bytes: the room for pictures.
    """

    def __init__(self, domain: str, files: Iterable[Attachment] = (), max_bytes: int = MAX_INLINE_BYTES) -> None:
        self._domain = domain
        self._files = {file.content_id: file for file in files if file.content_id is not None}
        self._parts: dict[str, Attachment] = {}
        self._room = max_bytes

    @property
    def parts(self) -> tuple[Attachment, ...]:
        """The pictures, in the order in which the letter shows them, and the event's inline files."""
        inline_files = (file for file in self._files.values() if file.content is not None)
        return (*self._parts.values(), *inline_files)

    def take(self, html: str) -> str:
        """The HTML with `cid:` for each `data:`, and alternative text for what is left out."""
        return replaced(html, self._replacement) if _may_show_pictures(html) else html

    def _replacement(self, tag: Tag) -> str | None:
        attribute = _SOURCES.get(tag.name)
        source = tag.attribute(attribute) if attribute else None
        if attribute is None or not source:
            return None
        if match := _CONTENT_ID_URL.fullmatch(source):
            file = self._files.get(unquote(match[1]))
            return _alternative(tag, attribute) if file is not None and file.content is None else None
        if (match := _DATA_URL.match(source)) is None:
            return None
        content_id = self._content_id(_picture(match, source[match.end() :]))
        if content_id is None:
            return _alternative(tag, attribute)
        return with_attribute(tag, attribute, f"cid:{content_id}")

    def _content_id(self, picture: Picture | None) -> str | None:
        """The Content-ID of the picture's part, None when it is left out."""
        if picture is None:
            return None
        content_id = f"{picture.digest}@{self._domain}"
        if content_id not in self._parts:
            size = len(picture.content)
            if size > self._room:
                return None
            self._room -= size
            subtype = picture.content_type.partition("/")[2]
            name = f"picture{len(self._parts) + 1}.{_EXTENSIONS.get(subtype, subtype)}"
            self._parts[content_id] = Attachment(
                name, picture.content_type, size, "", picture.content, content_id=content_id
            )
        return content_id


def _may_show_pictures(html: str) -> bool:
    """True when the text may contain the URL of a picture; lets other threads run meanwhile."""
    starts = range(0, len(html), _AT_A_TIME_CHARS)
    return any(_REFERENCE.search(html, start, start + _AT_A_TIME_CHARS + _REFERENCE_CHARS) for start in starts)


def embedded_bytes(texts: Iterable[str]) -> int:
    """Total size of the pictures in these texts, each counted once."""
    inline = InlineParts("")
    for text in texts:
        inline.take(text)
    return sum(part.size for part in inline.parts)


def referenced_content_ids(texts: Iterable[str]) -> frozenset[str]:
    """The content IDs of the pictures that these texts show."""
    found: set[str] = set()

    def note(tag: Tag) -> None:
        source = tag.attribute(_SOURCES[tag.name]) if tag.name in _SOURCES else None
        if source and (match := _CONTENT_ID_URL.fullmatch(source)):
            found.add(unquote(match[1]))

    for text in texts:
        if _may_show_pictures(text):
            replaced(text, note)
    return frozenset(found)


def _picture(match: re.Match[str], data: str) -> Picture | None:
    """The picture in a `data:` URL; None when its content cannot be shown."""
    is_base64 = any(parameter.strip().lower() == "base64" for parameter in match[2].split(";"))
    try:
        if is_base64:
            text = (unquote(data) if "%" in data else data).translate(_WHITE_SPACE).rstrip("=")
            content = b64decode(text + "=" * (-len(text) % 4), validate=True)
        else:
            content = unquote_to_bytes(data)
    except (Base64Error, ValueError):  # ValueError: outside ASCII
        return None
    return Picture(f"image/{match[1].lower()}", content) if content else None


def _alternative(tag: Tag, attribute: str) -> str:
    """The replacement for a picture that is left out; a background leaves only its element."""
    if attribute == "background":
        return with_attribute(tag, attribute, "")
    return escape(tag.attribute("alt") or "")
