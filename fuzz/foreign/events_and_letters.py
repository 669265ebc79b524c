"""What the product's events, their headers and the snapshot's texts hold, and what becomes a letter of it."""

import asyncio
import io
import json
import struct
from collections.abc import Callable
from functools import cache

from pamqp.header import ContentHeader

from fuzz.foreign.entry import Entry, Runs, shapes
from fuzz.world import NOW, FixedDirectory
from worker.adapters.broker.header_decoding import install, read_moment, read_table, read_text
from worker.adapters.smtp.transaction import is_canonical, stuffed_pieces
from worker.adapters.snapshot.parser import read_document
from worker.adapters.snapshot.problems import RefusedDocument
from worker.delivery.aside import ASIDE_BYTES
from worker.delivery.compose import _MANY_CHARACTERS
from worker.delivery.messages import MAX_HEADER_BYTES, Arrival
from worker.delivery.requeue import DeadLetterReason, dead
from worker.delivery.sent_copy.jobs import JOB, read_copy_job
from worker.delivery.signatures import Signatures
from worker.domain.addresses import parse_address
from worker.domain.events.cloudevents import STRUCTURED, attribute_text, attributes_of, parse, trace_context, trace_of
from worker.domain.events.models import (
    MAX_HTML_CHARS,
    MAX_URL_CHARS,
    CommentCreated,
    Event,
    Thread,
    _http_url,
    _media_type,
)
from worker.domain.events.partial import salvage
from worker.domain.events.strict_json import MAX_BODY_BYTES, _fraction, _whole
from worker.domain.letter.compose import compose, is_message_id, parent, references
from worker.domain.letter.headers import NamedAddress, address_field, encoded_words, identifier_field, text_field
from worker.domain.letter.html import author_texts
from worker.domain.letter.markup import closed
from worker.domain.letter.media_types import media_type
from worker.domain.letter.mime import Boundaries, attached_part, file_name, multipart, text_part
from worker.domain.letter.model import Attachment
from worker.domain.letter.pictures import InlineParts, embedded_bytes, referenced_content_ids
from worker.domain.letter.plan import plan
from worker.domain.snapshot.resolution import Sender, resolve
from worker.domain.text import folded, has_control_character, one_line
from worker.domain.topology import Topology
from worker.domain.vocabulary import EventType, Reason
from worker.domain.work import RECIPIENTS, parse_positions, read_work
from worker.errors import ConfigurationError, InvalidEvent
from worker.operations.dead_letters.export import FiledMessage, from_line
from worker.operations.dead_letters.format import whole_text
from worker.operations.dead_letters.letter import read_dead_letter
from worker.operations.dead_letters.reading import moment, number

_MAX_FRAME_BYTES = 128 * 1024  # of RabbitMQ: headers stand in one
_MAX_LINE_CHARS, _MAX_TOKEN_CHARS = 5_000, 1_000  # `Line` and `Token` of the models
_MAX_ATTACHED_BYTES = 10 * 1024 * 1024
_DEAD_BODY_BYTES = 256 * 1024  # an operator's tool reads it, which may take its time; but in proportion
_JSON = shapes(
    *(b"{},", b"[],", b"0,", b'"",', b'{"a":1},', b"[", b'{"a":', b'"\\"', b'"\\\\",', b'"a":1,', b"0" * 4_000 + b","),
    *(
        b'{"address":"a@b.example"},',
        b'{"address":"a"},',
        b'{"address":"a@\\u0300.example"},',
        b"\\ud800",
        b'"\\u0000"',
    ),
    before=b"[",
)
_PICTURES = shapes(
    *(
        b'<img src="data:image/png;base64,AAAA">',
        b'<img src="cid:a">',
        b'<img src="data:image/png',
        b"<meta ",
        b"<td a=b",
    ),
    *(b"<meta charset=x>", b"<svg><a/>", b"<table><td>", b"</table>", b"<script><!--", b"a=b ", b"a= b", b"a = '"),
)
_ONE_PICTURE = shapes(b"AAAA", b"%41", b" ", b"\n", before=b'<img src="data:image/png;base64,', after=b'">')
# Of more than this only what large letters are large by: HTML of nothing but tags is read as fast, but takes seconds.
_HARD_HTML_CHARS = 100_000
_LARGEST_HTML = (*_ONE_PICTURE[:1], *shapes(b"a" * 500 + b"\n"))
_LARGE_HTML = _ONE_PICTURE[:2] + shapes(
    b"</body ", b"<p>x</p>\n", b"<!--", b"data:image/png;base64,AAAA", b"&amp;", b"\n."
)
_HTML = shapes(
    *(b"<a ", b"<a href='x'>y</a>", b"<p>x</p>", b"<!--", b"-->", b"<!", b"</body", b"</body ", b"</body>", b"</html "),
    *(b"&#1", b"&amp;", b"&#x", b"<a '", b'<a "', b"<style>", b"</style", b"<title", b"<![CDATA[", b"<blockquote>"),
    *(
        b"<ul><li>",
        b"<img src=data:",
        b"<html ",
        b"<plaintext",
        b"<textarea><",
        b"<br>",
        b'href="',
        b"<pre>\n",
        b"<td>",
    ),
    *(b"<script>", b"</script", b"data:image/png;base64,AAAA", b'<img src="cid:a">', b"<svg><style>", b"\n.", b"=_"),
)
_BASE = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/product",
    "type": "comment.created",
    "time": "2026-11-23T10:00:00Z",
}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _data(**fields: object) -> dict[str, object]:
    return {
        "account_id": "acme",
        "author": {"employee_id": "e-ivan"},
        "task": {"id": "1", "title": "t"},
        "comment": {"id": "c", "html": "<p>x</p>", "created_at": "2026-11-23T10:00:00Z"},
        "recipients": [{"address": "client@example.net"}],
        **fields,
    }


def _around(before: str, after: str) -> Callable[[bytes], bytes]:
    return lambda data: before.encode() + data + after.encode()


_HEAD = json.dumps(_BASE)[:-1]
_IN_RECIPIENTS = _around(_HEAD + ',"data":{"account_id":"acme","recipients":', "]}}")


def _parsed(data: bytes) -> None:
    parse({}, STRUCTURED, _IN_RECIPIENTS(data))


def _salvaged(data: bytes) -> None:
    salvage({}, STRUCTURED, _IN_RECIPIENTS(data))


def _with_html(data: bytes) -> None:
    comment = {"id": "c", "html": _text(data)[:MAX_HTML_CHARS], "created_at": "2026-11-23T10:00:00Z"}
    parse({}, STRUCTURED, json.dumps(_BASE | {"data": _data(comment=comment)}).encode()[:MAX_BODY_BYTES])


def _attributes(data: bytes) -> None:
    headers: dict[str, object] = {"ce-id": data, "ce-traceparent": _text(data), "ce-time": _text(data), _text(data): 1}
    attributes = attributes_of(headers)
    trace_of(headers, attributes)
    attribute_text(data)
    parse(headers, _text(data), b"{}")


@cache
def _sender() -> Sender:
    account = FixedDirectory().account("acme")
    found = resolve(account, CommentCreated.model_validate(_data()), NOW).sender
    assert found is not None
    return found


def _comment(html: str, **fields: object) -> CommentCreated:
    comment = {"id": "c", "html": html[:MAX_HTML_CHARS], "created_at": "2026-11-23T10:00:00Z"}
    return CommentCreated.model_validate(_data(comment=comment, append_signature=True, **fields))


def _composed(data: bytes) -> None:
    written = _comment(_text(data))
    event = Event("1", "/p", EventType.COMMENT_CREATED, NOW, written)
    compose(event, _sender(), plan(written, _sender().account.settings)[0], [])


def _with_pictures(data: bytes) -> None:
    """What is done to the HTML before it becomes parts."""
    texts = author_texts(_comment(_text(data)), _sender())
    referenced_content_ids(texts)
    embedded_bytes(texts)
    for text in texts:
        closed(InlineParts("acme.example").take(text))


def _named(data: bytes) -> None:
    name = _text(data)
    files = [{"name": name, "size": 1, "url": "https://a.example/", "link": "https://a.example/"}]
    recipients = [{"address": "client@example.net", "name": name}]
    written = _comment("x", recipients=recipients, subject=name, files=files)
    event = Event("1", "/p", EventType.COMMENT_CREATED, NOW, written)
    links = [Attachment(file.name, file.content_type, file.size, file.link, b"x") for file in written.files]
    compose(event, _sender(), plan(written, _sender().account.settings)[0], links)
    text_field("Subject", name)
    identifier_field("X-Sendas-Task", name)
    address_field("To", [NamedAddress(name, _ADDRESS)] * 2)


def _attached(data: bytes) -> None:
    content = data[:_MAX_ATTACHED_BYTES]
    part = attached_part(Attachment("a.pdf", "application/pdf", len(content), "https://a.example/", content), content)
    multipart("mixed", "=_x", [part])


async def _sent(data: bytes) -> None:
    await is_canonical(data)
    for _ in stuffed_pieces(data):
        await asyncio.sleep(0)


def _work(data: bytes) -> None:
    headers: dict[str, object] = {"sendas-first-seen": NOW.isoformat(), RECIPIENTS: _text(data), JOB: _text(data)}
    read_work(headers, NOW)


def _job(data: bytes) -> None:
    read_copy_job(Arrival("q", b"", {JOB: _text(data)}))


def _headers_of_dead(data: bytes) -> None:
    arrival = Arrival("q", b"", {f"h{n}": _text(data[n::8]) for n in range(8)} | {_text(data[:1_000]): 1}, "x")
    dead(arrival, _TOPOLOGY, DeadLetterReason(Reason.INVALID_EVENT, _text(data), NOW))


def _dead_letter(data: bytes) -> None:
    headers = {"sendas-dead-reason": _text(data), "x-death": [_text(data)] * 3, "sendas-attempt": _text(data)}
    message = FiledMessage(1, data, headers, {"content_type": STRUCTURED})
    whole_text(message, read_dead_letter(message))
    number(_text(data))
    moment(_text(data))


def _document(data: bytes) -> None:
    document = b'{"schema":"sendas.snapshot/v1","accounts":[' + data + b"]}"
    for _ in read_document(io.TextIOWrapper(io.BytesIO(document), encoding="utf-8")):
        pass


def _threaded(data: bytes) -> None:
    text = _text(data)
    thread = Thread(in_reply_to=text, references=tuple(text.split(",")))
    parent(thread)
    references(thread)
    is_message_id(text)


_TOPOLOGY = Topology()
_ADDRESS = parse_address("client@example.net")
_TABLES = shapes(b"\x01aV", b"\x01bF\0\0\0\0", b"\x01tt\x01", b"\x01lA\0\0\0\x01V")


install()  # the AMQP library reads tables with it, as in a worker
# The head of a message with one property: class `basic`, weight, size of the body, and the flag of the only property.
_HEAD_OF_HEADERS = struct.pack(">HHQH", 60, 0, 0, 1 << 13)


def _signed(data: bytes) -> None:
    """A message whose headers are the broker's to give, as many as are read of a message."""
    headers: dict[str, object] = {f"ce-{number}": _text(data[number::16]) for number in range(16)}
    _SIGNATURES.is_ours(headers | {"sendas-signature": _text(data)}, _text(data[:255]), data)


def _table(data: bytes) -> None:
    table = struct.pack(">I", len(data)) + data
    read_table(table)
    ContentHeader().unmarshal(_HEAD_OF_HEADERS + table)
    read_moment(data[:8].ljust(8))


_SIGNATURES = Signatures(b"k" * 32)

ENTRIES = (
    Entry(
        ("delivery.signatures:Signatures.is_ours", "delivery.signatures:Signatures.signature"),
        _signed,
        _MAX_FRAME_BYTES,
    ),
    Entry(("domain.events.cloudevents:parse",), _parsed, ASIDE_BYTES, errors=(InvalidEvent,), shapes=_JSON),
    Entry(
        (
            "domain.events.cloudevents:parse",
            "domain.events.strict_json:read_json",
            "domain.events.strict_json:require_bounded",
        ),
        _parsed,
        MAX_BODY_BYTES,
        Runs.ASIDE,
        errors=(InvalidEvent,),
        shapes=_JSON,
        is_huge=True,
    ),
    Entry(
        ("domain.events.cloudevents:parse", "domain.events.models:_html"),
        _with_html,
        MAX_HTML_CHARS,
        Runs.ASIDE,
        errors=(InvalidEvent,),
        shapes=shapes(b"\0", b"\0a"),
        is_huge=True,
    ),
    Entry(
        (
            "domain.events.cloudevents:attributes_of",
            "domain.events.cloudevents:attribute_text",
            "domain.events.cloudevents:trace_of",
        ),
        _attributes,
        _MAX_FRAME_BYTES,
        errors=(InvalidEvent,),
        shapes=shapes(b"00-", b"ce-", b"a; charset=x", b"0"),
    ),
    Entry(("domain.events.partial:salvage",), _salvaged, ASIDE_BYTES, shapes=_JSON),
    Entry(
        (
            "domain.events.partial:salvage",
            "domain.events.strict_json:read_any_json",
            "domain.events.strict_json:read_what_can_be",
        ),
        _salvaged,
        MAX_BODY_BYTES,
        Runs.ASIDE,
        shapes=_JSON[:6],
        is_huge=True,
    ),
    Entry(
        ("domain.events.strict_json:_whole", "domain.events.strict_json:_fraction"),
        lambda data: (_whole("1" * len(data)), _fraction("0." + "1" * len(data))),
        64 * 1024,
        errors=(ValueError,),
    ),
    Entry(
        (
            "adapters.broker.header_decoding:read_table",
            "adapters.broker.header_decoding:read_moment",
        ),
        _table,
        _MAX_FRAME_BYTES,
        shapes=_TABLES,
    ),
    Entry(("adapters.broker.header_decoding:read_text",), lambda data: read_text(b"\xff" + data), 255),
    Entry(
        ("domain.work:read_work", "domain.work:parse_positions"),
        _work,
        _MAX_FRAME_BYTES,
        errors=(ValueError,),
        shapes=shapes(b"0,", b"0-9999,", b"1", b"1-"),
    ),
    Entry(
        ("domain.work:parse_positions",),
        lambda _: parse_positions(",".join(map(str, range(0, 10_000, 2)))),
        24_000,
        errors=(ValueError,),
    ),
    Entry(("delivery.sent_copy.jobs:read_copy_job",), _job, _MAX_FRAME_BYTES, errors=(InvalidEvent,), shapes=_JSON),
    Entry(("delivery.requeue:dead", "delivery.messages:header_bytes"), _headers_of_dead, MAX_HEADER_BYTES),
    Entry(
        ("domain.events.cloudevents:trace_context",),
        lambda data: trace_context(_text(data), _text(data)),
        _MAX_FRAME_BYTES,
        shapes=shapes(b"00-", b"0", before=b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01-"),
    ),
    Entry(
        ("domain.events.models:_http_url",),
        lambda data: _http_url("https://" + _text(data)),
        MAX_URL_CHARS,
        errors=(ValueError,),
        shapes=shapes(b"[", b"@", b"a:", b"%", "℀".encode()),
    ),
    Entry(
        ("domain.letter.media_types:media_type",),
        lambda data: _media_type(_text(data)),
        MAX_BODY_BYTES,
        Runs.ASIDE,
        shapes=shapes(b"a/a", b"a;"),
        is_huge=True,
    ),
    Entry(
        ("domain.letter.compose:is_message_id", "domain.letter.compose:parent", "domain.letter.compose:references"),
        _threaded,
        64 * 1024,
        shapes=shapes(b"<a@b>,", b"<a@", b"<a@a", b"a@", b"<" + b"@" * 900 + b","),
    ),
    Entry(
        (
            "domain.letter.compose:compose",
            "domain.letter.html:letter_texts",
            "domain.letter.markup:read",
            "domain.letter.markup:replaced",
            "domain.letter.markup:Tag.attribute",
            "domain.letter.markup:with_attribute",
            "domain.letter.plaintext:plain_text",
        ),
        _composed,
        _MANY_CHARACTERS,
        shapes=(*_HTML, *_PICTURES, *_ONE_PICTURE),
    ),
    Entry(
        (
            "domain.letter.html:author_texts",
            "domain.letter.markup:closed",
            "domain.letter.pictures:InlineParts.take",
            "domain.letter.pictures:embedded_bytes",
            "domain.letter.pictures:referenced_content_ids",
        ),
        _with_pictures,
        _HARD_HTML_CHARS,
        Runs.ASIDE,
        shapes=_LARGE_HTML,
        is_huge=True,
    ),
    Entry(
        ("domain.letter.html:author_texts",),
        _with_pictures,
        MAX_HTML_CHARS,
        Runs.ASIDE,
        shapes=_LARGEST_HTML,
        has_only_own_shapes=True,
    ),
    Entry(
        ("domain.letter.compose:compose",),
        _composed,
        MAX_HTML_CHARS,
        Runs.ASIDE,
        shapes=_LARGEST_HTML,
        has_only_own_shapes=True,
    ),
    Entry(
        ("domain.letter.compose:compose", "domain.letter.mime:text_part"),
        _composed,
        _HARD_HTML_CHARS,
        Runs.ASIDE,
        shapes=_LARGE_HTML,
        is_huge=True,
    ),
    Entry(
        ("domain.letter.mime:text_part",),
        lambda data: text_part("html", _text(data), Boundaries("x")),
        MAX_HTML_CHARS,
        Runs.ASIDE,
        is_huge=True,
    ),
    Entry(
        (
            "domain.letter.headers:text_field",
            "domain.letter.headers:identifier_field",
            "domain.letter.headers:address_field",
            "domain.letter.mime:file_name",
        ),
        _named,
        _MAX_LINE_CHARS,
        shapes=shapes(b'"a', b"=?", b"a" * 61 + b" ", b"\\ "),
    ),
    Entry(
        ("domain.letter.mime:file_name", "domain.letter.headers:encoded_words"),
        lambda data: (file_name(_text(data)), encoded_words(_text(data))),
        _MAX_LINE_CHARS,
    ),
    Entry(
        ("domain.letter.media_types:media_type",),
        lambda data: media_type(_text(data)),
        64 * 1024,
        shapes=shapes(b"text/plain", b"; charset=a", b"; a", before=b"text/plain"),
    ),
    Entry(
        ("domain.letter.mime:attached_part", "domain.letter.mime:multipart"),
        _attached,
        _MAX_ATTACHED_BYTES,
        Runs.ASIDE,
        is_huge=True,
    ),
    Entry(
        ("adapters.smtp.transaction:is_canonical", "adapters.smtp.transaction:stuffed_pieces"),
        _sent,
        16 * 1024 * 1024,
        Runs.IN_STEPS,
        shapes=shapes(b"\r\n.", b"\r\n", b"a\r\n"),
        is_huge=True,
    ),
    Entry(
        (
            "domain.text:one_line",
            "domain.text:folded",
            "domain.text:has_control_character",
            "domain.text:_refuse_controls",
        ),
        lambda data: (one_line(_text(data)), folded(_text(data)), has_control_character(_text(data))),
        64 * 1024,
    ),
    Entry(
        (
            "operations.dead_letters.letter:read_dead_letter",
            "operations.dead_letters.reading:number",
            "operations.dead_letters.reading:moment",
            "operations.dead_letters.format:whole_text",
            "operations.dead_letters.format:whole_document",
            "operations.dead_letters.export:plain",
        ),
        _dead_letter,
        _DEAD_BODY_BYTES,
        Runs.ELSEWHERE,
        shapes=(*_JSON[:3], *shapes(b" ", b"\0")),
        has_only_own_shapes=True,
    ),
    Entry(
        ("operations.dead_letters.export:from_line",),
        lambda data: from_line(_text(data), 1),
        _DEAD_BODY_BYTES,
        Runs.ELSEWHERE,
        errors=(ConfigurationError,),
        shapes=_JSON,
        is_huge=True,
    ),
    Entry(
        ("adapters.snapshot.parser:read_document",),
        _document,
        256 * 1024,
        Runs.ELSEWHERE,
        errors=(RefusedDocument,),
        shapes=_JSON,
        is_huge=True,
    ),
)
