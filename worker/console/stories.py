"""One event's records as a story for people: what happened, the servers' replies, and possible next actions.

The history stores what arrived over the broker, perhaps from another version, so no value is assumed to be well
formed; malformed ones are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from worker.console.languages import Code
from worker.console.wording import TONES
from worker.domain.vocabulary import ResultType
from worker.history.model import Record

_MOST_LISTED = 100
_MOST_CHARS = 2_000

_LETTERS = frozenset(
    {ResultType.MAIL_SENT, ResultType.MAIL_DEFERRED, ResultType.MAIL_FAILED, ResultType.MAIL_UNCERTAIN}
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's own words."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """The outcome of a letter for one recipient."""

    address: str
    outcome: str
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Considered:
    """One address considered while choosing the sender."""

    tier: str
    mailbox_id: str | None
    verdict: str
    why: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """One record of a story. `facts` maps English names to values."""

    record: Record
    tone: str
    sender: str | None
    tier: str | None
    snapshot_version: int | None
    explanation: Sequence[Considered]
    recipients: Sequence[Recipient]
    reply: Reply | None
    hint: str | None
    detail: str | None
    next_attempt_at: datetime | None
    facts: Sequence[tuple[str, str]] = field(default=())


@dataclass(frozen=True, slots=True)
class Next:
    """What a person can do: a text with `at` in it, and whether under dead letters or on the mailbox's page."""

    text: str
    at: datetime | None = None
    is_dead: bool = False
    is_about_mailbox: bool = False


def chapters(records: Sequence[Record], code: Code) -> list[Chapter]:
    """The story's entries, in the order of the records."""
    return [_chapter(record, code) for record in records]


def what_next(records: Sequence[Record]) -> Next | None:
    """What comes after the letter's last result; None if nothing is known of the letter."""
    last = next((record for record in reversed(records) if record.type in _LETTERS), None)
    if last is None:
        return None
    at = _moment(last.body.get("next_attempt_at"))
    is_mailbox = last.body.get("scope") == "mailbox"
    match last.type:
        case ResultType.MAIL_SENT:
            return Next("The mail server accepted the letter. Nothing to do.")
        case ResultType.MAIL_DEFERRED if at is not None:
            return Next("It will be retried automatically.", at, is_about_mailbox=is_mailbox)
        case ResultType.MAIL_DEFERRED:
            return Next("It is waiting for an operator among the dead letters.", is_dead=True)
        case ResultType.MAIL_UNCERTAIN:
            return Next(
                "Find out whether it arrived, in Sent or from the recipient, before you send it again.", is_dead=True
            )
        case _:
            return Next("Fix the cause, then send the letter again from the product.", is_about_mailbox=is_mailbox)


def _chapter(record: Record, code: Code) -> Chapter:
    body = record.body
    sender = _mapping(body.get("sender"))
    hint = _mapping(body.get("hint"))
    version = sender.get("snapshot_version")
    return Chapter(
        record=record,
        tone=TONES.get(record.type, "plain"),
        sender=_text(sender.get("address")),
        tier=_text(sender.get("tier")),
        snapshot_version=version if isinstance(version, int) else None,
        explanation=[_considered(each) for each in _list(sender.get("explanation"))],
        recipients=[_recipient(each) for each in _list(body.get("recipients"))],
        reply=_reply(body.get("reply")),
        hint=_text(hint.get(code)) or _text(hint.get("en")),
        detail=_text(body.get("detail")),
        next_attempt_at=_moment(body.get("next_attempt_at")),
        facts=_facts(body),
    )


_FACTS = {
    "attempt": "Attempt",
    "scope": "Scope",
    "action": "Action",
    "message_id": "Message-ID",
    "provider_message_id": "Message-ID at the provider",
    "outcome": "Outcome",
    "folder": "Folder",
    "uid": "UID",
    "uid_validity": "UIDVALIDITY",
    "resolution_policy": "Policy in doubt",
    "resumed_by": "Resumed by",
    "operator": "Operator",
    "why": "Why",
    "count": "Count",
    "ok": "Passed",
}
"""Members of results that are shown as they are, with their names for people."""


def fact_names() -> Sequence[str]:
    """The English names of facts."""
    return (*_FACTS.values(), "Timings")


def _facts(body: Mapping[str, object]) -> list[tuple[str, str]]:
    facts = [(label, text) for name, label in _FACTS.items() if (text := _text(body.get(name))) is not None]
    timings = _mapping(body.get("timings"))
    parts = [f"{name} {value:.3f} s" for name, value in timings.items() if isinstance(value, int | float)]
    return [*facts, ("Timings", ", ".join(parts[:_MOST_LISTED]))] if parts else facts


def _recipient(value: object) -> Recipient:
    given = _mapping(value)
    return Recipient(_text(given.get("address")) or "?", _text(given.get("outcome")) or "?", _reply(given.get("reply")))


def _considered(value: object) -> Considered:
    given = _mapping(value)
    return Considered(
        _text(given.get("tier")) or "?",
        _text(given.get("mailbox_id")),
        _text(given.get("verdict")) or "?",
        _text(given.get("why")) or "?",
    )


def _reply(value: object) -> Reply | None:
    given = _mapping(value)
    code = " ".join(text for name in ("code", "enhanced") if (text := _text(given.get(name))))
    words = _text(given.get("text")) or ""
    return Reply(code, words) if code or words else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value[:_MOST_LISTED] if isinstance(value, list | tuple) else ()


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)[:_MOST_CHARS] or None if isinstance(value, str | int | float) else None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
