"""Headers as AMQP gives them, nested tables and all, on a good event; and as they go back to the broker."""

import struct
from datetime import datetime

from pamqp import decode, encode

from fuzz.target import CANARY, Target
from fuzz.words import check_refusal
from fuzz.world import NOW
from worker.delivery.messages import Arrival, Publication
from worker.delivery.requeue import DeadLetterReason, dead, later
from worker.domain.events.cloudevents import parse
from worker.domain.events.partial import salvage
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.domain.work import Work, read_work
from worker.errors import InvalidEvent

_TOPOLOGY = Topology()
_BODY = b'{"account_id":"acme","author":{"employee_id":"e-ivan"},"task":{"id":"1","title":"t"}}'
_MAX_FRAME_BYTES = 128 * 1024  # what RabbitMQ and the library agree on; headers cannot be split (AMQP 0-9-1, 2.3.5.2)


def check(data: bytes) -> None:
    """Any table is read or refused, and goes back to the broker as something that it can take."""
    headers = _table(data)
    if headers is None:
        return
    arrival = Arrival(_TOPOLOGY.outbound, _BODY, headers, "application/json")
    work = Work(NOW)
    try:
        parse(arrival.headers, arrival.content_type, arrival.body)
        work = read_work(arrival.headers, NOW)
    except (InvalidEvent, ValueError) as refusal:
        check_refusal(str(refusal))
        _check_publication(dead(arrival, _TOPOLOGY, DeadLetterReason(Reason.INVALID_EVENT, str(refusal), NOW)))
    salvage(arrival.headers, arrival.content_type, arrival.body)
    _check_work(arrival)
    _check_publication(later(arrival, work.headers(), _TOPOLOGY, 30))


def _table(data: bytes) -> dict[str, object] | None:
    """The table that the library makes of these bytes; None where it would close the connection instead."""
    try:
        return dict(decode.field_table(struct.pack(">I", len(data)) + data)[1])
    except (ValueError, OverflowError, OSError, RecursionError, ArithmeticError):
        return None


def _check_work(arrival: Arrival) -> None:
    try:
        work = read_work(arrival.headers, NOW)
    except ValueError as refusal:
        assert CANARY not in str(refusal), refusal
        assert len(str(refusal)) <= 500
        return
    assert 0 <= work.attempts < 1 << 31
    assert isinstance(NOW - work.first_seen, type(NOW - datetime.min.replace(tzinfo=NOW.tzinfo)))
    again = read_work(work.headers(), NOW)  # with its texts cut
    assert read_work(again.headers(), NOW) == again
    encode.field_table(dict(work.headers()))


def _check_publication(publication: Publication) -> None:
    encoded = encode.field_table(dict(publication.headers))
    assert len(encoded) < _MAX_FRAME_BYTES, f"{len(encoded)} bytes of headers"
    assert not [name for name in publication.headers if name.startswith("x-")]


TARGET = Target(
    check,
    tokens=(
        *(b"\x0bce-datacontenttype", b"\x05ce-idS", b"\x0esendas-attemptS", b"\x11sendas-first-seenS"),
        *(b"\x11sendas-recipientsS", b"\x0bsendas-modeS", b"\x07x-deathA", b"\x12sendas-last-reasonS"),
        *(b"S\x00\x00\x00\x01", b"F\x00\x00\x00\x00", b"A\x00\x00\x00\x00", b"l\x7f\xff\xff\xff\xff\xff\xff\xff"),
        *(b"T\x00\x00\x00\x00\x70\x00\x00\x00", b"x\x00\x00\x00\x02\xff\xfe", b"D\x02\x00\x00\x00\x01", b"t\x01", b"V"),
        *(b"0-9999,", CANARY.encode(), b"9999-12-31T23:59:59-23:59", b"common", b"each"),
    ),
)
