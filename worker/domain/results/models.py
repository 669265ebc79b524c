"""What the worker publishes: the `data` of every outgoing event, as pydantic models.

Every field is always present, null where it does not apply, so that consumers need one shape per type. Text from
servers is cleaned here: nothing that a server says may keep a result from being published.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from worker.domain.failure.hints import Hint
from worker.domain.snapshot.resolution import Consideration, Resolution
from worker.domain.text import one_line
from worker.domain.transmission import Reply
from worker.domain.vocabulary import (
    Action,
    CopyOutcome,
    Outcome,
    Reason,
    ResultType,
    ResumedBy,
    Scope,
    SignInUse,
    Tier,
    UncertainPolicy,
    Verdict,
    Why,
)

MAX_WORDS_CHARS = 2_000


def words(text: object) -> object:
    """Clean a text for `Words`; any other value stays unchanged."""
    return one_line(text[:MAX_WORDS_CHARS]) if isinstance(text, str) else text


Words = Annotated[str, BeforeValidator(words)]
"""Someone else's words: on one line, without control characters and lone surrogates, cut at 2,000 characters."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(lambda value: round(value, 6))]
Timings = Annotated[
    Mapping[str, Seconds],
    Field(description="seconds per stage, such as queue, resolve, connect, tls, auth, mail, rcpt, data, append"),
]


AccountId = Annotated[str, Field(description="as the event has it")]
MessageId = Annotated[str, Field(description="the letter's Message-ID as sent")]
MailboxId = Annotated[str, Field(description="as the snapshot has it")]


class _Model(BaseModel):
    """What all data of results have in common."""

    # Every field is written, so the schemas promise it to consumers.
    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_serialization_defaults_required=True)


class ServerReply(_Model):
    """A mail server's own words."""

    code: int | None = Field(description="reply code (RFC 5321); null when the protocol has none, as IMAP")
    enhanced: Words | None = Field(default=None, description="enhanced status code (RFC 3463), such as 5.1.1")
    text: Words = Field(description="the text of the reply without its codes, lines joined")


class RecipientResult(_Model):
    """What became of the letter for one recipient."""

    address: str = Field(description="as the event has it")
    contact_id: str | None = Field(default=None, description="as the event has it")
    outcome: Outcome
    reply: ServerReply | None = Field(default=None, description="null when no server said anything")


class Considered(_Model):
    """One address that was looked at on the way to the sender."""

    tier: Tier
    mailbox_id: str | None = Field(description="null: the author's internal address")
    verdict: Verdict
    why: Why


class SenderResult(_Model):
    """Who the letter is from, and why."""

    mailbox_id: str | None = Field(description="null: the internal address through the platform's relay, or no sender")
    address: str | None = Field(description="null when there is no sender")
    tier: Tier
    snapshot_version: int = Field(description="version of the configuration snapshot that decided")
    explanation: tuple[Considered, ...] = Field(description="in the order in which addresses were looked at")


class _OfEvent(_Model):
    """Which event, and which task or comment, a result is about."""

    account_id: str | None = Field(description="null only when an invalid event does not say it")
    event_id: str = Field(description="`id` of the event that asked for the letter")
    event_source: str = Field(description="`source` of that event")
    event_type: str = Field(description="`type` of that event")
    task_id: str | None = Field(default=None, description="null only when an invalid event does not say it")
    comment_id: str | None = Field(default=None, description="null for the letter of a new task")
    message_id: str | None = Field(default=None, description="the letter's Message-ID as sent; null: none was composed")
    attempt: int = Field(ge=0, description="counted from 1; 0: it came to no attempt")
    timings: Timings = Field(default_factory=dict)


class _Judged(_Model):
    """Why something did not succeed, whom that concerns and what follows; all null when it did succeed."""

    reason: Reason | None = None
    scope: Scope | None = None
    action: Action | None = None
    hint: Hint | None = Field(default=None, description="the reason, for people")
    detail: Words | None = Field(default=None, description="more about the reason, for operators; holds no secret")


class MailResult(_OfEvent, _Judged):
    """What all results of letters have in common."""

    recipients: tuple[RecipientResult, ...] = Field(description="those whom this result is about")
    provider_message_id: Words | None = Field(
        default=None, description="the Message-ID that the recipients see, where the server says it rewrote it"
    )
    sender: SenderResult | None = Field(default=None, description="null when it came to no search for one")
    next_attempt_at: AwareDatetime | None = None


class MailSent(MailResult):
    """The mailbox's server accepted the letter for these recipients, and no more is known than that."""

    account_id: AccountId
    message_id: MessageId
    sender: SenderResult


class MailDeferred(MailResult):
    """An attempt did not succeed for these recipients; another follows.

    `next_attempt_at` null: after a mistake of our own (`internal_error`), once an operator lets it.
    """

    account_id: AccountId
    reason: Reason
    hint: Hint


class MailFailed(MailResult):
    """No further attempt for these recipients. The list is empty when an invalid event does not say who they are."""

    reason: Reason
    hint: Hint


class MailUncertain(MailResult):
    """The letter was handed over and no answer came: nobody knows whether it was accepted."""

    account_id: AccountId
    message_id: MessageId
    sender: SenderResult
    reason: Reason
    hint: Hint
    resolution_policy: UncertainPolicy = Field(description="what follows")


class _OfCopy(_OfEvent, _Judged):
    """Which copy a result is about, and where it is or was to be."""

    account_id: AccountId
    message_id: MessageId
    mailbox_id: MailboxId
    folder: Words | None = Field(default=None, description="name of the folder, decoded")
    uid: int | None = Field(default=None, description="of the copy, where the server tells it (RFC 4315)")
    uid_validity: int | None = None
    reply: ServerReply | None = None


class SentCopyResult(_OfCopy):
    """What became of the copy in the Sent folder of the mailbox. No letter is ever sent again because of it."""

    outcome: CopyOutcome


class SentCopyDeferred(_OfCopy):
    """The copy could not be saved yet, and is tried again.

    Told at the first time and when the reason changes; how it ended is told by another result.
    """

    outcome: None = Field(default=None, description="null: it has none yet")
    reason: Reason
    hint: Hint
    next_attempt_at: AwareDatetime


class MailboxSuspended(_Judged):
    """No letters leave this mailbox until its settings change or somebody resumes it; they wait."""

    account_id: AccountId
    mailbox_id: MailboxId
    address: str | None = Field(default=None, description="of the mailbox, where it is known")
    reason: Reason
    hint: Hint
    reply: ServerReply | None = Field(default=None, description="what the server said")
    suspended_at: AwareDatetime
    event_id: str | None = Field(default=None, description="the event whose letter met the reason")


class MailboxResumed(_Model):
    """Letters leave this mailbox again."""

    account_id: AccountId
    mailbox_id: MailboxId
    address: str | None = None
    resumed_at: AwareDatetime
    resumed_by: ResumedBy
    operator: Words | None = Field(default=None, description="who, when `resumed_by` is `operator`")
    why: Words | None = Field(default=None, description="the operator's own words")
    reason: Reason | None = Field(default=None, description="why it had been suspended")


class CheckStepResult(_Model):
    """One step of a mailbox's check."""

    name: str = Field(
        pattern=r"^[a-z0-9_]+$",
        description="settings, dns, connect, tls, greeting, capabilities, auth, sender, test_letter, imap_dns, "
        "imap_connect, imap_tls, imap_greeting, imap_auth, sent_folder, sent_writable, mx, spf, dkim, dmarc; others "
        "may follow",
    )
    ok: bool | None = Field(description="null: not looked at, because an earlier step failed or it does not apply")
    required: bool = Field(default=True, description="false: advice; letters leave without it (SPF, DKIM, DMARC)")
    seconds: Seconds = 0.0
    reply: ServerReply | None = Field(default=None, description="the server's own words")
    reason: Reason | None = Field(default=None, description="null also where the closed list has no reason that fits")
    hint: Hint | None = Field(default=None, description="for people; a step that succeeded may have one as a warning")
    help_url: str | None = Field(default=None, description="the provider's own page about it")
    detail: Words | None = None


class MailboxChecked(_Model):
    """The answer to `mailbox.check.requested`, step by step."""

    account_id: AccountId
    event_id: str = Field(description="`id` of the event that asked for the check")
    event_source: str
    mailbox_id: str | None = Field(description="null: the mailbox was in the request itself, not saved yet")
    address: str | None = None
    ok: bool = Field(description="true: every required step succeeded")
    steps: tuple[CheckStepResult, ...]


class SealedToken(_Model):
    """A secret as the snapshot takes it."""

    sealed: str = Field(repr=False, description="sealed for the workers' own key; nobody else can read it")


class MailboxTokenRotated(_Model):
    """The token endpoint handed out a new refresh token, and the former one may be void: store it in the snapshot."""

    account_id: str | None = Field(description="null: the platform's own relay")
    mailbox_id: str | None = Field(
        description="as the snapshot has it; null: the platform's own relay, or no mailbox signs in so any more"
    )
    username: str = Field(description="the sign-in's user name")
    used_for: tuple[SignInUse, ...] = Field(
        description="where the mailbox has this sign-in: smtp.auth, sent_copy.imap.auth, or both"
    )
    refresh_token: SealedToken = Field(description="takes the place of `refresh_token` in the sign-in, as it is")
    rotated_at: AwareDatetime = Field(description="of two tokens for the same sign-in the later one is good")


class DeadLetterAct(_Model):
    """What an operator did with dead letters: who, why, how many."""

    operator: Words = Field(description="who")
    why: Words
    count: int = Field(ge=0, description="how many letters")
    selection: Mapping[str, str] = Field(default_factory=dict, description="the filters that selected them")
    consents: tuple[str, ...] = Field(
        default=(), description="what was allowed beyond the rules, such as resend_uncertain or force_loop"
    )
    by_reason: Mapping[str, int] = Field(default_factory=dict, description="how many of each reason")


Result = (
    MailSent
    | MailDeferred
    | MailFailed
    | MailUncertain
    | SentCopyResult
    | SentCopyDeferred
    | MailboxSuspended
    | MailboxResumed
    | MailboxChecked
    | MailboxTokenRotated
    | DeadLetterAct
)

_COPY_TYPES: Mapping[CopyOutcome, ResultType] = {
    CopyOutcome.SAVED: ResultType.SENT_COPY_SAVED,
    CopyOutcome.ALREADY_THERE: ResultType.SENT_COPY_SAVED,
    CopyOutcome.PROVIDER_SAVES: ResultType.SENT_COPY_SKIPPED,
    CopyOutcome.TURNED_OFF: ResultType.SENT_COPY_SKIPPED,
    CopyOutcome.NO_IMAP: ResultType.SENT_COPY_SKIPPED,
    CopyOutcome.NO_FOLDER: ResultType.SENT_COPY_FAILED,
    CopyOutcome.FAILED: ResultType.SENT_COPY_FAILED,
}


def copy_type(outcome: CopyOutcome) -> ResultType:
    """The event type that reports this outcome."""
    return _COPY_TYPES[outcome]


def server_reply(reply: Reply | None) -> ServerReply | None:
    """A server's reply as results show it."""
    return None if reply is None else ServerReply(code=reply.code, enhanced=reply.enhanced, text=reply.text)


def sender_result(resolution: Resolution, snapshot_version: int) -> SenderResult:
    """The sender found, or the reason why none was."""
    sender = resolution.sender
    return SenderResult(
        mailbox_id=sender.mailbox.id if sender and sender.mailbox else None,
        address=sender.address if sender else None,
        tier=resolution.tier,
        snapshot_version=snapshot_version,
        explanation=tuple(
            Considered(tier=seen.tier, mailbox_id=seen.mailbox_id, verdict=seen.verdict, why=seen.why)
            for seen in resolution.explanation
        ),
    )


def explanation_json(considered: Iterable[Consideration]) -> list[dict[str, object]]:
    """The addresses considered for the sender, in that order."""
    return [
        {
            "tier": seen.tier.value,
            "mailbox_id": seen.mailbox_id,
            "verdict": seen.verdict.value,
            "why": seen.why.value,
        }
        for seen in considered
    ]
