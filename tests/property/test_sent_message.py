"""`mail.sent` is written without its models; it is what they would have made of the same facts, to the last byte."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOON, a_comment_event, a_mailbox, a_recipient, a_sender, a_task_event
from tests.delivery_world import an_arrival
from tests.doubles.directory import a_directory
from worker.delivery.case import Case
from worker.delivery.facts import Facts
from worker.delivery.sent_message import sent_message
from worker.domain.envelope import MailSentEvent
from worker.domain.event import LetterEvent
from worker.domain.events import CommentCreated
from worker.domain.identity import result_id
from worker.domain.message import to_message
from worker.domain.resolution import Consideration, Resolution
from worker.domain.results import MailSent, RecipientResult, sender_result, server_reply
from worker.domain.transmission import Reply
from worker.domain.vocabulary import Outcome, Tier, Verdict, Why
from worker.domain.work import Work

checked = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=10)
foreign = st.none() | st.text(st.characters(), max_size=12)
stages = st.sampled_from(("mail", "data", "tls"))
moments = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given beside it
considered = st.builds(
    Consideration, st.sampled_from(Tier), st.none() | checked, st.sampled_from(Verdict), st.sampled_from(Why)
)


@st.composite
def events(draw: st.DrawFn) -> LetterEvent:
    people = [a_recipient(f"{number}@example.net", contact_id=draw(st.none() | checked)) for number in range(3)]
    make: Any = draw(st.sampled_from((a_comment_event, a_task_event)))
    event: LetterEvent = make(draw(checked), account_id=draw(checked), recipients=people, task={"id": draw(checked)})
    return replace(
        event, source=draw(checked), traceparent=draw(st.none() | checked), tracestate=draw(st.none() | checked)
    )


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    positions = tuple(sorted(draw(st.sets(st.integers(0, 2), min_size=1))))
    replies = st.none() | st.builds(Reply, st.integers(200, 299), foreign, st.text(st.characters(), max_size=30))
    return Facts(
        positions,
        {position: draw(replies) for position in positions},
        draw(checked),
        draw(foreign),
        draw(foreign),
        draw(st.dictionaries(stages, st.floats(0, 1e9))),
    )


def as_the_models_make_it(case: Case, known: Facts, source: str, at: datetime) -> MailSentEvent:
    event, data = case.event, case.event.data
    told = MailSent(
        account_id=data.account_id,
        event_id=event.id,
        event_source=event.source,
        event_type=event.type.value,
        task_id=data.task.id,
        comment_id=data.comment.id if isinstance(data, CommentCreated) else None,
        message_id=known.message_id or "",
        provider_message_id=known.provider_message_id,
        attempt=case.attempt,
        detail=known.detail,
        timings=known.timings_s,
        recipients=tuple(
            RecipientResult(
                address=data.recipients[position].address,
                contact_id=data.recipients[position].contact_id,
                outcome=Outcome.SENT,
                reply=server_reply(known.replies.get(position)),
            )
            for position in known.positions
        ),
        sender=sender_result(case.resolution, case.directory.version),
    )
    return MailSentEvent(
        id=result_id(event.key, known.positions, "sent"),
        source=source,
        subject=data.task.id,
        time=at,
        traceparent=event.traceparent,
        tracestate=event.tracestate,
        data=told,
    )


@given(events(), facts(), st.booleans(), st.lists(considered, max_size=3), st.integers(0, 9), checked, moments)
def test_mail_sent_is_what_its_models_make_of_it(
    event: LetterEvent,
    known: Facts,
    has_mailbox: bool,
    explanation: list[Consideration],
    attempts: int,
    source: str,
    at: datetime,
) -> None:
    sender = a_sender(a_mailbox() if has_mailbox else None)
    resolution = Resolution(sender, None, tuple(explanation))
    case = Case(an_arrival(event), event, Work(NOON, attempts), a_directory(), resolution, NOON)
    assert sent_message(case, known, source, at) == to_message(as_the_models_make_it(case, known, source, at))
