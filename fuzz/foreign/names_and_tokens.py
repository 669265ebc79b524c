"""What DNS, token endpoints, settings and letters that were read back say."""

import struct
from ipaddress import ip_address

import dns.exception
import dns.message

from fuzz.foreign.entry import Entry, Make, Runs, shapes
from worker.adapters.auth.secrets import SealingKeys
from worker.adapters.auth.token_response import MAX_RESPONSE_BYTES, parse_token_response
from worker.adapters.dkim_names import signature_name, signature_names
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.network.dns_answers import MAX_ANSWER_BYTES, require_light
from worker.domain.addresses import as_written, masked, parse_address, problem_of
from worker.domain.hosts import is_domain, parse_host
from worker.domain.internal_names import is_internal_name
from worker.domain.probe import Lookup, LookupOutcome, RecordType
from worker.domain.providers import provider_of
from worker.domain.snapshot.model import SealedSecret
from worker.domain.snapshot.secret_references import reference_problem
from worker.errors import SecretUnavailable, TokenRefused, Unavailable
from worker.operations.mailbox_check.dmarc import find_dmarc
from worker.operations.mailbox_check.spf.evaluation import SpfCheck
from worker.operations.mailbox_check.spf.macros import Sending, expand
from worker.operations.mailbox_check.spf.record import SpfSyntaxError, parse_spf

_DOMAIN = "a." * 120 + "example"
_SENDING = Sending(ip_address("192.0.2.1"), "local@" + _DOMAIN, "helo.example")
_MAX_TOKEN_CHARS = 1_000  # `Token` of the models: hosts, user names
_MAX_SEALED_CHARS = 24_000  # `LongToken` of the models
_MAX_DNS_BYTES = 64 * 1024  # what fits into a message over TCP
_MACROS = shapes(b"%{d}.", b"%{S}", b"%{d1r}", b"%{l-+.}", b"%%", b"%{", b"%{d" + b"1" * 3, b"%_")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


class _Names:
    """Whatever is asked, the answer is the same."""

    def __init__(self, text: str, *, begins: str) -> None:
        self._text = begins + text

    async def ask(self, name: str, kind: RecordType) -> Lookup:
        del name
        texts = {RecordType.TXT: self._text, RecordType.A: "192.0.2.2", RecordType.MX: "10 mx.example."}
        found = texts.get(kind)
        return Lookup(LookupOutcome.FOUND, (found,)) if found else Lookup(LookupOutcome.NO_RECORDS)


async def _spf(data: bytes) -> None:
    await SpfCheck(_Names(_text(data), begins="v=spf1 "), _SENDING).run("acme.example")


async def _dmarc(data: bytes) -> None:
    await find_dmarc(_Names(_text(data), begins="v=DMARC1;"), "acme.example")


def _read_answer(wire: bytes) -> None:
    require_light(wire)
    dns.message.from_wire(wire)


def _answer(record: bytes, question: bytes = b"\x01a\x01b\x00", kind: int = 15) -> tuple[str, Make]:
    """A DNS message of as many such records as there is room for."""

    def make(size: int) -> bytes:
        head = struct.pack(">6H", 1, 0x8180, 1, size // len(record), 0, 0) + question + struct.pack(">HH", kind, 1)
        return head + record * (size // len(record))

    return f"records of {record[:16]!r}", make


def _record(kind: int, data: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


_LONG_NAME = b"\x01a" * 126 + b"\x00"
_ANSWERS = (
    *(_answer(_record(15, b"\0\x0a\xc0\x0c"), _LONG_NAME), _answer(_record(16, b"\x01x"), kind=16)),
    *(_answer(_record(6, b"\xc0\x0c\xc0\x0c" + b"\0" * 20), _LONG_NAME), _answer(_record(5, b"\xc0\x0c"), _LONG_NAME)),
    *(_answer(_record(15, b"\0\x0a\x01c\xc0\x0c", b"\x02ab\xc0\x0c")), _answer(_record(99, b""))),
    *(_answer(_record(16, b"\0" * 4_000), kind=16), _answer(_record(2, b"\xc0\x0e"), _LONG_NAME)),
)


_KEYS = SealingKeys({})

ENTRIES = (
    Entry(
        ("operations.mailbox_check.spf.macros:expand",),
        lambda data: expand(_text(data), _DOMAIN, _SENDING),
        _MAX_DNS_BYTES,
        shapes=_MACROS,
    ),
    Entry(
        ("operations.mailbox_check.spf.record:parse_spf",),
        lambda data: parse_spf("v=spf1 " + _text(data)),
        _MAX_DNS_BYTES,
        errors=(SpfSyntaxError,),
        shapes=(*_MACROS, *shapes(b"a:b ", b"ip4:1.2.3.4 ", b"a/", b"include:%{d} ", b"x=%{d}", b"ip6:1:", b"//1")),
    ),
    Entry(
        ("operations.mailbox_check.spf.evaluation:SpfCheck.run",),
        _spf,
        _MAX_DNS_BYTES,
        Runs.IN_STEPS,
        shapes=shapes(b"include:b.example ", b"ip4:192.0.2.3/24 ", b"mx:%{d} ", b"exists:%{d}%{d} ", b"-ip6:::1 "),
    ),
    Entry(
        ("operations.mailbox_check.dmarc:find_dmarc",),
        _dmarc,
        _MAX_DNS_BYTES,
        Runs.IN_STEPS,
        shapes=shapes(b"p=none;", b"a=", b" ;", b"sp = "),
    ),
    Entry(
        ("adapters.network.dns:DnsLookups.ask",),
        _read_answer,
        MAX_ANSWER_BYTES,
        errors=(dns.exception.DNSException,),
        shapes=_ANSWERS,
    ),
    Entry(
        ("adapters.network.dns_answers:require_light",),
        require_light,
        _MAX_DNS_BYTES,
        errors=(dns.exception.DNSException,),
        shapes=_ANSWERS,
    ),
    Entry(
        ("adapters.dkim_names:signature_names",),
        signature_names,
        ImapTimeouts().max_response_bytes,
        shapes=shapes(b"DKIM-Signature: d=a.example; s=s\r\n", b"\r\n x", b"X: \r\n", b":\n", b"DKIM-Signature:"),
    ),
    Entry(
        ("adapters.dkim_names:signature_name",),
        signature_name,
        64 * 1024,
        shapes=shapes(b"d=a;", b"a=b; ", b"=", before=b"d=a.example; s=s;"),
    ),
    Entry(
        ("adapters.auth.token_response:parse_token_response",),
        lambda data: parse_token_response(200, data, "login.example"),
        MAX_RESPONSE_BYTES,
        errors=(TokenRefused, Unavailable),
        shapes=(
            *shapes(b"1", before=b'{"access_token":"a","expires_in":', after=b"}"),
            *shapes(b"1", before=b'{"access_token":"a","expires_in":"', after=b'"}'),
            *shapes(b"AADSTS", b"AADSTS1", before=b'{"error":"invalid_grant","error_description":"', after=b'"}'),
            *shapes(b'"a":', b'{"a":', b"0,", b'{"a":1},', before=b"["),
        ),
    ),
    Entry(
        ("domain.hosts:parse_host", "domain.hosts:is_domain", "domain.internal_names:is_internal_name"),
        lambda data: (is_domain(_text(data)), is_internal_name(_text(data)[:253]), parse_host(_text(data))),
        64 * 1024,
        errors=(ValueError,),
        shapes=shapes(b"1.", b"0x", b"xn--a.", "。".encode(), "ß.".encode(), b"[::"),
    ),
    Entry(
        ("domain.addresses:parse_address", "domain.addresses:_checked", "domain.addresses:masked"),
        lambda data: (masked(_text(data)), parse_address("a@" + _text(data))),
        64 * 1024,
        errors=(ValueError,),
        shapes=shapes(b"xn--a.", "。".encode(), "ß.".encode(), b"@", "ü.".encode()),
    ),
    Entry(
        (
            "domain.addresses:parse_address",
            "domain.addresses:_checked",
            "domain.addresses:problem_of",
            "domain.addresses:as_written",
        ),
        lambda data: (problem_of(_text(data)), as_written(_text(data)), parse_address(_text(data) + "@a.example")),
        _MAX_TOKEN_CHARS,
        errors=(ValueError,),
    ),
    Entry(("domain.providers:provider_of",), lambda data: provider_of(_text(data)), _MAX_TOKEN_CHARS),
    Entry(
        (
            "adapters.auth.secrets:SealingKeys.open",
            "adapters.auth.sealed_box:read_boxes",
            "adapters.auth.sealed_box:open_box",
            "adapters.auth.sealed_box:decode",
            "adapters.auth.sealed_box:is_key_name",
        ),
        lambda data: _KEYS.open(_text(data), "acme"),
        _MAX_SEALED_CHARS,
        errors=(SecretUnavailable,),
        shapes=shapes(b"k.AAAA,", b"k.AAAA", b"A", before=b"k."),
    ),
    Entry(
        ("domain.snapshot.secret_references:reference_problem",),
        lambda data: reference_problem(SealedSecret.model_construct(sealed=_text(data)), "SENDAS_SECRET_"),
        _MAX_SEALED_CHARS,
        shapes=shapes(b"k.AAAA,", b"A", before=b"k."),
    ),
)
