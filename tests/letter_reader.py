"""The standard library's parser as a reader of letters: an implementation that shares nothing with the composer."""

from email import message_from_bytes, message_from_string, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

from tests.builders import a_comment_event, a_sender
from worker.domain.events.models import LetterEvent
from worker.domain.letter.compose import compose
from worker.domain.letter.model import Attachment, ComposedLetter
from worker.domain.letter.plan import plan
from worker.domain.snapshot.resolution import Sender


def composed(
    event: LetterEvent | None = None, sender: Sender | None = None, attachments: tuple[Attachment, ...] = ()
) -> ComposedLetter:
    """The first letter of the event's plan."""
    event = event or a_comment_event()
    sender = sender or a_sender()
    return compose(event, sender, plan(event.data, sender.account.settings)[0], attachments)


def read(raw: bytes) -> EmailMessage:
    """The letter as another program understands it."""
    if raw.isascii():
        return message_from_bytes(raw, policy=policy.default)
    return message_from_string(raw.decode(), policy=policy.default)  # the bytes' parser does not read RFC 6532


def field(raw: bytes, name: str) -> str | None:
    """A field's value, decoded."""
    value = read(raw)[name]
    return None if value is None else str(value)


def names_and_addresses(raw: bytes, name: str) -> list[tuple[str, str]]:
    """Display names and addresses of a field, in order; none when it is not there.

    By the older interface: the newer one leaves spaces between the encoded words of a long name (cpython gh-128110).
    """
    value = message_from_string(raw.decode(), policy=policy.compat32)[name]
    if value is None:
        return []
    return [(str(make_header(decode_header(phrase))), address) for phrase, address in getaddresses([value])]


def text_of(message: EmailMessage, kind: str) -> str:
    """The body's text of the kind `html` or `plain`, with bare line feeds and none at the end."""
    part = message.get_body((kind,))
    assert part is not None, f"no text/{kind} in the letter"
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n").rstrip("\n")


def defects(message: EmailMessage) -> list[object]:
    """Everything that the parser found wrong, in the letter's structure and in every field of every part.

    But for encoded words in the `name` of a file: RFC 2047 section 5 does not foresee them there, and they are what
    programs without RFC 2231 read.
    """
    found: list[object] = []
    for part in message.walk():
        found += part.defects
        for name, value in part.items():
            found += _field_defects(name, value)
    return found


_OF_ENCODED_NAMES = ("encoded word inside quoted string", "missing trailing whitespace after encoded-word")


def _field_defects(name: str, value: Any) -> list[object]:
    is_file_type = name.lower() == "content-type" and "name" in value.params
    return [defect for defect in value.defects if not (is_file_type and str(defect) in _OF_ENCODED_NAMES)]
