"""Results: their shape, their bytes, and that no server's words keep one from being published."""

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from tests.contract_examples import result_example
from worker.domain.events.cloudevents import parse
from worker.domain.results.events import (
    EVENT_CLASSES,
    DeadLetterDiscardedEvent,
    MailSentEvent,
    parse_result,
    to_message,
)
from worker.domain.results.models import (
    CheckStepResult,
    Considered,
    DeadLetterAct,
    MailFailed,
    ServerReply,
    copy_type,
    sender_result,
    server_reply,
)
from worker.domain.snapshot.resolution import Consideration, Resolution
from worker.domain.transmission import Reply
from worker.domain.vocabulary import CopyOutcome, Reason, ResultType, Tier, Verdict, Why


@pytest.mark.parametrize("result_type", ResultType)
def test_bytes_of_a_result_give_the_same_result_and_the_same_bytes_again(result_type: ResultType) -> None:
    """If a stored result is published again, then consumers get the very same bytes."""
    result = result_example(result_type)
    parsed = parse_result(result.to_json())
    assert parsed == result
    assert type(parsed) is EVENT_CLASSES[result_type]
    assert parsed.to_json() == result.to_json()


def test_mail_results_have_every_field_that_the_contract_names() -> None:
    named = {
        "account_id", "event_id", "event_type", "task_id", "comment_id", "message_id", "provider_message_id",
        "recipients", "attempt", "sender", "reason", "hint", "next_attempt_at", "timings",
    }  # fmt: skip
    for result_type in ResultType:
        if result_type.startswith("mail."):
            data = json.loads(result_example(result_type).to_json())["data"]
            assert named <= data.keys()
            assert {"mailbox_id", "address", "tier", "snapshot_version", "explanation"} == data["sender"].keys()
            assert {"tier", "mailbox_id", "verdict", "why"} == data["sender"]["explanation"][0].keys()
            assert {"address", "outcome", "reply"} <= data["recipients"][0].keys()
    assert data["resolution_policy"] == "check"


def test_the_type_and_the_data_of_a_result_cannot_disagree() -> None:
    document = json.loads(result_example(ResultType.MAIL_SENT).to_json()) | {"type": "mail.deferred"}
    with pytest.raises(ValidationError):
        parse_result(json.dumps(document).encode())


def test_whatever_a_server_says_can_be_published() -> None:
    """If a server answers with control characters, lone surrogates or megabytes, then the result still has bytes."""
    reply = ServerReply(code=550, enhanced=None, text="\x00\ud800 no\r\n\u202esuch user " + "x" * 1_000_000)
    assert reply.text.startswith("no such user xxx")
    assert len(reply.model_dump_json()) < 3_000


def test_a_step_of_a_check_has_a_plain_name() -> None:
    with pytest.raises(ValidationError):
        CheckStepResult(name="Sign in", ok=True)


def test_an_invalid_event_can_fail_though_it_names_neither_account_nor_recipients() -> None:
    example = result_example(ResultType.MAIL_FAILED).data
    assert isinstance(example, MailFailed)
    failed = MailFailed(
        account_id=None,
        event_id="1",
        event_source="/s",
        event_type="comment.created",
        recipients=(),
        attempt=0,
        reason=Reason.INVALID_EVENT,
        hint=example.hint,
    )
    assert failed.sender is None


def test_the_explanation_is_the_resolution_s_own() -> None:
    unknown = Consideration(Tier.CHOSEN, "mb-gone", Verdict.REJECTED, Why.UNKNOWN_MAILBOX)
    sender = sender_result(Resolution(None, Reason.SENDER_UNAVAILABLE, (unknown,)), snapshot_version=7)
    assert (sender.mailbox_id, sender.address, sender.tier, sender.snapshot_version) == (None, None, Tier.CHOSEN, 7)
    assert sender.explanation == (
        Considered(tier=Tier.CHOSEN, mailbox_id="mb-gone", verdict=Verdict.REJECTED, why=Why.UNKNOWN_MAILBOX),
    )


def test_a_reply_is_shown_as_it_was_given() -> None:
    assert server_reply(None) is None
    assert server_reply(Reply(250, "2.0.0", "Ok")) == ServerReply(code=250, enhanced="2.0.0", text="Ok")


@pytest.mark.parametrize("outcome", CopyOutcome)
def test_every_outcome_of_a_copy_has_a_type(outcome: CopyOutcome) -> None:
    assert copy_type(outcome).startswith("sent_copy.")


def test_a_result_s_message_doubles_the_attributes_and_names_its_cause() -> None:
    result = result_example(ResultType.MAIL_SENT)
    message = to_message(result)
    assert message.routing_key == message.properties.type == message.headers["ce-type"] == "mail.sent"
    assert message.properties.correlation_id == json.loads(message.body)["data"]["event_id"]
    assert message.properties.content_type == "application/cloudevents+json"
    for name, value in json.loads(message.body).items():
        if name not in ("data", "time"):
            assert message.headers[f"ce-{name}"] == value
    assert datetime.fromisoformat(message.headers["ce-time"]) == message.properties.timestamp == result.time


def test_a_message_has_no_header_for_an_attribute_that_is_not_set() -> None:
    act = DeadLetterAct(operator="olga", why="test letters", count=2)
    result = DeadLetterDiscardedEvent(id="1", source="/sendas", time=datetime(2026, 11, 23, tzinfo=UTC), data=act)
    message = to_message(result)
    assert not {"ce-subject", "ce-traceparent", "ce-tracestate"} & message.headers.keys()
    assert "traceparent" not in json.loads(message.body)
    assert message.properties.correlation_id == "1"


def test_the_trace_of_an_event_reaches_its_result() -> None:
    traced = result_example(ResultType.MAIL_SENT)
    assert isinstance(traced, MailSentEvent)
    assert to_message(traced).headers["ce-traceparent"] == traced.traceparent


def test_a_result_is_no_event_that_the_worker_would_take() -> None:
    """If the exchange of results were bound to the queue of letters, then no result would be taken for a letter."""
    message = to_message(result_example(ResultType.MAIL_SENT))
    with pytest.raises(Exception, match=r"type: 'mail\.sent' is not known"):
        parse(message.headers, message.properties.content_type, message.body)
