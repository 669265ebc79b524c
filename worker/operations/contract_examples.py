"""Examples of the contract: one set for the schemas, the AsyncAPI document and the tests that validate them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from worker.domain import results
from worker.domain.copy_hints import copy_hint
from worker.domain.envelope import EVENT_CLASSES, AnyResultEvent
from worker.domain.hints import hint_for
from worker.domain.identity import event_key, result_id
from worker.domain.vocabulary import (
    Action,
    CopyOutcome,
    EventType,
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

Json = dict[str, Any]

_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_NOW = datetime(2026, 11, 23, 10, 0, 2, tzinfo=UTC)
_EVENT_ID = "0192f3a0-5a1c-7c3e-9d3b-0f6c5b1e7a10"
_EVENT_SOURCE = "/product/comments"
_MESSAGE_ID = "<5f0c8f1f0e7f4f0f9d0e6d8a1b2c3d4e@acme.example>"

_SEALED = "main.v2." + 10 * "c2VhbGVk"

MAILBOX: Json = {
    "id": "mb-support",
    "owner": {"kind": "company"},
    "address": "support@acme.example",
    "display_name": "ACME",
    "active": True,
    "projects": ["p-service"],
    "default": True,
    "access": {"employees": [], "groups": ["support"]},
    "replies_to_same_address": True,
    "signature_html": None,
    "smtp": {
        "host": "smtp.acme.example",
        "port": 465,
        "security": "tls",
        "auth": {"method": "password", "username": "support@acme.example", "secret": {"sealed": _SEALED}},
    },
    "sent_copy": {
        "mode": "auto",
        "folder": None,
        "imap": {"host": "imap.acme.example", "port": 993, "security": "tls"},
    },
    "limits": {"connections": 2, "per_minute": 30, "per_day": 2000},
}

SNAPSHOT: Json = {
    "schema": "sendas.snapshot/v1",
    "version": 1842,
    "generated_at": "2026-11-23T09:00:00Z",
    "platform": {
        "relay": {
            "host": "relay.product.example",
            "port": 587,
            "security": "starttls",
            "auth": {"method": "password", "username": "sendas", "secret": {"env": "RELAY_PASSWORD"}},
        }
    },
    "accounts": [
        {
            "id": "acme",
            "plan": "paid",
            "trial_ends_at": None,
            "settings": {
                "name_all_recipients": False,
                "plain_text_version": True,
                "attach_files": True,
                "unique_reply_address": False,
                "signature_html": None,
            },
            "employees": [
                {
                    "id": "e-ivan",
                    "name": "Иван Петров",
                    "internal_address": "ivan@acme.product.example",
                    "groups": ["support"],
                    "signature_html": "<p>Иван Петров</p>",
                }
            ],
            "mailboxes": [MAILBOX],
        }
    ],
}

_LETTER: Json = {
    "account_id": "acme",
    "author": {"employee_id": "e-ivan"},
    "mailbox_id": "mb-support",
    "recipients": [{"address": "client@example.net", "name": "Клиент", "role": "to", "contact_id": "k-1"}],
    "append_signature": True,
}

_DATA: Mapping[EventType, tuple[Json, ...]] = {
    EventType.COMMENT_CREATED: (
        {
            **_LETTER,
            "task": {"id": "4711", "title": "Ремонт кондиционера", "project_id": "p-service"},
            "comment": {
                "id": "c-99",
                "html": "<p>Мастер приедет завтра.</p>",
                "created_at": "2026-11-23T09:59:58Z",
            },
            "subject": None,
            "thread": {"in_reply_to": "<a1@acme.example>", "references": ["<a0@acme.example>", "<a1@acme.example>"]},
            "reply_to": None,
            "files": [
                {
                    "name": "смета.pdf",
                    "content_type": "application/pdf",
                    "size": 48211,
                    "url": "https://files.product.example/f/77?signature=abc",
                    "link": "https://product.example/d/77",
                }
            ],
            "history_html": None,
            "open_tracking_url": None,
        },
    ),
    EventType.TASK_CREATED: (
        {
            **_LETTER,
            "task": {
                "id": "4711",
                "title": "Ремонт кондиционера",
                "project_id": "p-service",
                "html": "<p>Не охлаждает.</p>",
                "created_at": "2026-11-23T09:59:58Z",
            },
            "template": {"id": "t-1", "has_external_address_field": True},
        },
    ),
    EventType.MAILBOX_CHECK_REQUESTED: (
        {"account_id": "acme", "mailbox_id": "mb-support", "send_test_to": None},
        {"account_id": "acme", "mailbox": MAILBOX, "send_test_to": "ivan@acme.product.example"},
    ),
    EventType.CONFIGURATION_CHANGED: ({"version": 1843},),
}


def data_examples(event_type: EventType) -> tuple[Json, ...]:
    """Examples of an event's data."""
    return _DATA[event_type]


def event_examples(event_type: EventType) -> tuple[Json, ...]:
    """Examples of an event in structured mode."""
    return tuple(
        {
            "specversion": "1.0",
            "id": _EVENT_ID,
            "source": _EVENT_SOURCE,
            "type": event_type.value,
            "time": "2026-11-23T10:00:00Z",
            "datacontenttype": "application/json",
            "traceparent": _TRACEPARENT,
            "data": data,
        }
        for data in data_examples(event_type)
    )


def _reply(code: int, enhanced: str | None, text: str) -> results.ServerReply:
    return results.ServerReply(code=code, enhanced=enhanced, text=text)


def _recipient(outcome: Outcome, reply: results.ServerReply | None) -> results.RecipientResult:
    return results.RecipientResult(address="client@example.net", contact_id="k-1", outcome=outcome, reply=reply)


def _judged(reason: Reason, scope: Scope, action: Action) -> Json:
    return {"reason": reason, "scope": scope, "action": action, "hint": hint_for(reason)}


def _judged_copy(reason: Reason, action: Action) -> Json:
    return {"reason": reason, "scope": Scope.MAILBOX, "action": action, "hint": copy_hint(reason)}


_OF_EVENT: Json = {
    "account_id": "acme",
    "event_id": _EVENT_ID,
    "event_source": _EVENT_SOURCE,
    "event_type": EventType.COMMENT_CREATED.value,
    "task_id": "4711",
    "comment_id": "c-99",
    "message_id": _MESSAGE_ID,
    "attempt": 1,
    "timings": {"queue": 0.012, "connect": 0.081, "tls": 0.064, "auth": 0.12, "mail": 0.02, "data": 0.34},
}

_SENDER = results.SenderResult(
    mailbox_id="mb-support",
    address="support@acme.example",
    tier=Tier.CHOSEN,
    snapshot_version=1842,
    explanation=(
        results.Considered(tier=Tier.CHOSEN, mailbox_id="mb-support", verdict=Verdict.SELECTED, why=Why.USABLE),
    ),
)

_WRONG_PASSWORD = _reply(535, "5.7.8", "Username and Password not accepted.")
_COPY: Json = {key: value for key, value in _OF_EVENT.items() if key != "timings"} | {"mailbox_id": "mb-support"}
_BOX: Json = {"account_id": "acme", "mailbox_id": "mb-support", "address": "support@acme.example"}
_ACT: Json = {"operator": "olga", "selection": {"account": "acme"}, "by_reason": {"invalid_event": 2}, "count": 2}

_RESULTS: Mapping[ResultType, results.Result] = {
    ResultType.MAIL_SENT: results.MailSent(
        **_OF_EVENT,
        recipients=(_recipient(Outcome.SENT, _reply(250, "2.0.0", "Ok: queued as 4XyZ")),),
        sender=_SENDER,
    ),
    ResultType.MAIL_DEFERRED: results.MailDeferred(
        **_OF_EVENT,
        **_judged(Reason.GREYLISTED, Scope.RECIPIENT, Action.RETRY),
        recipients=(_recipient(Outcome.DEFERRED, _reply(451, "4.7.1", "Greylisted, come back later")),),
        sender=_SENDER,
        next_attempt_at=datetime(2026, 11, 23, 10, 0, 32, tzinfo=UTC),
    ),
    ResultType.MAIL_FAILED: results.MailFailed(
        **_OF_EVENT,
        **_judged(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT, Action.FAIL),
        recipients=(_recipient(Outcome.FAILED, _reply(550, "5.1.1", "No such user here")),),
        sender=_SENDER,
    ),
    ResultType.MAIL_UNCERTAIN: results.MailUncertain(
        **_OF_EVENT,
        **_judged(Reason.OUTCOME_UNKNOWN, Scope.MESSAGE, Action.UNCERTAIN),
        recipients=(_recipient(Outcome.UNCERTAIN, None),),
        sender=_SENDER,
        resolution_policy=UncertainPolicy.CHECK,
    ),
    ResultType.SENT_COPY_SAVED: results.SentCopyResult(
        **_COPY, outcome=CopyOutcome.SAVED, folder="Отправленные", uid=4512, uid_validity=1700000000
    ),
    ResultType.SENT_COPY_SKIPPED: results.SentCopyResult(**_COPY, outcome=CopyOutcome.PROVIDER_SAVES),
    ResultType.SENT_COPY_FAILED: results.SentCopyResult(
        **_COPY,
        **_judged_copy(Reason.SENT_FOLDER_DENIED, Action.FAIL),
        outcome=CopyOutcome.FAILED,
        folder="Отправленные",
        detail="NO [NOPERM] Permission denied",
    ),
    ResultType.SENT_COPY_DEFERRED: results.SentCopyDeferred(
        **_COPY,
        **_judged_copy(Reason.TEMPORARILY_UNAVAILABLE, Action.RETRY),
        folder="Отправленные",
        detail="NO [UNAVAILABLE] Try again later",
        next_attempt_at=datetime(2026, 11, 23, 10, 0, 32, tzinfo=UTC),
    ),
    ResultType.MAILBOX_SUSPENDED: results.MailboxSuspended(
        **_BOX,
        **_judged(Reason.AUTH_FAILED, Scope.MAILBOX, Action.SUSPEND),
        reply=_WRONG_PASSWORD,
        suspended_at=_NOW,
        event_id=_EVENT_ID,
    ),
    ResultType.MAILBOX_RESUMED: results.MailboxResumed(
        **_BOX, resumed_at=_NOW, resumed_by=ResumedBy.SETTINGS_CHANGED, reason=Reason.AUTH_FAILED
    ),
    ResultType.MAILBOX_CHECKED: results.MailboxChecked(
        **_BOX,
        event_id=_EVENT_ID,
        event_source="/product/settings",
        ok=False,
        steps=(
            results.CheckStepResult(name="connect", ok=True, seconds=0.08),
            results.CheckStepResult(
                name="auth",
                ok=False,
                seconds=0.3,
                reply=_reply(534, "5.7.9", "Application-specific password required."),
                reason=Reason.AUTH_APP_PASSWORD_REQUIRED,
                hint=hint_for(Reason.AUTH_APP_PASSWORD_REQUIRED),
                help_url="https://support.google.com/accounts/answer/185833",
            ),
            results.CheckStepResult(name="sender", ok=None),
            results.CheckStepResult(name="spf", ok=True, required=False, seconds=0.02),
        ),
    ),
    ResultType.MAILBOX_TOKEN_ROTATED: results.MailboxTokenRotated(
        account_id="acme",
        mailbox_id="mb-support",
        username="support@acme.example",
        used_for=(SignInUse.SMTP,),
        refresh_token=results.SealedToken(sealed=_SEALED),
        rotated_at=_NOW,
    ),
    ResultType.DEAD_LETTER_REPLAYED: results.DeadLetterAct(**_ACT, why="the producer was mended"),
    ResultType.DEAD_LETTER_DISCARDED: results.DeadLetterAct(**_ACT, why="test letters"),
}


def result_example(result_type: ResultType) -> AnyResultEvent:
    """An example of an event out."""
    values: Json = {
        "id": result_id(event_key(_EVENT_SOURCE, _EVENT_ID), [0], result_type.value),
        "source": "/sendas",
        "time": _NOW,
        "traceparent": _TRACEPARENT,
        "data": _RESULTS[result_type],
    }
    return EVENT_CLASSES[result_type](**values)
