"""Events in structured and in binary mode, the whole way from bytes to letters."""

from fuzz.letter_promises import check_letter
from fuzz.message import Message, read_message
from fuzz.target import CANARY, Target
from fuzz.words import check_refusal
from fuzz.world import NOW, FixedDirectory
from worker.domain.events.cloudevents import MAX_ERROR_CHARS, parse
from worker.domain.events.models import CommentCreated, Data, Event, TaskCreated
from worker.domain.events.partial import salvage
from worker.domain.letter.compose import compose
from worker.domain.letter.model import Attachment
from worker.domain.letter.plan import plan
from worker.domain.snapshot.resolution import resolve
from worker.domain.work import Work, read_work
from worker.errors import InvalidEvent

_LETTERS = 3


def check(data: bytes) -> None:
    """An event or a refusal that repeats nothing; and of an event, letters without a foreign header."""
    message = read_message(data)
    salvage(message.headers, message.content_type, message.body)
    event = _event(message)
    work = _work(message)
    if event is None or work is None or not isinstance(event.data, CommentCreated | TaskCreated):
        return
    resolution = resolve(FixedDirectory().account(event.data.account_id), event.data, NOW)
    if resolution.sender is None:
        assert resolution.reason is not None
        return
    letter_event = Event(event.id, event.source, event.type, event.time, event.data)
    links = [Attachment(file.name, file.content_type, file.size, file.link) for file in event.data.files]
    letters = plan(event.data, resolution.sender.account.settings, work.mode, work.recipients)
    for planned in letters[:_LETTERS]:
        composed = compose(letter_event, resolution.sender, planned, links)
        assert composed == compose(letter_event, resolution.sender, planned, links)
        check_letter(composed, resolution.sender, planned)


def _event(message: Message) -> Event[Data] | None:
    try:
        return parse(message.headers, message.content_type, message.body)
    except InvalidEvent as refusal:
        text = str(refusal)
    assert len(text) <= MAX_ERROR_CHARS
    check_refusal(text)
    return None


def _work(message: Message) -> Work | None:
    try:
        work = read_work(message.headers, NOW)
    except ValueError as refusal:
        assert CANARY not in str(refusal), refusal
        return None
    again = read_work(work.headers(), NOW)  # with its texts cut
    assert read_work(again.headers(), NOW) == again
    return work


TARGET = Target(
    check,
    tokens=(
        *(b"ce-id:", b"ce-type:", b"ce-source:", b"ce-time:", b"ce-specversion:", b"cloudEvents:", b"cloudEvents_"),
        *(b"application/cloudevents+json", b"application/json", b"; charset=", b"comment.created", b"task.created"),
        *(b'"data_base64":', b'"recipients":[', b'"role":"bcc"', b'"role":"cc"', b'"mailbox_id":', b'"references":['),
        *(
            b"\\r\\nBcc: eve@example.net",
            b"\\u0000",
            b"\\ud800",
            b"\\u202e",
            b"\\u2028",
            b"=?utf-8?q?=0d=0a?=",
            b"xn--",
        ),
        *(b"sendas-attempt:", b"sendas-mode: common", b"sendas-recipients: 0-3,7", b"sendas-first-seen:"),
        *(b"<a href='javascript:1'>", b"<style>", b"<!--", b"]]>", b"<table><tr><td>", b"&#0;", b"<p>", b"</p>"),
        CANARY.encode(),
    ),
)
