"""Composes a letter: the same event and the same configuration give the same bytes, on every version of Python.

A letter that a person wrote carries no mark of automation: help desks set marked letters aside, and the author would
not learn that the client is away. A letter that no person wrote says so by `Auto-Submitted` (RFC 3834 section 5), and
to Exchange, which ignores that, by `X-Auto-Response-Suppress`. `Precedence` would mark it as bulk.

`In-Reply-To` and `References` thread a letter with those it answers (RFC 5322 section 3.6.4).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from worker.domain.addresses import Address, parse_address
from worker.domain.events.models import CommentCreated, LetterData, LetterEvent, Thread, written_at
from worker.domain.identity import letter_token
from worker.domain.letter.headers import (
    NamedAddress,
    address_field,
    date_field,
    identifier_field,
    text_field,
    token_field,
)
from worker.domain.letter.html import letter_texts
from worker.domain.letter.mime import Boundaries, attached_part, multipart, text_part
from worker.domain.letter.model import Attachment, ComposedLetter, LetterMode, PlannedLetter
from worker.domain.letter.pictures import MAX_INLINE_BYTES, InlineParts
from worker.domain.letter.provider_headers import service_fields
from worker.domain.providers import provider_of
from worker.domain.snapshot.model import Mailbox
from worker.domain.snapshot.resolution import Sender
from worker.domain.vocabulary import Role

_AUTOMATED = token_field("Auto-Submitted", ["auto-generated"]) + token_field(
    "X-Auto-Response-Suppress", ["OOF,", "AutoReply"]
)
_MIME_VERSION = token_field("MIME-Version", ["1.0"])


@dataclass(frozen=True, slots=True)
class _Parties:
    """Everyone a letter names. `bcc` is in the copy only."""

    author: NamedAddress
    reply_to: NamedAddress | None
    to: tuple[NamedAddress, ...]
    cc: tuple[NamedAddress, ...]
    bcc: tuple[NamedAddress, ...]

    def on_wire(self) -> Iterable[Address]:
        reply_to = () if self.reply_to is None else (self.reply_to,)
        return (named.address for named in (self.author, *reply_to, *self.to, *self.cc))


def compose(
    event: LetterEvent, sender: Sender, letter: PlannedLetter, attachments: Sequence[Attachment] = ()
) -> ComposedLetter:
    """The letter as bytes.

    Args:
        event: the event; its recipients' positions are those of the letter.
        sender: the letter's sender, and the account whose settings apply.
        letter: what was planned.
        attachments: the event's files; those with contents are attached, the others become links.
    """
    data = event.data
    token = letter_token(event.key, None if letter.mode is LetterMode.COMMON else letter.named)
    message_id = _message_id(token, sender)
    parties = _parties(data, sender, letter)
    envelope = tuple(parse_address(data.recipients[position].address) for position in letter.envelope)
    above, below = _header(data, message_id, parties, sender.mailbox)
    content = below.encode() + _content(data, sender, attachments, Boundaries(token))
    wire = above.encode() + content
    bcc = address_field("Bcc", parties.bcc) if parties.bcc else ""
    return ComposedLetter(
        message_id=message_id,
        date=written_at(data),
        envelope_from=parties.author.address.wire,
        envelope_to=tuple(address.wire for address in envelope),
        wire=wire,
        copy=(above + bcc).encode() + content if bcc else wire,
        needs_smtputf8=any(address.needs_smtputf8 for address in (*parties.on_wire(), *envelope)),
    )


def _message_id(token: str, sender: Sender) -> str:
    """Under the domain of the author's internal address, which stays when the sender changes between two attempts."""
    return f"<{token}@{_domain(sender)}>"


def _domain(sender: Sender) -> str:
    return parse_address(sender.employee.internal_address).domain


def _parties(data: LetterData, sender: Sender, letter: PlannedLetter) -> _Parties:
    roles: dict[Role, list[NamedAddress]] = {Role.TO: [], Role.CC: [], Role.BCC: []}
    for position in letter.named:
        recipient = data.recipients[position]
        role = recipient.role if letter.mode is LetterMode.COMMON else Role.TO
        roles[role].append(NamedAddress(recipient.name, parse_address(recipient.address)))
    own_name = sender.mailbox.display_name if sender.mailbox else ""
    author = NamedAddress(own_name or sender.employee.name, parse_address(sender.address))
    return _Parties(
        author, _reply_to(data, sender, author), tuple(roles[Role.TO]), tuple(roles[Role.CC]), tuple(roles[Role.BCC])
    )


def _reply_to(data: LetterData, sender: Sender, author: NamedAddress) -> NamedAddress | None:
    """Where answers go, when not to the author's address: the event's value, else the mailbox's switch."""
    if data.reply_to is not None:
        text = data.reply_to
    elif sender.mailbox is None or sender.mailbox.replies_to_same_address:
        return None
    else:
        text = sender.employee.internal_address
    address = parse_address(text)
    return None if address == author.address else NamedAddress(author.name, address)


def _header(data: LetterData, message_id: str, parties: _Parties, mailbox: Mailbox | None) -> tuple[str, str]:
    """The fields before and after Bcc."""
    above = [
        date_field("Date", written_at(data)),
        address_field("From", [parties.author]),
        *([address_field("Reply-To", [parties.reply_to])] if parties.reply_to else ()),
        *_destinations(parties),
    ]
    below = [
        text_field("Subject", _subject(data)),
        token_field("Message-ID", [message_id]),
        *_thread_fields(data),
        identifier_field("X-Sendas-Task", data.task.id),
        *([identifier_field("X-Sendas-Comment", data.comment.id)] if isinstance(data, CommentCreated) else ()),
        *(service_fields(mailbox.service, provider_of(mailbox.smtp.host)) if mailbox else ()),
        *([_AUTOMATED] if data.automated else ()),
        _MIME_VERSION,
    ]
    return "".join(above), "".join(below)


def _destinations(parties: _Parties) -> list[str]:
    # An empty group (RFC 5322 section 3.4) where there is no To: some servers add one of their own, or refuse.
    to = address_field("To", parties.to) if parties.to else token_field("To", ["undisclosed-recipients:;"])
    return [to, address_field("Cc", parties.cc)] if parties.cc else [to]


def _subject(data: LetterData) -> str:
    if data.subject:
        return data.subject
    title = data.task.title
    if not isinstance(data, CommentCreated) or title.lower().startswith("re:"):
        return title
    return f"Re: {title}".rstrip(" ")


def _thread_fields(data: LetterData) -> list[str]:
    fields = []
    if (answered := parent(data.thread)) is not None:
        fields.append(token_field("In-Reply-To", [answered]))
    if conversation := references(data.thread):
        fields.append(token_field("References", conversation))
    return fields


def _content(data: LetterData, sender: Sender, files: Sequence[Attachment], boundaries: Boundaries) -> bytes:
    """The simplest MIME structure for the content (RFC 2046 section 5.1, RFC 2387).

    At its fullest: multipart/mixed of multipart/alternative (plain text, then multipart/related of HTML and its
    pictures) and attached files. A part begins with its own header fields, so the outermost one continues the letter's
    header.
    """
    carried = sum(len(file.content) for file in files if file.content is not None)
    inline = InlineParts(_domain(sender), files, MAX_INLINE_BYTES - carried)
    texts = letter_texts(data, sender, [file for file in files if file.content is None], inline.take)
    content = text_part("html", texts.html(), boundaries)
    if inline.parts:
        parts = [content, *(attached_part(part, part.content) for part in inline.parts if part.content is not None)]
        content = multipart("related", boundaries.related, parts, ' type="text/html";')
    if sender.account.settings.plain_text_version:
        # The simplest first (RFC 2046 section 5.1.4).
        content = multipart(
            "alternative", boundaries.alternative, [text_part("plain", texts.text(), boundaries), content]
        )
    attached = [file for file in files if file.content is not None and file.content_id is None]
    if not attached:
        return content
    parts = [content, *(attached_part(file, file.content) for file in attached if file.content is not None)]
    return multipart("mixed", boundaries.mixed, parts)


# Deliberately wider than the grammar of msg-id, which requires an `@`: a mail program's odd Message-ID must come
# back unchanged, or the thread breaks. Without white space and brackets it can do no harm. The length leaves room for
# `In-Reply-To: ` on a line of 998 characters.
_MESSAGE_ID = re.compile(r"(?=.{3,985}\Z)<[!-;=?-~]+>")

# The first one identifies the start of the conversation, the last ones are those that mail programs still have.
# Some servers refuse a letter with more than about ten kilobytes of header.
MAX_REFERENCES = 40
MAX_REFERENCES_CHARS = 8_000


def is_message_id(text: str) -> bool:
    """True when the text can be a Message-ID in a header; what looks like an encoded word cannot."""
    return _MESSAGE_ID.fullmatch(text) is not None and "=?" not in text


def parent(thread: Thread) -> str | None:
    """The Message-ID of the letter that this one answers, or None."""
    if thread.in_reply_to is None:
        return None
    text = thread.in_reply_to.strip(" ")
    return text if is_message_id(text) else None


def references(thread: Thread) -> list[str]:
    """The conversation's Message-IDs, oldest first and the parent last; of a long one the first and the last ones."""
    answered = parent(thread)
    first = next((text for text in _valid(thread.references) if text != answered), None)
    kept: list[str] = [] if answered is None else [answered]
    seen = {first, answered}
    chars = sum(len(text) for text in seen if text is not None)
    # Backwards and lazily, so that ten thousand references cost no more than forty.
    for text in _valid(thread.references[::-1]):
        if text in seen:
            continue
        chars += len(text)
        if len(kept) + 1 >= MAX_REFERENCES or chars > MAX_REFERENCES_CHARS:
            break
        kept.append(text)
        seen.add(text)
    if first is not None:
        kept.append(first)
    return kept[::-1]


def _valid(texts: tuple[str, ...]) -> Iterator[str]:
    return (stripped for text in texts if is_message_id(stripped := text.strip(" ")))
