"""Whole IMAP sessions with a server that says whatever the input says: the first byte chooses the settings."""

from fuzz.scripted_server import ScriptedServer
from fuzz.sessions import LoopDialer, settle, tls_context
from fuzz.target import CANARY, Target
from fuzz.virtual_loop import VirtualLoop
from fuzz.words import check_shown
from fuzz.world import NOW, FixedClock, FixedCredentials
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.imap.sent_folder import ImapSentFolder
from worker.delivery.ports import CopyTarget
from worker.domain.snapshot.model import Auth, EnvSecret, ImapServer, OAuthAuth, PasswordAuth
from worker.domain.transmission import DeliveryFailure
from worker.domain.vocabulary import AuthMethod, CopyOutcome, Phase, Security

_LOOP = VirtualLoop()
_MESSAGE_ID = "<m@x.example>"
_COPY = b"From: a@acme.example\r\nMessage-ID: <m@x.example>\r\n\r\nHello\r\n"
_MAX_RESPONSE_BYTES = 16 * 1024
_LONGEST_S = 600
_BEFORE_SIGN_IN = (Phase.CONNECT, Phase.TLS, Phase.GREETING)
_PASSWORD = PasswordAuth(method=AuthMethod.PASSWORD, username="u@acme.example", secret=EnvSecret(env="SENDAS_SECRET_X"))
_TOKEN = OAuthAuth.model_validate(
    {
        "method": "xoauth2",
        "username": "u@acme.example",
        "token_endpoint": "https://login.example/token",
        "client_id": "client",
        "refresh_token": {"env": "SENDAS_SECRET_X"},
    }
)
_AUTHS: tuple[Auth, ...] = (_PASSWORD, _TOKEN)
_FOLDERS = (None, "Sent", "Отправленные", 'a"b\\c')


def check(data: bytes) -> None:
    """A copy is saved, found or not for a reason that can be shown; the letter goes out whole and at most twice."""
    choice = data[0] if data else 0
    server = _LOOP.server = ScriptedServer(data[1:])
    security = (Security.NONE, Security.TLS)[choice % 2]
    imap = ImapServer(host="imap.acme.example", port=993, security=security)
    target = CopyTarget("acme", "mb", imap, _AUTHS[(choice >> 1) % 2], _FOLDERS[(choice >> 2) % 4])
    _LOOP.run(_check_saving(target, is_found_first=bool(choice & 16)))
    for connection in server.connections:
        _check_written(bytes(connection.written))


async def _check_saving(target: CopyTarget, *, is_found_first: bool) -> None:
    timeouts = ImapTimeouts(max_response_bytes=_MAX_RESPONSE_BYTES)
    folder = ImapSentFolder(LoopDialer(), FixedCredentials(), tls_context(), timeouts, FixedClock())
    began_s = _LOOP.time()
    try:
        if is_found_first:
            found = await folder.find(target, _MESSAGE_ID)
            assert isinstance(found, bool) or _is_fit(found)
        saved = await folder.save(target, _MESSAGE_ID, NOW, _COPY)
    finally:
        await folder.close()
        await settle()
    assert _LOOP.time() - began_s < _LONGEST_S
    has_failed = saved.outcome in (CopyOutcome.FAILED, CopyOutcome.NO_FOLDER)
    assert has_failed == (saved.trouble is not None)
    assert saved.trouble is None or _is_fit(saved.trouble)


def _is_fit(trouble: DeliveryFailure) -> bool:
    """Fit to be shown."""
    # What a server says before it was told the secret is its own.
    assert trouble.phase in _BEFORE_SIGN_IN or CANARY not in repr(trouble), trouble
    check_shown(trouble.detail or "")
    return True


def _check_written(sent: bytes) -> None:
    commands = sent.replace(_COPY, b"")
    rest = commands.replace(b"\r\n", b"")
    assert b"\r" not in rest, "a bare CR was sent"
    assert b"\n" not in rest, "a bare LF was sent"
    assert b"\0" not in rest, "a NUL was sent"


TARGET = Target(
    check,
    tokens=(
        *(b"\x1e", b"\x04", b"* OK ready\r\n", b"~ OK done\r\n", b"~ NO ", b"~ BAD ", b"+ go\r\n", b"* BYE \r\n", b"~"),
        *(b"* CAPABILITY IMAP4rev1 SPECIAL-USE UIDPLUS AUTH=XOAUTH2 SASL-IR\r\n", b"APPENDLIMIT=10", b"LOGINDISABLED"),
        *(b'* LIST (\\Sent) "/" Sent\r\n', b"* LIST () NIL {4}\r\nSent\r\n", b"* SEARCH 1\r\n", b"[TRYCREATE]"),
        *(b"[APPENDUID 1 2]", b"[UIDVALIDITY 7]", b"[TOOBIG]", b"[ALREADYEXISTS]", b"{99999999}\r\n", CANARY.encode()),
    ),
    max_input_bytes=4096,
)
