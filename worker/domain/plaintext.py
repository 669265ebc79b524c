"""The plain-text version of a letter's HTML.

A reader of our own, not a library over `html.parser`: that one takes a minute for 60 kB of `<a `, fails on `<![x[`
and on a character reference of 5,000 digits, and reads broken HTML differently from one patch release of Python to
the next, while a letter's bytes must stay the same. This one looks at every character once, whatever the HTML is.
"""

import re
from html import unescape

from worker.domain.text import folded

# A text that goes on beyond this is cut: the whole letter is in its HTML. Bounds the time, to about 0.1 s at worst.
MAX_HTML_CHARS = 200_000
_CUT = "\n\n[…]"
_MAX_DEPTH = 8  # of quotes and lists: deeper ones look alike, or every line would grow with the nesting

# Possessive, and not far past the next "<", so that no input makes it look at a character again and again. Browsers
# leave "<" in attributes as it is, so there it is allowed in values of moderate length.
_TAG = re.compile(
    r"""<(/?)([a-zA-Z][^\s/<>"']*+)((?:[^<>"']++|"[^"<]*+"|'[^'<]*+'|"[^"]{0,200}+"|'[^']{0,200}+')*+)>"""
)
_DECLARATION = re.compile(r"<(?:[!?]|/(?![a-zA-Z]))[^<>]*+>")
_HREF = re.compile(r"""(?:^|\s)href\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"']++))""", re.IGNORECASE)
# `unescape` fails on numbers of thousands of digits; no character has more than seven.
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")
_LINKABLE = ("http://", "https://", "mailto:", "tel:")

_HIDDEN = frozenset({"script", "style", "title", "template"})
_PARAGRAPHS = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "blockquote", "pre", "hr", "ul", "ol", "dl", "figure"}
)
_WITH_CONTENT = frozenset({"blockquote", "ul", "ol", "pre", "hr"})  # paragraphs that change what stands in them
_LINES = frozenset(
    {"div", "li", "tr", "dt", "dd", "section", "article", "header", "footer", "main", "address", "form", "caption"}
)


def plain_text(html: str) -> str:
    """The text of a document or fragment: paragraphs, lists, quotes with `>`, links as `text <https://…>`."""
    is_cut = len(html) > MAX_HTML_CHARS
    if is_cut:
        html = html[: max(html.rfind("<", 0, MAX_HTML_CHARS), 0) or MAX_HTML_CHARS]
    html = _LONG_REFERENCE.sub("\ufffd", _DECLARATION.sub("", _without_comments(html)))
    page = _Page()
    hidden = ""
    pieces = iter(_TAG.split(html))
    page.write(next(pieces))
    for closing, name, attributes, text in zip(pieces, pieces, pieces, pieces, strict=True):
        tag = name.lower()
        if hidden:
            hidden = "" if closing and tag == hidden else hidden
        elif tag in _HIDDEN and not closing:
            hidden = tag
        elif closing:
            page.close(tag)
        else:
            page.open(tag, attributes)
        if text and not hidden:
            page.write(text)
    return page.text() + (_CUT if is_cut else "")


def _without_comments(html: str) -> str:
    kept = []
    position = 0
    while (start := html.find("<!--", position)) >= 0:
        kept.append(html[position:start])
        end = html.find("-->", start + 2)
        if end < 0:  # browsers, too, show nothing after a comment that does not end
            return "".join(kept)
        position = end + 3
    return "".join(kept) + html[position:]


class _Page:
    """Lines of text, as the tags make them."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._blank_quotes: int | None = None  # a blank line is wanted, in that many quotes
        self._quotes = 0
        self._lists: list[int] = []  # the number of the last item; below zero in a list without numbers
        self._marker = ""
        self._is_preformatted = False
        self._link = ""
        self._link_start = 0

    def write(self, text: str) -> None:
        if "&" in text:
            text = unescape(text)
        if not self._is_preformatted:
            self._line.append(text)
            return
        first, *others = text.split("\n")
        self._line.append(first)
        for line in others:
            self._end_line(is_forced=True)
            self._line.append(line)

    def open(self, tag: str, attributes: str) -> None:
        if tag in _PARAGRAPHS:
            if self._line:
                self._end_line()
            self._want_blank()
            if tag in _WITH_CONTENT:
                self._enter_paragraph(tag)
        elif tag == "br":
            self._end_line(is_forced=True)
        elif tag == "a":
            self._end_link()
            self._begin_link(attributes)
        elif tag in ("td", "th"):
            self._line.append(" ")
        elif tag in _LINES:
            self._end_line()
            if tag == "li":
                self._begin_item()

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

    def text(self) -> str:
        self._end_line()
        return "\n".join(self._lines)

    def _enter_paragraph(self, tag: str) -> None:
        if tag == "blockquote":
            self._quotes += 1
        elif tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else -1)
        elif tag == "pre":
            self._is_preformatted = True
        elif tag == "hr":
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

    def _begin_item(self) -> None:
        self._marker = "- "
        if self._lists and self._lists[-1] >= 0:
            self._lists[-1] += 1
            self._marker = f"{self._lists[-1]}. "

    def _want_blank(self, *, is_forced: bool = False) -> None:
        """A blank line before the next text; in a list only where the author forced one, so that items stay close."""
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

    def _begin_link(self, attributes: str) -> None:
        match = _HREF.search(attributes)
        url = "".join(unescape(match[1] or match[2] or match[3] or "").split()) if match else ""
        self._link = url if url.lower().startswith(_LINKABLE) else ""
        self._link_start = len(self._line)

    def _end_link(self) -> None:
        """The URL after the link's text, unless the text is the URL itself."""
        if not self._link:
            return
        text = "".join("".join(self._line[self._link_start :]).split())
        if text not in (self._link, self._link.partition(":")[2].lstrip("/"), self._link.rstrip("/")):
            self._line.append(f" <{self._link}>" if text else f"<{self._link}>")
        self._link = ""


def _quote(depth: int) -> str:
    return "> " * min(depth, _MAX_DEPTH) if depth else ""
