"""Whole SMTP sessions with a server that says whatever the input says: the first byte chooses the settings."""

from fuzz.scripted_server import ScriptedServer
from fuzz.sessions import LoopDialer, settle, tls_context
from fuzz.target import CANARY, Target
from fuzz.virtual_loop import VirtualLoop
from fuzz.words import check_shown
from fuzz.world import NOW, FixedCredentials
from worker.adapters.smtp import SmtpTransport
from worker.delivery.ports import Route
from worker.domain.failure.classify import classify
from worker.domain.letter.model import ComposedLetter
from worker.domain.snapshot.model import Auth, EnvSecret, NoAuth, OAuthAuth, PasswordAuth, SmtpServer
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import AuthMethod, Phase, Security

_LOOP = VirtualLoop()
_RECIPIENTS = ("a@example.net", "b@example.net")
_WIRE = b"From: a@acme.example\r\n\r\n.Hello\r\n..\r\n"
_AUTHS: tuple[Auth, ...] = (
    NoAuth(method=AuthMethod.NONE),
    PasswordAuth(method=AuthMethod.PASSWORD, username="u@acme.example", secret=EnvSecret(env="SENDAS_SECRET_X")),
    OAuthAuth.model_validate(
        {
            "method": "xoauth2",
            "username": "u@acme.example",
            "token_endpoint": "https://login.example/token",
            "client_id": "client",
            "refresh_token": {"env": "SENDAS_SECRET_X"},
        }
    ),
)
_SECURITIES = (Security.NONE, Security.TLS, Security.STARTTLS)


def check(data: bytes) -> None:
    """Every recipient stands once, is accepted or uncertain only after the dot, and no secret comes back."""
    choice = data[0] if data else 0
    server = _LOOP.server = ScriptedServer(data[1:])
    _LOOP.run(_check_sending(_route(choice), server, letters=1 + (choice >> 4) % 2))


def _route(choice: int) -> Route:
    security, auth = _SECURITIES[(choice & 3) % 3], _AUTHS[(choice >> 2 & 3) % 3]
    return Route("acme", "mb", SmtpServer(host="smtp.acme.example", port=587, security=security, auth=auth), 2)


async def _check_sending(route: Route, server: ScriptedServer, letters: int) -> None:
    transport = SmtpTransport(
        LoopDialer(), FixedCredentials(), local_hostname="worker.example", tls=tls_context(), monotonic=_LOOP.time
    )
    try:
        for _ in range(letters):
            await _check_letter(transport, route)
    finally:
        await transport.close()
        await settle()
    _check_written(route, server)


async def _check_letter(transport: SmtpTransport, route: Route) -> None:
    dots = 0

    async def count(_: object) -> None:
        nonlocal dots
        dots += 1

    letter = ComposedLetter("<m@x.example>", NOW, "a@acme.example", _RECIPIENTS, _WIRE, _WIRE, needs_smtputf8=False)
    began_s = _LOOP.time()
    outcome = await transport.send(route, letter, count)
    assert _LOOP.time() - began_s < 1_800, "a letter is held for longer than the broker waits"
    assert sorted([*outcome.accepted, *outcome.refused, *outcome.uncertain]) == sorted(_RECIPIENTS)
    assert dots == bool(outcome.accepted or outcome.uncertain) or (dots == 1 and outcome.refused)
    assert transport.numbers.waiting == 0
    _check_words(outcome)


def _check_words(outcome: Transmission) -> None:
    for trouble in (*outcome.refused.values(), *outcome.uncertain.values()):
        # What a server says before it was told the secret, or long after, is its own.
        assert trouble.phase is not Phase.AUTH or CANARY not in repr(trouble), trouble
        check_shown(trouble.reply.text if trouble.reply else "")
        check_shown(trouble.detail or "")
        classify(trouble, "")
    for reply in outcome.accepted.values():
        assert 200 <= reply.code <= 299
        check_shown(reply.text)


def _check_written(route: Route, server: ScriptedServer) -> None:
    for connection in server.connections:
        sent = bytes(connection.written)
        rest = sent.replace(b"\r\n", b"")
        assert b"\r" not in rest, "a bare CR was sent"
        assert b"\n" not in rest, "a bare LF was sent"
        # What was asked for in secret is never done in the open.
        is_open = route.smtp.security is not Security.NONE and connection.ssl_context is None
        assert not (is_open and (b"AUTH" in sent or b"MAIL" in sent)), "signed in or sent in plain text"


TARGET = Target(
    check,
    tokens=(
        *(
            b"\x1e",
            b"\x04",
            b"220 ready\r\n",
            b"250 ok\r\n",
            b"354 go\r\n",
            b"250-PIPELINING\r\n",
            b"250-AUTH PLAIN LOGIN",
        ),
        *(
            b"250-AUTH XOAUTH2\r\n",
            b"250-STARTTLS\r\n",
            b"250-SIZE 10\r\n",
            b"250-8BITMIME\r\n",
            b"235 ok\r\n",
            b"334 ",
        ),
        *(
            b"421 bye\r\n",
            b"550 5.1.1 no\r\n",
            b"451 4.7.1 later\r\n",
            b"221 bye\r\n",
            b"\n",
            b"\r\r\n",
            CANARY.encode(),
        ),
        *(b"AGNhbmFyeS1QYTU1d29yZA==", b"Y2FuYXJ5LVBhNTV3b3Jk"),
    ),
    max_input_bytes=4096,
)
