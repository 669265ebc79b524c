"""What mail servers say: SMTP replies, IMAP responses, and the words of both."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from aiosmtplib import SMTPResponse, SMTPResponseException
from aiosmtplib.errors import SMTPException
from aiosmtplib.esmtp import parse_esmtp_extensions
from pydantic import SecretStr

from fuzz.foreign.entry import Entry, Runs, shapes
from fuzz.world import NOW
from worker.adapters.auth.credentials import AccessToken, Password
from worker.adapters.auth.redaction import Redaction
from worker.adapters.imap import responses
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.imap.encoding import Dialogue, decode_mailbox_name, encode_mailbox_name, quotable
from worker.adapters.imap.errors import MAX_DETAIL_CHARS, MAX_WORDS_BYTES, ImapTrouble, ServerWords
from worker.adapters.imap.folder_discovery import fold, locate
from worker.adapters.imap.namespaces import namespaces
from worker.adapters.imap.protocol import (
    MAX_LINE_BYTES,
    Answer,
    ImapProtocol,
    LostConnection,
    Request,
    ResponseFramer,
    ResponseTooLarge,
)
from worker.adapters.imap.responses import mailbox_name
from worker.adapters.imap.session import ImapSession
from worker.adapters.smtp.errors import refusal, reply_of
from worker.adapters.smtp.protocol import MAX_TEXT_CHARS, PairedProtocol
from worker.domain.failure.classify import classify, is_session_limit, refuses_mechanism
from worker.domain.failure.copy_refusals import judge_refusal
from worker.domain.failure.replies import evidence, make_reply, parse_reply
from worker.domain.failure.stated_pause import stated_pause_s
from worker.domain.providers import GENERIC
from worker.domain.transmission import DeliveryFailure, FailureKind, rewritten_message_id
from worker.domain.vocabulary import Phase

_PASSWORD, _TOKEN = "hunter2 hunter2", "ya29." + "abcXYZ0123" * 200
_KNOWN: Sequence[Password | AccessToken] = (
    Password("u", SecretStr(_PASSWORD)),
    AccessToken("u", SecretStr(_TOKEN)),
    AccessToken("u", SecretStr(_TOKEN[::-1])),
)
_REDACTIONS: dict[object, Redaction] = {
    each: Redaction(_TOKEN if isinstance(each, AccessToken) else _PASSWORD) for each in _KNOWN
}
_SERVER_WORDS = ServerWords(_KNOWN)
_AT_ONCE_BYTES = 256 * 1024  # what asyncio reads before it gives it to a protocol
_RESPONSE_BYTES = ImapTimeouts().max_response_bytes
_MAX_REPLY_CHARS = 1_000  # of a reply once `make_reply` made it
_SECRETS = shapes(b"hunter2", b"hunter2 ", b"hunter2\n", b"ya29.abcXYZ0123abc", b"h\nu\nn", b"\n5.7.8 hunter2 hunte")
_WORDS = shapes(
    *(b"user ", b"account is ", b"recipient exceeded ", b"daily limit ", b"exceeded ", b"sending quota "),
    *(b"per hour ", b"authenticat", b"mail relay denied ", b"try again in ", b"wait 1", b"domain x ", b"concurrent "),
    *(b"too many open concurrent ", b"#5.1.", b"5.1.1 ", b"<a@", b"[InternalId=", b"hourly ", b"receiving mail "),
    *(b"is not ", b"blocked ", b"tls ", b"spam ", b"sender "),
)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


class _Transport(asyncio.Transport):
    """Goes nowhere."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...
    def is_closing(self) -> bool:
        return False


async def _smtp(data: bytes) -> None:
    """A greeting and the replies to a thousand commands, as far as they are in what came at once."""
    protocol = PairedProtocol(_REDACTIONS)
    protocol.connection_made(_Transport())
    protocol.pipeline([b"RCPT TO:<a@b.example>"] * 1_000)
    protocol.data_received(data)
    for _ in range(1_001):
        response = await protocol.next_reply(0.01)
        refusal(Phase.RCPT, response)


async def _imap(data: bytes) -> None:
    """What comes at once while a command waits for its end."""
    protocol = ImapProtocol(_RESPONSE_BYTES, _SERVER_WORDS)
    protocol.connection_made(_Transport())
    protocol.data_received(b"* OK hi\r\n")
    command = asyncio.ensure_future(protocol.converse(Request("NOOP", _quiet())))
    await asyncio.sleep(0)
    protocol.data_received(data)
    protocol.abort()
    await command


def _quiet() -> Dialogue:
    """A command without arguments."""
    return Dialogue("")


class _Told:
    """A protocol whose server has said all that it says, to whatever it is asked."""

    is_usable = True
    bye = None

    def __init__(self, data: bytes) -> None:
        self.words = _SERVER_WORDS
        framer = ResponseFramer(_RESPONSE_BYTES)
        lines: list[bytes] = []
        with suppress(ResponseTooLarge):
            lines += [line.removeprefix(b"* ") for line in framer.feed(data)]
        self._answer = Answer("OK", b"", tuple(lines), ())

    async def converse(self, *requests: Request) -> list[Answer]:
        return [self._answer for _ in requests]


async def _session(data: bytes) -> None:
    """Everything that a session asks, answered with the same."""
    session = ImapSession(cast("ImapProtocol", _Told(data)), ImapTimeouts())
    session._capabilities = frozenset({"ACL", "QUOTA", "SPECIAL-USE"})
    await session.list_folders(b"%")
    await locate(session)
    await session.free_kib(b"INBOX")
    await session.my_rights(b"INBOX")
    await session.fetch(1)
    await session.examine(b"INBOX")
    await session.search("<a@b.example>")


def _feed(data: bytes) -> None:
    framer = ResponseFramer(_RESPONSE_BYTES)
    for _ in framer.feed(data):
        pass


def _classified(phase: Phase, code: int, provider: str) -> Entry:
    def judge(data: bytes) -> None:
        classify(DeliveryFailure(phase, FailureKind.REPLY, make_reply(code, [_text(data)])), provider)

    return Entry(("domain.failure.classify:classify",), judge, 2 * _MAX_REPLY_CHARS, shapes=_WORDS)


_FOLDERS = shapes(
    *(b'* LIST () "/" a\r\n', b'* LIST (\\Sent) "/" "', b'* LIST () "/" {1}\r\na\r\n', b"* SEARCH 1 2 3\r\n"),
    *(b"* QUOTA x (STORAGE 1 2)\r\n", b"* OK [UIDVALIDITY 1] x\r\n", b"* MYRIGHTS x lrs\r\n", b"{0}\r\n", b"+ \r\n"),
    *(b"* CAPABILITY A B C\r\n", b"* 1 FETCH (BODY[] {1}\r\na)\r\n", b"* BYE x\r\n", b'* LIST () "/" "&-&-&-"\r\n'),
)

_PHASES_OF_COPIES = (Phase.AUTH, Phase.MAIL, Phase.DATA)


def _copies_judged(data: bytes) -> None:
    for phase in _PHASES_OF_COPIES:
        judge_refusal(phase, _text(data))


def _weighed(data: bytes) -> None:
    reply = make_reply(421, [_text(data)])
    is_session_limit(reply)
    refuses_mechanism(make_reply(535, [_text(data)]))
    stated_pause_s(reply.text)
    stated_pause_s(reply.text, NOW)
    evidence(reply.text)


ENTRIES = (
    Entry(("domain.failure.copy_refusals:judge_refusal",), _copies_judged, MAX_DETAIL_CHARS, shapes=_WORDS),
    Entry(
        (
            "domain.failure.classify:is_session_limit",
            "domain.failure.classify:refuses_mechanism",
            "domain.failure.stated_pause:stated_pause_s",
            "domain.failure.replies:evidence",
            "domain.failure.rules.rule:Rule.applies",
        ),
        _weighed,
        MAX_TEXT_CHARS,
        shapes=_WORDS,
    ),
    Entry(
        ("adapters.imap.namespaces:namespaces",),
        namespaces,
        _RESPONSE_BYTES,
        shapes=shapes(b'(("" "/"))', b"(", b"NIL ", b'"" ', b" ", b"{1}\r\na", before=b"NAMESPACE "),
    ),
    Entry(("adapters.imap.responses:mailbox_name",), mailbox_name, MAX_LINE_BYTES, shapes=shapes(b"&AAA-")),
    Entry(
        ("adapters.auth.redaction:Redaction.__call__",),
        lambda data: [each(_text(data), is_cut=True) for each in _REDACTIONS.values()],
        max(MAX_TEXT_CHARS, MAX_WORDS_BYTES),
        shapes=_SECRETS,
    ),
    Entry(
        ("adapters.imap.errors:ServerWords.clean",),
        _SERVER_WORDS.clean,
        _RESPONSE_BYTES,
        shapes=_SECRETS,
    ),
    Entry(
        ("adapters.imap.errors:ServerWords.clean_challenge",),
        _SERVER_WORDS.clean_challenge,
        MAX_LINE_BYTES,
        shapes=shapes(b"AAAA", b"IAog", b"="),
    ),
    Entry(
        ("adapters.imap.responses:response_code", "adapters.imap.responses:append_uid"),
        lambda data: responses.append_uid(responses.response_code(data)),
        MAX_LINE_BYTES,
        shapes=shapes(b"1", b"1 ", b"a", b" ", before=b"[APPENDUID ", after=b"] ok"),
    ),
    Entry(
        ("adapters.imap.responses:uid_validity",),
        responses.uid_validity,
        MAX_LINE_BYTES,
        shapes=shapes(b"1", b"[", b" ", before=b"OK [UIDVALIDITY ", after=b"]"),
    ),
    Entry(("adapters.imap.responses:capabilities",), responses.capabilities, MAX_LINE_BYTES),
    Entry(
        ("adapters.imap.responses:search_result",),
        responses.search_result,
        _RESPONSE_BYTES,
        shapes=shapes(b" 1", b" 1234567890", b" ", b"1", before=b"SEARCH"),
    ),
    Entry(
        ("adapters.imap.responses:my_rights",),
        responses.my_rights,
        _RESPONSE_BYTES,
        shapes=shapes(b" ", b"a", b' "', b" a", before=b"MYRIGHTS "),
    ),
    Entry(
        ("adapters.imap.responses:quota_free_kib",),
        responses.quota_free_kib,
        _RESPONSE_BYTES,
        shapes=(
            *shapes(b"( STORAGE 1 1", b"STORAGE 1", b"(", b")", b" STORAGE ", b"1", before=b"QUOTA "),
            *shapes(b"STORAGE 1 1 ", b"STORAGE 111111111 ", before=b'QUOTA "" (', after=b")"),
        ),
    ),
    Entry(
        ("adapters.imap.responses:fetched_body",),
        responses.fetched_body,
        _RESPONSE_BYTES,
        shapes=shapes(b"BODY[] {1", b"BODY[] {1}\r", b"(", b"a", before=b"1 FETCH ("),
    ),
    Entry(
        ("adapters.imap.responses:listed_folder",),
        responses.listed_folder,
        _RESPONSE_BYTES,
        shapes=(
            *shapes(b"\\a", b"a", b'""', b'\\"', b"&", b"&AAA-", b"&AAAA", before=b'LIST () "/" "', after=b'"'),
            *shapes(b"\\Sent ", b"(", b" ", before=b"LIST ("),
            *shapes(b" ", before=b'LIST () "/" '),
        ),
    ),
    Entry(("adapters.imap.folder_discovery:fold",), lambda data: fold(_text(data)), MAX_LINE_BYTES),
    Entry(
        ("adapters.imap.protocol:ResponseFramer.feed",),
        _feed,
        _AT_ONCE_BYTES,
        errors=(ResponseTooLarge,),
        shapes=_FOLDERS,
    ),
    Entry(
        ("adapters.imap.protocol:ImapProtocol.data_received",),
        _imap,
        _AT_ONCE_BYTES,
        Runs.IN_STEPS,
        errors=(LostConnection,),
        shapes=_FOLDERS,
    ),
    Entry(
        (
            "adapters.imap.session:ImapSession.list_folders",
            "adapters.imap.session:ImapSession.survey",
            "adapters.imap.namespaces:own_names",
            "adapters.imap.session:ImapSession.examine",
            "adapters.imap.session:ImapSession.my_rights",
            "adapters.imap.session:ImapSession.free_kib",
            "adapters.imap.session:ImapSession.search",
            "adapters.imap.session:ImapSession.examine_and_search",
        ),
        _session,
        _RESPONSE_BYTES,
        Runs.IN_STEPS,
        errors=(ImapTrouble,),
        shapes=_FOLDERS,
        is_huge=True,
    ),
    Entry(
        ("adapters.imap.encoding:decode_mailbox_name",), decode_mailbox_name, MAX_LINE_BYTES, shapes=shapes(b"&AAA-")
    ),
    Entry(
        ("adapters.imap.encoding:encode_mailbox_name", "adapters.imap.encoding:quotable"),
        lambda data: quotable(encode_mailbox_name(_text(data))),
        responses.MAX_NAME_BYTES,
        errors=(ValueError,),
    ),
    Entry(
        ("adapters.smtp.protocol:PairedProtocol.data_received",),
        _smtp,
        _AT_ONCE_BYTES,
        Runs.IN_STEPS,
        errors=(SMTPException,),
        shapes=shapes(
            *(
                b"250 ok\r\n",
                b"250\r\n",
                b"550 5.1.1 hunter2 hunter2\r\n",
                b"250-x\r\n",
                b"550 " + b"a " * 4_000 + b"\r\n",
            ),
            *(
                b"550 " + b" " * 8_000 + b"y\r\n",
                b"550-" + b"x\t" * 1_000 + b"\r\n",
                b"\n",
                b"550 " + b"\t\x01" * 200 + b"\n",
            ),
        ),
    ),
    Entry(
        ("adapters.smtp.errors:reply_of", "adapters.smtp.errors:refusal", "domain.failure.replies:make_reply"),
        lambda data: reply_of(SMTPResponse(550, _text(data))),
        MAX_TEXT_CHARS,
        errors=(SMTPResponseException,),
        shapes=_WORDS,
    ),
    Entry(
        (
            "adapters.smtp.authentication:sign_in",
        ),  # its words are those of the EHLO reply, which the library takes apart
        lambda data: parse_esmtp_extensions(_text(data)),
        MAX_TEXT_CHARS,
        shapes=shapes(b"AUTH a ", b"AUTH=a ", b"SIZE 1", b"\nAUTH a"),
    ),
    _classified(Phase.AUTH, 535, "yandex"),
    _classified(Phase.MAIL, 550, "generic"),
    _classified(Phase.RCPT, 450, "gmail"),
    _classified(Phase.RCPT, 550, "exchange_online"),
    _classified(Phase.DATA, 554, "outlook"),
    _classified(Phase.DATA, 421, "mailgun"),
    _classified(Phase.GREETING, 554, "mail_ru"),
    Entry(
        ("domain.failure.replies:parse_reply",),
        lambda data: parse_reply(_text(data)),
        64 * 1024,
        errors=(ValueError,),
        shapes=shapes(b"550-a\n", b"550 a\n", b"5"),
    ),
    Entry(
        ("domain.transmission:rewritten_message_id",),
        lambda data: rewritten_message_id(make_reply(250, [_text(data)]), "<a@b>", GENERIC, "smtp.ses.example"),
        MAX_TEXT_CHARS,
        shapes=(*_WORDS, *shapes(b"<a@", b"<" + b"a" * 200 + b"@", b"ok 1")),
    ),
)
