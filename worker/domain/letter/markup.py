"""HTML as browsers read it: finds its tags, and closes it so that what follows stays visible.

Follows the tokenization of the HTML standard (section 13.2.5) as far as it decides what is a tag: comments, raw text,
quoted attribute values. Every character is read a bounded number of times, whatever the HTML is: a library over
`html.parser` takes a minute for 60 kB of `<a `, and parses broken HTML differently from one release of Python to the
next, while a letter's bytes must stay the same.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape, unescape
from typing import NamedTuple

_OPENING = re.compile(r"<(?:(!--)|(/?)([a-zA-Z][^\s/>]*+)|([!?]|/(?=[^a-zA-Z])))")
# A quote begins a value only directly after `=`; elsewhere it is part of a name. A value whose quote never ends
# leaves the whole tag open.
# Each attribute is an atomic group, instead of one possessive group for all: Python 3.11.2, Debian 12's, forgets in
# `(…)*+` what a failed attempt had consumed.
_ATTRIBUTES = re.compile(
    r"""(?:(?>[\s/]++|[^\s/>][^\s/>=]*+"""
    r"""(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+|(?=>))|(?!\s*+=\s*+["']))))*>"""
)
_ATTRIBUTE = re.compile(r"""([^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"'][^\s>]*+)))?+""")
_COMMENT_END = re.compile(r"--!?>")
_EMPTY_COMMENT = re.compile(r"-?>")
_SCRIPT_PARTS = re.compile(r"<!--(-?>)?|-->|<(/?)script(?=[\s/>])", re.IGNORECASE)

# `unescape` fails on numbers of thousands of digits; no character has more than seven.
LONG_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")

# Elements whose content is text up to their own end tag (sections 13.2.6.2 and 13.2.6.4).
_RAW_TEXT = frozenset({"script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"})
_RAW_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW_TEXT}
VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
# Elements whose end tag may be missing (section 13.1.2.4), or means nothing before the document's end.
_END_IMPLIED = frozenset(
    {"p", "li", "dt", "dd", "rt", "rp", "optgroup", "option", "colgroup", "caption", "thead", "tbody", "tfoot", "tr"}
    | {"td", "th", "html", "head", "body"}
)
# Of these, the ones that extend past a text's end unless they are closed: they would hide what follows.
_ENDED = frozenset({"li", "dt", "dd", "rt", "rp", "optgroup", "option"})
_NEVER_ENDED = _END_IMPLIED - _ENDED
# An end tag inside one of these does not close an element outside it (section 13.2.4.2), except a table's end tag.
_SCOPES = frozenset(
    {
        "table",
        "td",
        "th",
        "caption",
        "template",
        "marquee",
        "object",
        "applet",
        "html",
        "select",
        "foreignobject",
        "desc",
    }
)
_OF_TABLES = frozenset({"table", "caption", "colgroup", "thead", "tbody", "tfoot", "tr", "td", "th", "template"})
_FOREIGN = ("svg", "math")
_ENDS_PARAGRAPH = frozenset(
    {"address", "article", "aside", "blockquote", "center", "details", "dialog", "dir", "div", "dl", "dd", "dt", "li"}
    | {"fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup"}
    | {"hr", "main", "menu", "nav", "ol", "p", "pre", "search", "section", "summary", "table", "ul"}
)
_ENDS_SIBLING = {
    "li": frozenset({"li"}),
    "dt": frozenset({"dt", "dd"}),
    "dd": frozenset({"dt", "dd"}),
    "option": frozenset({"option"}),
    "tr": frozenset({"td", "th", "tr"}),
    "td": frozenset({"td", "th"}),
    "th": frozenset({"td", "th"}),
}

# Or no tag: a comment, or a tag that does not end, after which no further one needs to be searched for.
_SIMPLE_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)" + _ATTRIBUTES.pattern + r"|<(?=[/!?a-zA-Z])")
_WITHOUT_END = VOID | _NEVER_ENDED
_NOT_SIMPLE = _RAW_TEXT | {"plaintext", *_FOREIGN}


class Tag(NamedTuple):
    """A tag from `start` to `end`. A comment or declaration has no name."""

    start: int
    end: int
    name: str
    attributes: str
    is_closing: bool = False

    def attribute(self, name: str) -> str | None:
        """The value of an attribute, unescaped; empty when it has none, None when the tag has no such attribute."""
        for match in _ATTRIBUTE.finditer(self.attributes):
            if match[1].lower() == name:
                return unescape(LONG_REFERENCE.sub("\ufffd", match[2] or match[3] or match[4] or ""))
        return None


@dataclass(slots=True)
class Markup:
    """The tags of an HTML text in order, and whether it ends between tags.

    `html` is the text without the beginning of an end tag for raw text. `unclosed_as` is empty, or what a browser
    would still be in at the end: a `comment`, a `declaration`, a `tag` that begins at `unclosed`, or raw text, by the
    name of its element.
    """

    html: str
    tags: list[Tag] = field(default_factory=list)
    unclosed: int = 0
    unclosed_as: str = ""

    def __iter__(self) -> Iterator[Tag]:
        return iter(self.tags)


def read(html: str) -> Markup:
    """Find the tags."""
    markup = Markup(html)
    position, raw = 0, ""
    while match := _OPENING.search(html, position):
        start = match.start()
        is_comment, closing, name, _ = match.groups()
        attributes = ""
        if name is None:
            end = _end_of_comment(html, match.end()) if is_comment else html.find(">", start) + 1
        else:
            tag_end = _ATTRIBUTES.match(html, match.end())
            end = tag_end.end() if tag_end else 0
            attributes = html[match.end() : end - 1] if end else ""
        if not end:
            if raw:
                markup.html, markup.unclosed_as = html[:start], raw
            else:
                markup.unclosed, markup.unclosed_as = (
                    start,
                    "comment" if is_comment else "tag" if name else "declaration",
                )
            break
        tag = Tag(start, end, (name or "").lower(), attributes, bool(closing))
        markup.tags.append(tag)
        position, raw = end, ""
        if not closing and tag.name in _RAW_TEXT:
            position, raw = _end_of_raw_text(html, tag.name, end), tag.name
        elif not closing and tag.name == "plaintext":
            position = -1
        if position < 0:
            markup.unclosed_as = tag.name
            break
    return markup


def _end_of_comment(html: str, position: int) -> int:
    """The position after a comment whose `<!--` ends at `position`; 0 when it does not end."""
    if empty := _EMPTY_COMMENT.match(html, position):
        return empty.end()
    end = _COMMENT_END.search(html, position)
    return end.end() if end else 0


def _end_of_raw_text(html: str, name: str, position: int) -> int:
    """The start of the end tag of raw text, -1 when there is none."""
    if name != "script":
        end = _RAW_ENDS[name].search(html, position)
        return end.start() if end else -1
    # "<!--" allows "<script>…</script>" inside a script (sections 13.2.5.17 to 13.2.5.31).
    is_escaped = is_double_escaped = False
    for part in _SCRIPT_PARTS.finditer(html, position):
        if part[0] == "-->":
            is_escaped = is_double_escaped = False
        elif part[0].startswith("<!--"):
            is_escaped = is_escaped or part[1] is None
        elif part[2]:
            if not is_double_escaped:
                return part.start()
            is_double_escaped = False
        elif is_escaped:
            is_double_escaped = True
    return -1


class Place(NamedTuple):
    """An open element."""

    depth: int
    serial: int
    name: str


class OpenElements:
    """The elements that are open at a point of a text, outermost first."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self._all: Counter[str] = Counter()
        self._scopes: list[Counter[str]] = [Counter()]
        self._passed_over: list[tuple[int, str]] = []
        self._entered = 0

    def follow(self, tag: Tag) -> Place | None:
        """Apply a tag that is not a comment; returns the element that it opens, if any."""
        if tag.is_closing:
            self._leave(tag.name)
            return None
        return None if tag.name in VOID else self._enter(tag)

    def has(self, place: Place) -> bool:
        """True when the element is still open."""
        return len(self._open) > place.depth and self._open[place.depth][0] == place.serial

    def closing(self) -> str:
        """End tags for every element that is open, or may be for a browser, which ignores a superfluous one."""
        passed_over = (each for each in self._passed_over if each[1] not in _END_IMPLIED)
        left = sorted((*self._open, *passed_over), reverse=True)
        return "".join(f"</{name}>" for _, name in left if name not in _NEVER_ENDED)

    def _enter(self, tag: Tag) -> Place | None:
        name = tag.name
        if tag.attributes.endswith("/") and any(self._all[foreign] for foreign in _FOREIGN):
            return None
        if name in _ENDS_PARAGRAPH:
            self._leave("p")
        siblings = _ENDS_SIBLING.get(name, frozenset())
        while self._open and self._open[-1][1] in siblings:
            self._pop()
        self._entered += 1
        self._open.append((self._entered, name))
        self._all[name] += 1
        self._scopes[-1][name] += 1
        if name in _SCOPES:
            self._scopes.append(Counter())
        return Place(len(self._open) - 1, self._entered, name)

    def _leave(self, name: str) -> None:
        if name in _OF_TABLES:
            is_in_scope = self._all[name] > 0
        elif name in _SCOPES:
            is_in_scope = len(self._scopes) > 1 and self._scopes[-2][name] > 0
        else:
            is_in_scope = self._scopes[-1][name] > 0
        if not is_in_scope:
            return
        while (left := self._pop())[1] != name:
            self._passed_over.append(left)

    def _pop(self) -> tuple[int, str]:
        left = self._open.pop()
        if left[1] in _SCOPES:
            self._scopes.pop()
        self._scopes[-1][left[1]] -= 1
        self._all[left[1]] -= 1
        return left


def replaced(html: str, replace: Callable[[Tag], str | None]) -> str:
    """The text with some start tags replaced: `replace` returns the new text, or None to keep the tag."""
    pieces: list[str] = []
    position = 0
    for tag in read(html):
        if tag.name and not tag.is_closing and (text := replace(tag)) is not None:
            pieces += (html[position : tag.start], text)
            position = tag.end
    return "".join([*pieces, html[position:]])


def with_attribute(tag: Tag, name: str, value: str) -> str:
    """The start tag with a new value for an attribute that it already has."""
    match = next(match for match in _ATTRIBUTE.finditer(tag.attributes) if match[1].lower() == name)
    before, after = tag.attributes[: match.start()], tag.attributes[match.end() :]
    return f'<{tag.name}{before}{name}="{escape(value)}"{after}>'


def closed(html: str) -> str:
    """The text, closed so that nothing in it hides what follows: elements, comments and tags.

    Balanced HTML is returned unchanged. What browsers would drop at its end, an unfinished tag, becomes text.
    """
    if "<" not in html or _is_plainly_balanced(html):
        return html
    markup = read(html)
    elements = OpenElements()
    for tag in markup:
        if tag.name and tag.name not in _RAW_TEXT and tag.name != "plaintext":
            elements.follow(tag)
    return _finished(markup) + elements.closing()


def _is_plainly_balanced(html: str) -> bool:
    """True when each element visibly has its own end tag: nearly always, and ten times faster to check."""
    names: list[str] = []
    for tag in _SIMPLE_TAG.finditer(html):
        closing, name = tag.groups()
        if name is None or name in _NOT_SIMPLE:
            return False
        if name in _WITHOUT_END:
            continue
        if not closing:
            names.append(name)
        elif not names or names.pop() != name:
            return False
    return not names


def _finished(markup: Markup) -> str:
    """The text, continued so that a browser is between tags after it."""
    html = markup.html
    match markup.unclosed_as:
        case "":
            return html
        case "comment":
            return html + "-->"
        case "declaration":
            return html + ">"
        case "tag":
            # Everything after it would belong to the tag. As text it is at least visible.
            return html[: markup.unclosed] + html[markup.unclosed :].replace("<", "&lt;")
        case "plaintext":  # no end tag ends it
            tag = markup.tags[-1]
            text = html[tag.end :].replace("&", "&amp;").replace("<", "&lt;")
            return f"{html[: tag.start]}<pre>{text}</pre>"
        case "script":
            return html + "--></script>"
        case name:
            return f"{html}</{name}>"
