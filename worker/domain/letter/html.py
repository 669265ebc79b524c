"""The HTML and the text of a letter: what the author wrote, signature, links to files, history, tracking pixel.

The product renders the HTML in events and snapshots; it is used unchanged, except for pictures, which become parts of
the letter, and for a stale declaration of its character set. Each of these texts is closed, so that none of them hides
what follows. Plain values (file names, URLs) are escaped here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from worker.domain.events.models import CommentCreated, LetterData
from worker.domain.letter.markup import Tag, closed, read, replaced
from worker.domain.letter.model import Attachment
from worker.domain.letter.plaintext import plain_text
from worker.domain.snapshot.resolution import Sender

_WEB_URL = re.compile(r"https?://[^/\s]", re.IGNORECASE)
_DOCUMENT = re.compile(r"\s*+(?:<!doctype|<html)[\s>]", re.IGNORECASE)
_META = re.compile(r"<meta[\s/]", re.IGNORECASE)
_CHARSET = '<meta charset="utf-8">'
_OPENING = f"<!DOCTYPE html>\n<html><head>{_CHARSET}</head><body>\n"
_CLOSING = "\n</body></html>\n"


@dataclass(frozen=True, slots=True)
class LetterTexts:
    """The texts of a letter in the order in which they appear in it. `written` may be a whole document."""

    written: str
    signature: str
    history: str
    links: tuple[Attachment, ...]
    pixel_url: str

    def html(self) -> str:
        """The document. Wrapped only when what the author wrote is a fragment; else the rest goes inside its body."""
        below = [f"<div>{self.signature}</div>"] if self.signature else []
        below += ["<ul>" + "".join(f"<li>{_link(file)}</li>" for file in self.links) + "</ul>"] if self.links else []
        below += [f"<div>{self.history}</div>"] if self.history else []
        below += [f'<img src="{escape(self.pixel_url)}" width="1" height="1" alt="">'] if self.pixel_url else []
        if _DOCUMENT.match(self.written):
            return _inside_body(self.written, below)
        return _OPENING + "\n".join([closed(self.written), *below]) + _CLOSING

    def text(self) -> str:
        """The same as plain text. Each part is converted separately, so that a long one does not cut off the others."""
        parts = [plain_text(self.written)]
        if signature := plain_text(self.signature):
            parts.append(f"-- \n{signature}")  # RFC 3676 section 4.3
        parts.append("\n".join(f"- {_text_link(file)}" for file in self.links))
        parts.append(plain_text(self.history))
        return "\n\n".join(filter(None, parts))


def letter_texts(
    data: LetterData, sender: Sender, links: Sequence[Attachment], take_pictures: Callable[[str], str]
) -> LetterTexts:
    """The texts of a letter; `take_pictures` replaces the pictures in one of them."""
    written, signature, history = (_in_utf8(take_pictures(text)) for text in _texts(data, sender))
    url = data.open_tracking_url if sender.is_entitled else None
    pixel_url = url if url and _WEB_URL.match(url) else ""
    return LetterTexts(written, closed(signature), closed(history), tuple(links), pixel_url)


def author_texts(data: LetterData, sender: Sender) -> tuple[str, ...]:
    """The HTML in the letter that was written by people."""
    return tuple(filter(None, _texts(data, sender)))


def _texts(data: LetterData, sender: Sender) -> tuple[str, str, str]:
    written = data.comment.html if isinstance(data, CommentCreated) else data.task.html
    return written, _signature(data, sender), data.history_html or ""


def _signature(data: LetterData, sender: Sender) -> str:
    """The mailbox's own signature; else the employee's; else, for letters from internal addresses, the account's."""
    if not (data.append_signature and sender.is_entitled):
        return ""
    account_signature = None if sender.mailbox else sender.account.settings.signature_html
    own = sender.mailbox.signature_html if sender.mailbox else None
    candidates = (own, sender.employee.signature_html, account_signature)
    return next((text for text in candidates if text and not text.isspace()), "")


def _in_utf8(html: str) -> str:
    """The letter is in UTF-8: programs that trust a document's own, different declaration would garble it."""
    return replaced(html, _right_charset) if _META.search(html) else html


def _right_charset(tag: Tag) -> str | None:
    if tag.name != "meta":
        return None
    declares = tag.attribute("charset") is not None or (tag.attribute("http-equiv") or "").lower() == "content-type"
    return _CHARSET if declares else None


def _link(file: Attachment) -> str:
    """Only web URLs become links: `javascript:` and the like must not get into a customer's letter."""
    name = escape(file.name)
    return f'<a href="{escape(file.link)}">{name}</a>' if _WEB_URL.match(file.link) else name


def _text_link(file: Attachment) -> str:
    return f"{file.name} <{file.link}>" if _WEB_URL.match(file.link) else file.name


def _inside_body(document: str, below: Sequence[str]) -> str:
    """The document with more content at the end of its body.

    That is before the last `</body>`, or `</html>` where there is none: an earlier one can be part of a quotation.
    """
    if not below:
        return closed(document)
    ends = {tag.name: tag.start for tag in read(document) if tag.is_closing and tag.name in ("body", "html")}
    position = ends.get("body", ends.get("html", len(document)))
    return "\n".join([closed(document[:position]), *below, document[position:]])
