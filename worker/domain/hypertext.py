"""The HTML of a letter: what the author wrote, signature, links to files, history, tracking pixel.

The product renders what it puts into events and snapshots; that HTML is passed on as it is. Only what this module
itself makes of plain values (names of files, URLs) is escaped.
"""

import re
from collections.abc import Sequence
from html import escape

from worker.domain.events import CommentCreated, LetterData
from worker.domain.letters import Attachment
from worker.domain.resolution import Sender

_WEB_URL = re.compile(r"https?://[^/\s]", re.IGNORECASE)
_DOCUMENT = re.compile(r"\s*(?:<!doctype|<html)[\s>]", re.IGNORECASE)
_BODY_END = re.compile(r"</(?:body|html)\s*>", re.IGNORECASE)
_OPENING = '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head><body>\n'
_CLOSING = "\n</body></html>\n"


def letter_html(data: LetterData, sender: Sender, attachments: Sequence[Attachment]) -> str:
    """The whole document. Wrapped only when what the author wrote is a fragment; else the rest goes inside its body."""
    written = _closed(data.comment.html if isinstance(data, CommentCreated) else data.task.html)
    below = [f"<div>{_closed(signature)}</div>"] if (signature := _signature(data, sender)) else []
    below += _file_list([attachment for attachment in attachments if attachment.content is None])
    below += [f"<div>{_closed(data.history_html)}</div>"] if data.history_html else []
    below += _pixel(data, sender)
    if _DOCUMENT.match(written):
        return _inside_body(written, below)
    return _OPENING + "\n".join([written, *below]) + _CLOSING


def _signature(data: LetterData, sender: Sender) -> str:
    """The mailbox's own; else the employee's; else, for letters from internal addresses, the account's."""
    if not (data.append_signature and sender.is_entitled):
        return ""
    account_signature = None if sender.mailbox else sender.account.settings.signature_html
    own = sender.mailbox.signature_html if sender.mailbox else None
    candidates = (own, sender.employee.signature_html, account_signature)
    return next((text for text in candidates if text and not text.isspace()), "")


def _file_list(files: Sequence[Attachment]) -> list[str]:
    if not files:
        return []
    return ["<ul>" + "".join(f"<li>{_file_link(file)}</li>" for file in files) + "</ul>"]


def _file_link(file: Attachment) -> str:
    """Only web links can be clicked: `javascript:` and the like must not get into a customer's letter."""
    name = escape(file.name)
    return f'<a href="{escape(file.link)}">{name}</a>' if _WEB_URL.match(file.link) else name


def _pixel(data: LetterData, sender: Sender) -> list[str]:
    url = data.open_tracking_url
    if url is None or not sender.is_entitled or not _WEB_URL.match(url):
        return []
    return [f'<img src="{escape(url)}" width="1" height="1" alt="">']


def _closed(html: str) -> str:
    """An HTML comment that does not end would hide everything below it, the files too."""
    last = html.rfind("<!--")
    return f"{html}-->" if last >= 0 and html.find("-->", last) < 0 else html


def _inside_body(document: str, below: Sequence[str]) -> str:
    if not below:
        return document
    ends = list(_BODY_END.finditer(document))
    # The last `</body>`, or `</html>` where there is none: an earlier one can be part of what is quoted.
    bodies = [end.start() for end in ends if end[0][2:6].lower() == "body"]
    position = bodies[-1] if bodies else ends[-1].start() if ends else len(document)
    return "\n".join([document[:position], *below, document[position:]])
