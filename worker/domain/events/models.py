"""The events that the product publishes and the worker consumes: their `data`, as pydantic models.

Unknown extra fields are ignored, so that producers can evolve first; unknown values of a closed list are errors. A
null equals an absent field. Text by people is cleaned; text by machines is refused when it is not clean.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError

from worker.domain.addresses import EmailAddress, as_written, problem_of
from worker.domain.identity import event_key
from worker.domain.letter.media_types import OCTET_STREAM, media_type
from worker.domain.snapshot.model import Mailbox
from worker.domain.text import Line, Token
from worker.domain.vocabulary import EventType, Role

MAX_RECIPIENTS = 1_000
MAX_FILES = 200
MAX_HTML_CHARS = 5_000_000
MAX_URL_CHARS = 8_000  # signed URLs of object stores are long
MAX_REFERENCES = 100
MAX_MESSAGE_ID_CHARS = 990

_AT_A_TIME_CHARS = 65_536  # other threads get their turn in between
_DROPPED_FROM_HTML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOT_IN_URLS = re.compile(r"[\s\x00-\x20\x7f-\x9f\u2028\u2029<>\"\\`]")


def _html(text: str) -> str:
    # A letter must not contain NUL (RFC 5321 section 4.5.2), and it means nothing in HTML; a paste can contain one.
    if not _DROPPED_FROM_HTML.search(text):
        return text
    pieces = (text[start : start + _AT_A_TIME_CHARS] for start in range(0, len(text), _AT_A_TIME_CHARS))
    return "".join(_DROPPED_FROM_HTML.sub("", piece) for piece in pieces)


def _at_most(most: int) -> BeforeValidator:
    """Refuse a longer list before validating its items: each bad one would add an error."""

    def check(value: object) -> object:
        if isinstance(value, list | tuple) and len(value) > most:
            context = {"field_type": "Tuple", "max_length": most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", context)
        return value

    return BeforeValidator(check)


def _http_url(url: str) -> str:
    if _NOT_IN_URLS.search(url):
        raise ValueError("a URL has no spaces, control characters, quotes, angle brackets or backslashes in it")
    try:
        parts = urlsplit(url)
    except ValueError:  # its text repeats the URL
        raise ValueError("the host of a URL is malformed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL here begins with http:// or https:// and a host")
    return url


def _plausible(moment: AwareDatetime) -> AwareDatetime:
    # At the ends of the calendar a time zone conversion overflows.
    if not 1970 <= moment.year < 9999:
        raise ValueError("the year is not plausible")
    return moment


def _media_type(value: object) -> object:
    return media_type(value) if isinstance(value, str) else value


def _short_enough(message_id: str | None) -> str | None:
    # It would not fit on one header line (RFC 5322 section 2.1.1), so it is no Message-ID.
    return message_id if message_id is not None and len(message_id) <= MAX_MESSAGE_ID_CHARS else None


def _bounded(references: tuple[str, ...]) -> tuple[str, ...]:
    references = tuple(reference for reference in references if _short_enough(reference))
    # Mail programs thread by the root and the latest; a conversation of years must not be refused.
    return references if len(references) <= MAX_REFERENCES else (references[0], *references[1 - MAX_REFERENCES :])


Html = Annotated[str, StringConstraints(max_length=MAX_HTML_CHARS), AfterValidator(_html)]
HttpUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_URL_CHARS),
    AfterValidator(_http_url),
    Field(json_schema_extra={"format": "uri"}),
]
# Beyond this, JSON implementations disagree about integers (RFC 8259 section 6).
WholeNumber = Annotated[int, Field(ge=0, le=2**53 - 1)]
Moment = Annotated[AwareDatetime, AfterValidator(_plausible)]
MediaType = Annotated[str, BeforeValidator(_media_type)]
# The content of a Content-ID (RFC 2045 section 7), without the angle brackets.
ContentId = Annotated[str, StringConstraints(pattern=r"^[!-;=?-~]{1,250}$")]
References = Annotated[tuple[str, ...], AfterValidator(_bounded)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {name: value for name, value in data.items() if value is not None}
        return data

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe nulls in the schema as the validator above treats them."""
        json_schema = handler.resolve_ref_schema(handler(schema))
        for name, of_property in json_schema["properties"].items():
            is_null_known = of_property.get("type") == "null" or {"type": "null"} in of_property.get("anyOf", ())
            if name not in json_schema.get("required", ()) and not is_null_known:
                told = {key: of_property.pop(key) for key in ("description", "default") if key in of_property}
                json_schema["properties"][name] = {"anyOf": [of_property, {"type": "null"}], **told}
        return json_schema


class Author(_Model):
    """The employee who wrote the comment or the task."""

    employee_id: Token = Field(description="as the snapshot has it")


class Task(_Model):
    """The task a comment belongs to."""

    id: Token
    title: Line
    project_id: Token | None = Field(default=None, description="null: the task belongs to no project")


class NewTask(Task):
    """A task just created, with its description."""

    html: Html
    created_at: Moment


class Comment(_Model):
    """A comment just written."""

    id: Token
    html: Html
    created_at: Moment


class Template(_Model):
    """The template a task was made from; only with the field does an author's choice of sender count."""

    id: Token
    has_external_address_field: bool = False


class Recipient(_Model):
    """One who is to receive the letter; `role` counts in a common letter only."""

    address: Annotated[str, BeforeValidator(as_written)] = Field(
        description="one that cannot be read fails for this recipient alone (`recipient_refused`)"
    )
    name: Line = ""
    role: Role = Role.TO
    contact_id: Token | None = None

    @model_validator(mode="before")
    @classmethod
    def _missing_is_empty(cls, data: Any) -> Any:
        # A contact without an address must not cost the others their letter.
        return {**data, "address": ""} if isinstance(data, dict) and data.get("address") is None else data

    @property
    def problem(self) -> str | None:
        """What is wrong with the address; None when letters can be sent to it."""
        return problem_of(self.address)


class Thread(_Model):
    """Message-IDs of the conversation, with angle brackets, oldest first. Malformed ones are left out of the letter."""

    in_reply_to: Annotated[str | None, AfterValidator(_short_enough)] = None
    references: References = Field(default=(), description="of more than 100 the first and the latest are kept")


class File(_Model):
    """A file of the comment or task: `url` is where the worker downloads it, `link` what a person may click."""

    name: Line
    content_type: MediaType = Field(
        default=OCTET_STREAM,
        description="of the parameters those stay that say how to read it, such as `charset`; no type: bytes",
    )
    size: WholeNumber = Field(description="bytes")
    url: HttpUrl = Field(description="where the worker downloads it")
    link: HttpUrl = Field(description="what a person may click")
    content_id: ContentId | None = Field(default=None, description="the HTML shows this picture as `cid:` and this")


class _LetterData(_Model):
    """What both kinds of letters have in common."""

    account_id: Token = Field(description="as the snapshot has it")
    author: Author
    mailbox_id: Token | None = Field(default=None, description="the sender the author chose")
    recipients: Annotated[tuple[Recipient, ...], _at_most(MAX_RECIPIENTS)] = Field(
        min_length=1, max_length=MAX_RECIPIENTS
    )
    subject: Line | None = Field(
        default=None, description="without one: the task's title, `Re: ` before it in a comment"
    )
    thread: Thread = Thread()
    reply_to: EmailAddress | None = Field(default=None, description="a reply address for this message alone")
    append_signature: bool = Field(default=False, description="the template asks for a signature")
    files: Annotated[tuple[File, ...], _at_most(MAX_FILES)] = Field(default=(), max_length=MAX_FILES)
    history_html: Html | None = Field(default=None, description="earlier messages, already rendered, to go below")
    automated: bool = Field(default=False, description="no person wrote this: the letter says so")
    open_tracking_url: HttpUrl | None = Field(default=None, description="a picture that tells that the letter was read")


class CommentCreated(_LetterData):
    """Data of `comment.created`: an employee wrote a comment that contacts are to receive."""

    task: Task
    comment: Comment


class TaskCreated(_LetterData):
    """Data of `task.created`: a new task that contacts are to be told of."""

    task: NewTask
    template: Template | None = None


LetterData = CommentCreated | TaskCreated


class SavedMailboxCheck(_Model):
    """Data of `mailbox.check.requested` for a mailbox that the snapshot knows."""

    account_id: Token
    mailbox_id: Token
    mailbox: None = None
    send_test_to: EmailAddress | None = Field(default=None, description="a letter is sent there as a last step")


class NewMailboxCheck(_Model):
    """Data of `mailbox.check.requested` for a mailbox that is not saved yet."""

    account_id: Token
    mailbox_id: None = None
    mailbox: Mailbox
    send_test_to: EmailAddress | None = Field(default=None, description="a letter is sent there as a last step")


MailboxCheckRequested = SavedMailboxCheck | NewMailboxCheck


class ConfigurationChanged(_Model):
    """Data of `configuration.changed`: a newer snapshot can be fetched."""

    version: WholeNumber


Data = LetterData | MailboxCheckRequested | ConfigurationChanged
DataT = TypeVar("DataT", bound=Data, covariant=True)


@dataclass(frozen=True)
class Event(Generic[DataT]):
    """One event of the product; `traceparent` and `tracestate` (W3C Trace Context) are carried to every result."""

    id: str
    source: str
    type: EventType
    time: datetime
    data: DataT
    traceparent: str | None = None
    tracestate: str | None = None

    @cached_property
    def key(self) -> str:
        """The event's permanent identity, see `identity.event_key`."""
        return event_key(self.source, self.id)


LetterEvent = Event[LetterData]


def written_at(data: LetterData) -> datetime:
    """When the author wrote it: the letter's date."""
    return data.comment.created_at if isinstance(data, CommentCreated) else data.task.created_at
