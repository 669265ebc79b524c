"""The events that the product publishes and the worker consumes: their `data`, as pydantic models.

Unknown extra fields are ignored, so that producers can evolve first; unknown values of a closed list are errors.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt

from worker.domain.addresses import EmailAddress
from worker.domain.snapshot import Mailbox
from worker.domain.text import Line, Token
from worker.domain.vocabulary import Role

MAX_RECIPIENTS = 1_000
MAX_FILES = 200
MAX_HTML_CHARS = 5_000_000

Html = Annotated[str, Field(max_length=MAX_HTML_CHARS)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Author(_Model):
    """The employee who wrote the comment or the task."""

    employee_id: Token


class Task(_Model):
    """The task a comment belongs to."""

    id: Token
    title: Line
    project_id: Token | None = None


class NewTask(Task):
    """A task just created, with its description."""

    html: Html
    created_at: AwareDatetime


class Comment(_Model):
    """A comment just written."""

    id: Token
    html: Html
    created_at: AwareDatetime


class Template(_Model):
    """The template a task was made from; only with the field does an author's choice of sender count."""

    id: Token
    has_external_address_field: bool = False


class Recipient(_Model):
    """One who is to receive the letter; `role` counts in a common letter only."""

    address: EmailAddress
    name: Line = ""
    role: Role = Role.TO
    contact_id: Token | None = None


class Thread(_Model):
    """Message-IDs of the conversation, with angle brackets, oldest first. Malformed ones are left out of the letter."""

    in_reply_to: str | None = None
    references: tuple[str, ...] = ()


class File(_Model):
    """A file of the comment or task: `url` is where the worker downloads it, `link` what a person may click."""

    name: Line
    content_type: str = "application/octet-stream"
    size: NonNegativeInt = Field(description="bytes")
    url: Token
    link: Token


class _LetterData(_Model):
    """What both kinds of letters have in common."""

    account_id: Token
    author: Author
    mailbox_id: Token | None = Field(default=None, description="the sender the author chose")
    recipients: tuple[Recipient, ...] = Field(min_length=1, max_length=MAX_RECIPIENTS)
    subject: Line | None = None
    thread: Thread = Thread()
    reply_to: EmailAddress | None = Field(default=None, description="a reply address for this message alone")
    append_signature: bool = False
    files: tuple[File, ...] = Field(default=(), max_length=MAX_FILES)
    history_html: Html | None = None
    open_tracking_url: Token | None = None


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
    mailbox: Literal[None] = None
    send_test_to: EmailAddress | None = None


class NewMailboxCheck(_Model):
    """Data of `mailbox.check.requested` for a mailbox that is not saved yet."""

    account_id: Token
    mailbox_id: Literal[None] = None
    mailbox: Mailbox
    send_test_to: EmailAddress | None = None


MailboxCheckRequested = SavedMailboxCheck | NewMailboxCheck


class ConfigurationChanged(_Model):
    """Data of `configuration.changed`: a newer snapshot can be fetched."""

    version: NonNegativeInt
