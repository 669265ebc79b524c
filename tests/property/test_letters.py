"""Whatever stands in an event, the letter is clean and says what the event says.

Read by the standard library's parser, which shares nothing with the composer.
"""

from datetime import UTC
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.builders import NOON, SOURCE, a_mailbox, a_sender, an_employee
from tests.letter_reader import defects, names_and_addresses, read, text_of
from worker.domain.addresses import parse_address
from worker.domain.events.models import CommentCreated, Event, LetterEvent, TaskCreated
from worker.domain.letter.compose import compose, is_message_id
from worker.domain.letter.mime import file_name
from worker.domain.letter.model import Attachment, ComposedLetter, LetterMode
from worker.domain.letter.plan import plan
from worker.domain.snapshot.resolution import Sender
from worker.domain.vocabulary import EventType, Role

FIELDS = {
    "date",
    "from",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "message-id",
    "in-reply-to",
    "references",
    "x-sendas-task",
    "x-sendas-comment",
    "auto-submitted",
    "x-auto-response-suppress",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
}
NASTY = [
    "\r\nBcc: eve@example.net\r\n\r\n<b>forged</b>",
    "=?utf-8?b?0JA=?=",
    '"; filename=evil.exe',
    "</body></html><!--",
    "\u202egpj.exe",
    "\x00\x1b\x85\u2028",
    "🫨👩‍👩‍👧",
    "--=_",
    ".\r\n.\r\n",
    "a  b ",
    "щ" * 200,
    "x" * 1_200,
]
# Everything that can be in a JSON string; surrogates cannot arrive, and the models refuse them.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(NASTY)
lines = st.lists(texts, max_size=3).map(" ".join)
printable = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40)
locals_ = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,40}", fullmatch=True) | st.just("почта")
addresses = st.builds("{}@{}".format, locals_, st.sampled_from(["example.net", "Example.ORG", "пример.рф"]))
ids = st.from_regex(r"<[a-z0-9.]{1,20}@x\.example>", fullmatch=True) | texts
recipients = st.fixed_dictionaries({"address": addresses, "name": lines, "role": st.sampled_from([*Role])})
_NAIVE = NOON.replace(tzinfo=None)
moments = st.datetimes(_NAIVE.replace(year=1990), _NAIVE.replace(year=9_000), timezones=st.just(UTC))
common = {
    "account_id": st.just("acme"),
    "author": st.just({"employee_id": "e-ivan"}),
    "recipients": st.lists(recipients, min_size=1, max_size=5),
    "subject": st.none() | lines,
    "thread": st.fixed_dictionaries({"in_reply_to": st.none() | ids, "references": st.lists(ids, max_size=60)}),
    "reply_to": st.none() | addresses,
    "append_signature": st.booleans(),
    "history_html": st.none() | lines,
    "open_tracking_url": st.none() | st.from_regex(r"https?://[a-z.]{1,9}x/[!#-;=?-\[\]_a-z~]{0,40}", fullmatch=True),
}
comments = st.fixed_dictionaries(
    {
        **common,
        "task": st.fixed_dictionaries({"id": printable, "title": lines}),
        "comment": st.fixed_dictionaries({"id": printable, "html": lines, "created_at": moments}),
    }
).map(lambda data: an_event(EventType.COMMENT_CREATED, CommentCreated.model_validate(data)))
tasks = st.fixed_dictionaries(
    {
        **common,
        "task": st.fixed_dictionaries({"id": printable, "title": lines, "html": lines, "created_at": moments}),
    }
).map(lambda data: an_event(EventType.TASK_CREATED, TaskCreated.model_validate(data)))
attachments = st.lists(
    st.builds(
        Attachment,
        name=lines,
        content_type=st.sampled_from(["text/plain", "application/pdf", "message/rfc822", "image/png"]) | texts,
        size=st.just(1),
        link=printable | st.just("https://product.example/d/1"),
        content=st.none() | st.binary(max_size=200),
    ),
    max_size=4,
).map(tuple)


def an_event(event_type: EventType, data: Any) -> LetterEvent:
    return Event("evt-1", SOURCE, event_type, NOON, data)


@st.composite
def senders(draw: st.DrawFn) -> Sender:
    """With a mailbox or without, and with all switches of the account and the mailbox."""
    mailbox = a_mailbox(
        address=draw(addresses),
        display_name=draw(lines),
        replies_to_same_address=draw(st.booleans()),
        signature_html=draw(st.none() | lines),
    )
    return a_sender(
        draw(st.sampled_from([None, mailbox])),
        is_entitled=draw(st.booleans()),
        employees=[an_employee(name=draw(lines), internal_address=draw(addresses))],
        settings={"name_all_recipients": draw(st.booleans()), "plain_text_version": draw(st.booleans())},
    )


@given(comments | tasks, senders(), attachments)
@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_every_letter_is_clean_and_says_what_the_event_says(
    event: LetterEvent, sender: Sender, files: tuple[Attachment, ...]
) -> None:
    for planned in plan(event.data, sender.account.settings):
        letter = compose(event, sender, planned, files)
        assert_clean_on_the_wire(letter)
        assert_fields(letter, sender, event)
        assert_recipients(letter, event, planned.mode)
        assert_contents(letter, event, files)
        assert compose(event, sender, planned, files) == letter


def assert_clean_on_the_wire(letter: ComposedLetter) -> None:
    """Lines end in CRLF and are short enough; only addresses that need it are not ASCII."""
    for raw in (letter.wire, letter.copy):
        assert raw.endswith(b"\r\n")
        assert not {b"\r"[0], b"\n"[0], 0} & set(raw.replace(b"\r\n", b""))
        assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert letter.wire.isascii() or letter.needs_smtputf8


def assert_fields(letter: ComposedLetter, sender: Sender, event: LetterEvent) -> None:
    """The fields that are meant, each once, with what the event and the configuration say."""
    message = read(letter.wire)
    names = [name.lower() for name in message.keys()]  # noqa: SIM118 - iterating a message drops repeated names
    assert len(names) == len(set(names))
    assert set(names) <= FIELDS - {"bcc"}
    if letter.wire.isascii():
        assert not defects(message)
    data = event.data
    title = data.subject or data.task.title
    assert str(message["Subject"]).removeprefix("Re:").strip() == visible(title).removeprefix("Re:").strip()
    assert message["X-Sendas-Task"] == visible(data.task.id)
    assert message["Message-ID"] == letter.message_id
    ids_sent = [*str(message["References"] or "").split(), *str(message["In-Reply-To"] or "").split()]
    assert all(map(is_message_id, ids_sent))
    name = (sender.mailbox.display_name if sender.mailbox else "") or sender.employee.name
    address = parse_address(sender.address).wire
    assert unquoted(names_and_addresses(letter.wire, "From")) == [(" ".join(visible(name).split()), address)]
    assert letter.envelope_from == address


def assert_recipients(letter: ComposedLetter, event: LetterEvent, mode: LetterMode) -> None:
    """Everybody of a common letter is named, the blind copies in the copy alone."""
    named = {role: unquoted(names_and_addresses(letter.copy, role.value)) for role in Role}
    assert len(set(letter.envelope_to)) == len(letter.envelope_to)
    if mode is LetterMode.EACH:
        assert [address for _, address in named[Role.TO]] == list(letter.envelope_to)
        assert not named[Role.CC] + named[Role.BCC]
        assert letter.copy == letter.wire
        return
    everybody = [address for role in Role for _, address in named[role] if address]
    assert sorted(everybody) == sorted(letter.envelope_to)
    assert set(everybody) == {parse_address(recipient.address).wire for recipient in event.data.recipients}
    before, bcc, after = split_at_bcc(letter.copy)
    assert bool(bcc) == bool(named[Role.BCC])
    assert before + after == letter.wire


def assert_contents(letter: ComposedLetter, event: LetterEvent, files: tuple[Attachment, ...]) -> None:
    """The author's HTML is in the HTML part, and attached files come back byte for byte."""
    message = read(letter.wire)
    data = event.data
    written = data.comment.html if isinstance(data, CommentCreated) else data.task.html
    assert in_body(written).strip() in text_of(message, "html")
    attached = [(part.get_filename(), part.get_payload(decode=True)) for part in message.iter_attachments()]
    assert attached == [(file_name(file.name), file.content) for file in files if file.content is not None]


def split_at_bcc(raw: bytes) -> tuple[bytes, bytes, bytes]:
    header, _, _ = raw.partition(b"\r\n\r\n")
    start = header.find(b"\r\nBcc:")
    if start < 0:
        return raw, b"", b""
    end = start + 2
    while True:
        end = raw.index(b"\r\n", end) + 2
        if raw[end : end + 1] != b" ":
            return raw[: start + 2], raw[start + 2 : end], raw[end:]


def visible(text: str) -> str:
    """The text as a field shows it: controls have become spaces."""
    return "".join(" " if ch < " " or "\x7f" <= ch <= "\x9f" or ch in "\u2028\u2029" else ch for ch in text)


def in_body(text: str) -> str:
    """The text as a body holds it: bare line feeds, other controls as spaces."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(" " if (ch < " " and ch not in "\t\n") or ch == "\x7f" else ch for ch in text)


def unquoted(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names with single spaces, as the parser does not keep others; local parts without the quotes some need."""
    return [(" ".join(name.split()), address.replace('"', "")) for name, address in found]
