"""Letters between planning and sending."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LetterMode(StrEnum):
    """One common letter that names all recipients, or one letter each that names no other recipient."""

    COMMON = "common"
    EACH = "each"


@dataclass(frozen=True, slots=True)
class PlannedLetter:
    """A letter of an event, before it is composed.

    `named` are the positions (in the event's `recipients`) of the letter's addressees, `envelope` those to send it to
    now: fewer, when others have it already.
    """

    mode: LetterMode
    named: tuple[int, ...]
    envelope: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file with its contents, or without them (`content` None) when the letter links to it.

    One with a `content_id` is a picture that the HTML refers to by `cid:`.
    """

    name: str
    content_type: str
    size: int
    link: str
    content: bytes | None = None
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class ComposedLetter:
    """A letter as bytes.

    `wire` is what the mail server gets: CRLF throughout, ending in CRLF, no Bcc, not dot-stuffed. `copy` is what
    goes to Sent: the same bytes, and the Bcc header where there is one.
    """

    message_id: str
    date: datetime
    envelope_from: str
    envelope_to: tuple[str, ...]
    wire: bytes
    copy: bytes
    needs_smtputf8: bool
