"""The plain-text version of a letter's HTML: what a person sees, without markup."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape

from worker.domain.letter.markup import LONG_REFERENCE, Markup, OpenElements, Place, Tag, read
from worker.domain.text import folded

# Longer text is cut: the whole letter is in its HTML. Bounds the time, to about 0.1 s at worst.
MAX_HTML_CHARS = 200_000
_CUT = "\n\n[…]"
_MAX_DEPTH = 8  # of quotes and lists: deeper ones look alike, or every line would grow with the nesting
_MAX_ALT_CHARS = 1_000
_LINKABLE = ("http://", "https://", "mailto:", "tel:")

# Elements that browsers do not show, or that they replace where they can.
_HIDDEN = frozenset(
    {"script", "style", "title", "template", "iframe", "noembed", "noframes", "object", "audio", "video", "canvas"}
)
_MAY_HIDE = re.compile("hidden|style", re.IGNORECASE)
_HIDING_STYLES = (
    re.compile(r"(?:^|[;\s])(?:display\s*+:\s*+none|visibility\s*+:\s*+hidden|mso-hide\s*+:\s*+all)", re.IGNORECASE),
    re.compile(r"(?:^|[;\s])(?:opacity|max-height)\s*+:\s*+0(?:\.0*+)?(?:px|pt|r?em|%)?\s*+(?:!|;|$)", re.IGNORECASE),
)
_PARAGRAPHS = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "blockquote", "pre", "hr", "ul", "ol", "dl", "figure"}
)
_WITH_CONTENT = frozenset({"blockquote", "ul", "ol", "pre", "hr"})  # paragraphs that change their content
_LINES = frozenset(
    {"div", "li", "tr", "dt", "dd", "section", "article", "header", "footer", "main", "address", "form", "caption"}
)
_STRUCK = frozenset({"s", "strike", "del"})
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_MAX_ROMAN = 3_999
_NUMBER = re.compile(r"\s*+([+-]?[0-9]{1,9})")


def plain_text(html: str) -> str:
    """The text of a document or fragment: paragraphs, lists, quotes with `>`, links as `text <https://…>`.

    Pictures become their alternative text in brackets, check boxes `[x]` and `[ ]`; `~~` encloses struck-out text.
    """
    is_cut = len(html) > MAX_HTML_CHARS
    if is_cut:
        html = html[: max(html.rfind("<", 0, MAX_HTML_CHARS), 0) or MAX_HTML_CHARS]
    markup = read(html)
    page = _Page(_item_counts(markup))
    elements = OpenElements()
    hidden: Place | None = None
    position = 0
    for number, tag in enumerate(markup):
        if hidden is None:
            page.write(html[position : tag.start])
        position = tag.end
        if not tag.name:
            continue
        place = elements.follow(tag)
        if hidden is not None and elements.has(hidden):
            continue
        ended, hidden = hidden, None
        if tag.is_closing:
            if ended is None or ended.name != tag.name:
                page.close(tag.name)
        elif _is_hidden(tag):
            hidden = place
        else:
            page.open(tag, number)
    if hidden is None:
        is_text = markup.unclosed_as not in ("comment", "declaration")
        page.write(markup.html[position : None if is_text else markup.unclosed])
    return page.text() + (_CUT if is_cut else "")


def _is_hidden(tag: Tag) -> bool:
    if tag.name in _HIDDEN:
        return True
    if not _MAY_HIDE.search(tag.attributes):
        return False
    style = tag.attribute("style") or ""
    return tag.attribute("hidden") is not None or any(pattern.search(style) for pattern in _HIDING_STYLES)


def _item_counts(markup: Markup) -> dict[int, int]:
    """The number of items of each list that counts backwards, by the number of its tag."""
    if not any(tag.name == "ol" and tag.attribute("reversed") is not None for tag in markup):
        return {}
    counts: dict[int, int] = {}
    lists: list[int] = []
    for number, tag in enumerate(markup):
        if tag.name in ("ol", "ul"):
            if not tag.is_closing:
                lists.append(number)
                counts[number] = 0
            elif lists:
                lists.pop()
        elif tag.name == "li" and not tag.is_closing and lists:
            counts[lists[-1]] += 1
    return counts


@dataclass(slots=True)
class _List:
    """An open list: the number of its next item, None for an unnumbered one."""

    number: int | None = None
    step: int = 1
    kind: str = "1"

    def marker(self, value: str | None) -> str:
        """The marker before an item; `value` is the item's own number."""
        if self.number is None:
            return "- "
        if (own := _number(value)) is not None:
            self.number = own
        number, self.number = self.number, self.number + self.step
        return f"{_numeral(number, self.kind)}. "


def _number(text: str | None) -> int | None:
    match = _NUMBER.match(text) if text is not None else None
    return int(match[1]) if match else None


def _numeral(number: int, kind: str) -> str:
    """The number as a list of that kind shows it; letters and Roman numerals have no zero."""
    if kind in ("a", "A") and number > 0:
        letters = ""
        while number:
            number, digit = divmod(number - 1, 26)
            letters = chr(ord("a") + digit) + letters
        return letters.upper() if kind == "A" else letters
    if kind in ("i", "I") and 0 < number <= _MAX_ROMAN:
        numeral = ""
        for worth, sign in _ROMAN:
            count, number = divmod(number, worth)
            numeral += sign * count
        return numeral.upper() if kind == "I" else numeral
    return str(number)


class _Page:
    """Lines of text, built up tag by tag."""

    def __init__(self, item_counts: Mapping[int, int]) -> None:
        self._item_counts = item_counts
        self._lines: list[str] = []
        self._line: list[str] = []
        self._blank_quotes: int | None = None  # a blank line is due, at this depth of quotes
        self._quotes = 0
        self._lists: list[_List] = []
        self._marker = ""
        self._is_preformatted = False
        self._link = ""
        self._link_start = 0

    def write(self, text: str) -> None:
        if "&" in text:
            text = unescape(LONG_REFERENCE.sub("\ufffd", text))
        if not self._is_preformatted:
            self._line.append(text)
            return
        first, *others = text.split("\n")
        self._line.append(first)
        for line in others:
            self._end_line(is_forced=True)
            self._line.append(line)

    def open(self, tag: Tag, number: int) -> None:
        name = tag.name
        if name in _PARAGRAPHS:
            if self._line:
                self._end_line()
            self._want_blank()
            if name in _WITH_CONTENT:
                self._enter_paragraph(tag, number)
        elif name == "br":
            self._end_line(is_forced=True)
        elif name == "a":
            self._end_link()
            self._begin_link(tag)
        elif name in ("td", "th"):
            self._line.append(" ")
        elif name in _LINES:
            self._end_line()
            if name == "li":
                self._marker = (self._lists[-1] if self._lists else _List()).marker(tag.attribute("value"))
        elif name == "img":
            self._line.append(_picture(tag))
        elif name == "input":
            self._line.append(_control(tag))
        elif name in _STRUCK:
            self._line.append("~~")

    def close(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            if self._line:
                self._end_line()
            if tag in _WITH_CONTENT:
                self._leave_paragraph(tag)
            self._want_blank()
        elif tag == "a":
            self._end_link()
        elif tag in _LINES:
            self._end_line()
        elif tag in _STRUCK:
            self._line.append("~~")

    def text(self) -> str:
        self._end_line()
        return "\n".join(self._lines)

    def _enter_paragraph(self, tag: Tag, number: int) -> None:
        if tag.name == "blockquote":
            self._quotes += 1
        elif tag.name == "ul":
            self._lists.append(_List())
        elif tag.name == "ol":
            is_reversed = tag.attribute("reversed") is not None
            start = _number(tag.attribute("start"))
            if start is None:
                start = self._item_counts.get(number, 1) if is_reversed else 1
            self._lists.append(_List(start, -1 if is_reversed else 1, tag.attribute("type") or "1"))
        elif tag.name == "pre":
            self._is_preformatted = True
        elif tag.name == "hr":
            self._line.append("---")
            self._end_line()
            self._want_blank()

    def _leave_paragraph(self, tag: str) -> None:
        if tag == "blockquote":
            self._quotes = max(self._quotes - 1, 0)
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag == "pre":
            self._is_preformatted = False

    def _want_blank(self, *, is_forced: bool = False) -> None:
        """Request a blank line before the next text; in a list only if the author forced one, to keep items close."""
        if (is_forced or not self._lists) and (self._blank_quotes is None or self._quotes < self._blank_quotes):
            self._blank_quotes = self._quotes

    def _end_line(self, *, is_forced: bool = False) -> None:
        text = ""
        if self._line:
            joined = "".join(self._line)
            text = joined.rstrip() if self._is_preformatted else folded(joined)
            self._line = []
            self._link_start = 0
        if text:
            self._add_line(text)
        elif is_forced:
            self._want_blank(is_forced=True)

    def _add_line(self, text: str) -> None:
        if self._blank_quotes is not None and self._lines:
            self._lines.append(_quote(self._blank_quotes).rstrip() if self._blank_quotes else "")
        self._blank_quotes = None
        if self._quotes or self._lists or self._marker:
            text = _quote(self._quotes) + self._indent() + text
            self._marker = ""
        self._lines.append(text)

    def _indent(self) -> str:
        depth = min(len(self._lists), _MAX_DEPTH)
        return "  " * max(depth - 1, 0) + self._marker if self._marker else "  " * depth

    def _begin_link(self, tag: Tag) -> None:
        url = "".join((tag.attribute("href") or "").split())
        self._link = url if url.lower().startswith(_LINKABLE) else ""
        self._link_start = len(self._line)

    def _end_link(self) -> None:
        """Add the URL after the link's text, unless the text is the URL itself."""
        if not self._link:
            return
        text = "".join("".join(self._line[self._link_start :]).split())
        if text not in (self._link, self._link.partition(":")[2].lstrip("/"), self._link.rstrip("/")):
            self._line.append(f" <{self._link}>" if text else f"<{self._link}>")
        self._link = ""


def _picture(tag: Tag) -> str:
    """The alternative text; in brackets, except for an emoji, which is meant as text."""
    alternative = folded((tag.attribute("alt") or "")[:_MAX_ALT_CHARS])
    return f"[{alternative}]" if any(map(str.isalnum, alternative)) else alternative


def _control(tag: Tag) -> str:
    mark = "x" if tag.attribute("checked") is not None else " "
    match (tag.attribute("type") or "").lower():
        case "checkbox":
            return f"[{mark}] "
        case "radio":
            return f"({mark}) "
        case _:
            return ""


def _quote(depth: int) -> str:
    return "> " * min(depth, _MAX_DEPTH) if depth else ""
