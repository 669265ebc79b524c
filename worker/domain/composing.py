"""Composing a letter: the same event and the same configuration give the same bytes, on every version of Python.

A person wrote it, but a program sends it, at once and however often: `Auto-Submitted` (RFC 3834 section 5) keeps
vacation responders and ticket systems from answering every comment into the task, which would be answered in turn,
and `X-Auto-Response-Suppress` says the same to Exchange, which does not read the other. `Precedence` is left out: it
would mark the letter as bulk.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worker.domain.addresses import Address, parse_address
from worker.domain.conversation import parent, references
from worker.domain.event import LetterEvent, written_at
from worker.domain.events import CommentCreated, LetterData
from worker.domain.headers import NamedAddress, address_field, date_field, identifier_field, text_field, token_field
from worker.domain.hypertext import letter_html
from worker.domain.identity import letter_token
from worker.domain.letters import Attachment, ComposedLetter, LetterMode, PlannedLetter
from worker.domain.mime import Boundaries, attached_part, multipart, text_part
from worker.domain.plaintext import plain_text
from worker.domain.providers import provider_of
from worker.domain.resolution import Sender
from worker.domain.services import service_fields
from worker.domain.snapshot import Mailbox
from worker.domain.vocabulary import Role

_OF_EVERY_LETTER = "".join(
    token_field(name, tokens)
    for name, tokens in (
        ("Auto-Submitted", ["auto-generated"]),
        ("X-Auto-Response-Suppress", ["OOF,", "AutoReply"]),
        ("MIME-Version", ["1.0"]),
    )
)


@dataclass(frozen=True, slots=True)
class _Parties:
    """Everybody a letter names. `bcc` stands in the copy only."""

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
        sender: whom the letter is from, and the account whose settings hold.
        letter: what was planned.
        attachments: the event's files; those with contents are attached, the others stand in the letter as links.
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
    """Under the domain of the author's internal address: it stays when the sender changes between two attempts."""
    return f"<{token}@{parse_address(sender.employee.internal_address).domain}>"


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
    """Where answers go, when it is not the author's address: the event's word, else the mailbox's switch."""
    if data.reply_to is not None:
        text = data.reply_to
    elif sender.mailbox is None or sender.mailbox.replies_to_same_address:
        return None
    else:
        text = sender.employee.internal_address
    address = parse_address(text)
    return None if address == author.address else NamedAddress(author.name, address)


def _header(data: LetterData, message_id: str, parties: _Parties, mailbox: Mailbox | None) -> tuple[str, str]:
    """The fields before and after the place of Bcc."""
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
        _OF_EVERY_LETTER,
    ]
    return "".join(above), "".join(below)


def _destinations(parties: _Parties) -> list[str]:
    fields = []
    if parties.to:
        fields.append(address_field("To", parties.to))
    if parties.cc:
        fields.append(address_field("Cc", parties.cc))
    if not fields:
        # An empty group (RFC 5322 section 3.4): some servers add or refuse when nobody at all is named.
        fields.append(token_field("To", ["undisclosed-recipients:;"]))
    return fields


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


def _content(data: LetterData, sender: Sender, attachments: Sequence[Attachment], boundaries: Boundaries) -> bytes:
    """text/html alone, or with its plain text in multipart/alternative; multipart/mixed around it when files go along.

    A part begins with its own header fields, so the outermost one continues the letter's header.
    """
    html = letter_html(data, sender, attachments)
    content = text_part("html", html, boundaries)
    if sender.account.settings.plain_text_version:
        # The simplest first (RFC 2046 section 5.1.4).
        content = multipart(
            "alternative", boundaries.alternative, [text_part("plain", plain_text(html), boundaries), content]
        )
    files = [attached_part(file, file.content) for file in attachments if file.content is not None]
    return multipart("mixed", boundaries.mixed, [content, *files]) if files else content
