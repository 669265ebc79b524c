"""Opening a session: connect, greeting, TLS, signing in; every failure names its phase."""

import asyncio
import base64
import hmac
import socket
import ssl
from dataclasses import replace

import pytest
from pydantic import SecretStr

from stack import client_context
from tests.doubles.smtp import (
    CERTIFICATES,
    HOST,
    PASSWORD,
    RECIPIENT,
    TOKEN,
    USERNAME,
    FixedCredentials,
    Hook,
    LocalDialer,
    World,
    hasty,
    letter,
    password,
    password_auth,
    route,
    token,
    transport,
    world,
)
from worker.adapters.auth.credentials import AccessToken, Password
from worker.adapters.network.egress import DialError
from worker.adapters.smtp import SmtpTransport
from worker.delivery.ports import Route
from worker.domain.snapshot.model import Auth
from worker.domain.transmission import DeliveryFailure, FailureKind, Transmission
from worker.domain.vocabulary import Mechanism, Phase, Security
from worker.errors import ConfigurationError, SecretUnavailable, TokenRefused, Unavailable


def trouble(transmission: Transmission) -> DeliveryFailure:
    assert not transmission.accepted
    assert not transmission.uncertain
    return transmission.refused[RECIPIENT]


@pytest.mark.parametrize("security", list(Security))
@pytest.mark.parametrize("opened", [password(), token()], ids=["password", "token"])
async def test_a_letter_goes_out_over_every_kind_of_connection(security: Security, opened: object) -> None:
    async with world(security=security, opened=opened) as w:  # type: ignore[arg-type] # one of both by construction
        assert (await w.send()).accepted[RECIPIENT].code == 250
        assert w.server.letters[0].username == USERNAME
        assert w.server.letters[0].is_tls == (security is not Security.NONE)


async def test_ehlo_says_the_configured_host_name_again_after_starttls() -> None:
    async with world(security=Security.STARTTLS, opened=password()) as w:
        await w.send()
        assert [c.line for c in w.server.commands[:3]] == [
            "EHLO worker.sendas.example",
            "STARTTLS",
            "EHLO worker.sendas.example",
        ]


async def test_if_the_server_offers_no_starttls_nothing_goes_out_in_plain_text() -> None:
    async with world(security=Security.STARTTLS, offers_tls=False, opened=password()) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TLS)
        assert w.server.verbs() == ["EHLO"]


async def test_a_refused_starttls_is_reported_in_the_servers_words() -> None:
    async with world("starttls: 454 4.7.0 no TLS today", security=Security.STARTTLS, opened=password()) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.REPLY)
        assert found.reply is not None
        assert (found.reply.code, found.reply.enhanced, found.reply.text) == (454, "4.7.0", "no TLS today")


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_a_certificate_for_another_name_is_refused_although_the_address_is_right(security: Security) -> None:
    async with world(security=security, certificate_host="other.example", opened=password()) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TLS)
        assert HOST in found.detail
        assert "AUTH" not in w.server.verbs()


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize("host", ["x" * 64 + ".example", "a..b", ".x", "."])
async def test_a_host_that_no_certificate_can_name_is_a_tls_fault(host: str, security: Security) -> None:
    """If a customer writes a broken name, it is this mailbox's trouble and nobody's crash."""
    async with world(security=security, opened=password()) as w:
        way = replace(w.route, smtp=w.route.smtp.model_copy(update={"host": host}))
        found = trouble(await w.transport.send(way, letter(), w.hook))
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TLS)
        await w.server.until(lambda: w.server.open_connections == 0)
        assert w.transport.numbers.open == 0


async def test_a_host_with_the_root_dot_matches_its_certificate() -> None:
    async with world(security=Security.TLS, opened=password()) as w:
        way = replace(w.route, smtp=w.route.smtp.model_copy(update={"host": HOST + "."}))
        assert (await w.transport.send(way, letter(), w.hook)).accepted


async def test_a_handshake_that_fails_is_a_tls_fault() -> None:
    async with world(
        "starttls: raw 220 go\\r\\n, read 5, garbage, stall", security=Security.STARTTLS, opened=password()
    ) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TLS)


async def test_a_server_that_hangs_up_in_the_handshake_is_a_tls_fault() -> None:
    async with world("starttls: raw 220 go\\r\\n, close", security=Security.STARTTLS, opened=password()) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TLS)


async def test_a_handshake_without_an_answer_is_a_timeout_in_phase_tls() -> None:
    script = "starttls: raw 220 go\\r\\n, stall"
    async with world(script, security=Security.STARTTLS, opened=password(), timeouts=hasty("tls_s")) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TIMEOUT)


async def test_implicit_tls_to_a_server_that_speaks_plain_text_is_a_tls_fault() -> None:
    async with world(security=Security.TLS, offers_tls=False, opened=password()) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TLS)


async def test_plain_text_injected_before_tls_is_not_taken_for_a_reply() -> None:
    """An attacker in the middle adds replies to the 220; they must not answer the commands inside TLS."""
    script = "starttls: raw 220 go\\r\\n250-evil\\r\\n250 AUTH EVIL\\r\\n235 2.7.0 welcome\\r\\n, upgrade"
    async with world(script, security=Security.STARTTLS, opened=password()) as w:
        assert (await w.send()).accepted
        assert w.server.letters[0].username == USERNAME


async def test_what_was_offered_before_tls_counts_for_nothing() -> None:
    script = "once ehlo: 250 scripted.example|STARTTLS|PIPELINING|SIZE 10"
    async with world(script, security=Security.STARTTLS, opened=password()) as w:
        assert (await w.send()).accepted


async def test_a_context_that_does_not_verify_is_a_configuration_error() -> None:
    unverified = client_context()
    unverified.check_hostname = False
    old = ssl.create_default_context()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    for context in (unverified, old):
        with pytest.raises(ConfigurationError):
            SmtpTransport(LocalDialer(), FixedCredentials(), local_hostname="w.example", tls=context)


async def test_a_server_that_speaks_only_tls_1_1_is_refused() -> None:
    async with world(security=Security.TLS, opened=password()) as w:
        assert w.server.tls is not None
        w.server.tls.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            w.server.tls.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="deprecated"):
            w.server.tls.maximum_version = ssl.TLSVersion.TLSv1_1
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TLS)


@pytest.mark.parametrize("fault", [FailureKind.DNS, FailureKind.EGRESS, FailureKind.CONNECT, FailureKind.TIMEOUT])
async def test_a_dial_that_fails_keeps_its_fault(fault: FailureKind) -> None:
    dialer = LocalDialer()
    dialer.fault = fault
    async with world(dialer=dialer) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault, found.detail) == (Phase.CONNECT, fault, "no way there")
        assert w.transport.numbers.open == 0


@pytest.mark.parametrize(
    ("script", "fault", "code"),
    [
        ("banner: 554 5.3.2 go away", FailureKind.REPLY, 554),
        ("banner: 421 4.3.2 busy, close", FailureKind.REPLY, 421),
        ("banner: close", FailureKind.DISCONNECTED, None),
        ("banner: reset", FailureKind.DISCONNECTED, None),
        ("banner: half-close, stall", FailureKind.DISCONNECTED, None),
        ("banner: raw SSH-2.0-OpenSSH\\r\\n, stall", FailureKind.PROTOCOL, None),
        ("banner: 354 what, stall", FailureKind.PROTOCOL, 354),
        ("banner: flood 10000000", FailureKind.PROTOCOL, None),
        ("banner: long-line 10000000", FailureKind.PROTOCOL, None),
        ("ehlo: 550 5.7.1 not you", FailureKind.REPLY, 550),
        ("ehlo: close", FailureKind.DISCONNECTED, None),
        ("ehlo: flood 10000000", FailureKind.PROTOCOL, None),
    ],
)
async def test_trouble_before_signing_in_is_in_phase_greeting(
    script: str, fault: FailureKind, code: int | None
) -> None:
    async with world(script) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.GREETING, fault)
        assert (found.reply.code if found.reply else None) == code
        assert w.hook.times == 0


@pytest.mark.parametrize(
    "script",
    [
        "banner: 554 5.7.0 {0}",
        "banner: 421 {0}, close",
        "banner: raw {0}\\r\\n, stall",
        "ehlo: 550 5.7.1 {0}",
        "ehlo: raw {0}\\r\\n, stall",
        "auth: 535 5.7.8 {0}",
    ],
)
@pytest.mark.parametrize("opened", [password(), token()], ids=["password", "token"])
async def test_a_secret_from_a_connection_before_that_the_server_greets_with_reaches_no_result(
    script: str, opened: Password | AccessToken
) -> None:
    """If a server repeats before the sign-in what it was told the last time, I expect nobody to see it."""
    secret = (opened.password if isinstance(opened, Password) else opened.token).get_secret_value()
    encoded = base64.b64encode(secret.encode()).decode()
    async with world(script.format(f"{secret} {encoded}"), security=Security.TLS, opened=opened) as w:
        found = trouble(await w.send())
    assert secret not in repr(found)
    assert encoded[:-4] not in repr(found)


async def test_a_slow_banner_is_a_timeout_in_phase_greeting() -> None:
    async with world("banner: stall", timeouts=hasty("greeting_s")) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.GREETING, FailureKind.TIMEOUT)
        await w.server.until(lambda: w.server.open_connections == 0)


async def test_a_banner_of_many_lines_in_pieces_is_one_reply() -> None:
    async with world("banner: pieces 1 220 welcome|to|this server") as w:
        assert (await w.send()).accepted


@pytest.mark.parametrize(
    ("mechanisms", "expected"),
    [(("LOGIN", "PLAIN"), "AUTH PLAIN"), (("LOGIN",), "AUTH LOGIN"), (("CRAM-MD5", "LOGIN"), "AUTH LOGIN")],
)
async def test_exactly_one_mechanism_is_tried(mechanisms: tuple[str, ...], expected: str) -> None:
    """Each try is a failed sign-in to the provider: three of them per letter lock a mailbox."""
    async with world(security=Security.TLS, opened=password("wrong"), mechanisms=mechanisms) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.AUTH, FailureKind.REPLY)
        assert found.reply is not None
        assert (found.reply.code, found.reply.enhanced) == (535, "5.7.8")
        assert [c.line for c in w.server.commands if c.verb == "AUTH"] == [expected]


async def test_login_signs_in_where_plain_is_not_offered() -> None:
    async with world(security=Security.TLS, opened=password(), mechanisms=("LOGIN",)) as w:
        assert (await w.send()).accepted


@pytest.mark.parametrize(
    "prompts",
    [("", ""), ("VXNlciBOYW1lAA==", "UGFzc3dvcmQA"), ("dXNlcm5hbWU=", "UGFzc3dvcnQ6"), ("Username:", "Password:")],
    ids=["empty", "with NUL", "other words", "not in base64"],
)
async def test_login_signs_in_whatever_the_prompts_say(prompts: tuple[str, str]) -> None:
    """The mechanism has no standard, and servers word its prompts as they like; their order is what counts."""
    async with world(security=Security.TLS, opened=password(), mechanisms=("LOGIN",)) as w:
        w.server.login_prompts = prompts
        assert (await w.send()).accepted
        assert w.server.verbs() == ["EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."]


async def test_a_refused_token_brings_the_real_reply_not_the_challenge() -> None:
    async with world(security=Security.TLS, opened=token("expired")) as w:
        found = trouble(await w.send())
        assert found.reply is not None
        assert found.reply.code == 535


@pytest.mark.parametrize(
    ("opened", "mechanisms", "fault"),
    [
        (password(), ("NTLM", "GSSAPI"), FailureKind.NO_AUTH_MECHANISM),
        (password(), ("XOAUTH2",), FailureKind.ONLY_TOKENS),
        (password(), ("OAUTHBEARER", "NTLM"), FailureKind.ONLY_TOKENS),
        (password(), (), FailureKind.NO_AUTH_MECHANISM),
        (token(), ("PLAIN", "LOGIN"), FailureKind.NO_AUTH_MECHANISM),
    ],
)
async def test_without_a_fitting_mechanism_no_secret_is_sent(
    opened: object, mechanisms: tuple[str, ...], fault: FailureKind
) -> None:
    async with world(security=Security.TLS, opened=opened, mechanisms=mechanisms) as w:  # type: ignore[arg-type] # see above
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.AUTH, fault)
        assert all(name.lower() in found.detail for name in mechanisms)
        assert "AUTH" not in w.server.verbs()


def named(w: World, mechanism: Mechanism) -> Route:
    auth = password_auth().model_copy(update={"mechanism": mechanism})
    return replace(w.route, smtp=w.route.smtp.model_copy(update={"auth": auth}))


@pytest.mark.parametrize("mechanism", Mechanism)
async def test_the_mechanism_that_the_settings_name_is_used(mechanism: Mechanism) -> None:
    async with world(security=Security.TLS, opened=password(), mechanisms=("PLAIN", "LOGIN", "CRAM-MD5")) as w:
        assert (await w.transport.send(named(w, mechanism), letter(), w.hook)).accepted
        assert [c.line for c in w.server.commands if c.verb == "AUTH"] == [f"AUTH {mechanism.value.upper()}"]


async def test_if_the_server_does_not_offer_the_named_mechanism_no_other_is_used() -> None:
    async with world(security=Security.TLS, opened=password(), mechanisms=("PLAIN", "XOAUTH2")) as w:
        found = trouble(await w.transport.send(named(w, Mechanism.CRAM_MD5), letter(), w.hook))
        assert found.fault is FailureKind.NO_AUTH_MECHANISM
        assert found.detail == "the settings name cram-md5; mechanisms offered: plain, xoauth2"
        assert "AUTH" not in w.server.verbs()


async def test_cram_md5_signs_in_where_nothing_else_is_offered() -> None:
    async with world(security=Security.TLS, opened=password(), mechanisms=("CRAM-MD5", "XOAUTH2")) as w:
        assert (await w.send()).accepted
        assert w.server.letters[0].username == USERNAME


async def test_a_digest_that_the_server_repeats_reaches_no_result() -> None:
    async with world(security=Security.TLS, opened=password(), mechanisms=("CRAM-MD5",)) as w:
        digest = hmac.new(PASSWORD.encode(), b"<1@scripted.example>", "md5").hexdigest()
        answer = base64.b64encode(f"{USERNAME} {digest}".encode()).decode()
        w.server.play(f"mail: 550 5.7.1 you said {answer}")
        assert answer[:24] not in repr(await w.send())


@pytest.mark.parametrize(
    "reply",
    [
        "504 5.7.4 Unrecognized authentication type",
        "504 5.5.4 no",
        "502 Invalid input from 203.0.113.5",
        "500 5.5.1 what",
        "553 5.3.0 Auth failure",
        "534 5.7.9 Authentication mechanism is too weak",
    ],
)
async def test_plain_that_is_refused_for_its_own_sake_is_followed_by_another_once(reply: str) -> None:
    """If a server offers PLAIN and cannot do it, then the mailbox is not stopped for a password that was right."""
    mechanisms = ("PLAIN", "CRAM-MD5") if reply.startswith("534") else ("PLAIN", "LOGIN", "CRAM-MD5")
    second = "CRAM-MD5" if reply.startswith("534") else "LOGIN"
    async with world(f"auth plain: {reply}", security=Security.TLS, opened=password(), mechanisms=mechanisms) as w:
        assert (await w.send()).accepted
        assert [c.line for c in w.server.commands if c.verb == "AUTH"] == ["AUTH PLAIN", f"AUTH {second}"]
        assert w.server.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        "535 5.7.8 user name or password is wrong",
        "535 5.7.8 Invalid authentication mechanism",
        "534 5.7.9 Application-specific password required",
        "534 5.7.14 Please log in via your web browser",
        "502 5.7.0 Your SMTP account is not yet activated",
        "454 4.7.0 Temporary authentication failure",
        "550 User has no permission",
    ],
)
async def test_what_may_be_about_the_password_or_the_account_is_not_tried_in_another_way(reply: str) -> None:
    async with world(f"auth: {reply}", security=Security.TLS, opened=password()) as w:
        assert trouble(await w.send()).phase is Phase.AUTH
        assert [c.line for c in w.server.commands if c.verb == "AUTH"] == ["AUTH PLAIN"]


async def test_a_named_mechanism_that_is_refused_is_followed_by_no_other() -> None:
    async with world("auth plain: 504 5.5.4 no", security=Security.TLS, opened=password()) as w:
        assert not (await w.transport.send(named(w, Mechanism.PLAIN), letter(), w.hook)).accepted
        assert w.server.verbs().count("AUTH") == 1


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (SecretUnavailable("no such key"), FailureKind.SECRET),
        (TokenRefused("invalid_grant"), FailureKind.TOKEN_REFUSED),
        (Unavailable("no answer"), FailureKind.CONNECT),
    ],
)
async def test_credentials_that_cannot_be_opened_are_trouble_in_phase_auth(
    error: Exception, fault: FailureKind
) -> None:
    async with world(security=Security.TLS, opened=error) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault, found.detail) == (Phase.AUTH, fault, str(error))
        await w.server.until(lambda: w.server.open_connections == 0)


async def test_a_server_that_repeats_the_secret_does_not_get_it_into_the_result() -> None:
    plain = "AGNvbGQAY2FuYXJ5LVBhNTV3b3Jk"
    async with world(
        f"auth: 535 5.7.8 wrong: {PASSWORD} Y2FuYXJ5LVBhNTV3b3Jk {plain}", security=Security.TLS, opened=password()
    ) as w:
        found = trouble(await w.send())
        assert found.reply is not None
        assert PASSWORD not in repr(found)
        assert "Y2FuYXJ5LVBhNTV3b3Jk" not in repr(found)
    async with world(f"auth: 535 wrong: {TOKEN}", security=Security.TLS, opened=token()) as w:
        assert TOKEN not in repr(await w.send())


async def test_a_server_that_echoes_what_it_gets_does_not_get_a_piece_of_the_secret_into_the_result() -> None:
    encoded = "dXNlcj1zdXBwb3J0QGFjbWUuZXhhbXBsZQFhdXRoPUJlYXJlciBjYW5hcnktdDBrZW4BAQ=="
    async with world(f"auth: raw AUTH XOAUTH2 {encoded}\\r\\n", security=Security.TLS, opened=token()) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.AUTH, FailureKind.PROTOCOL)
        assert encoded[:20] not in repr(found)


@pytest.mark.parametrize("hostname", ["", "two words", "пример.рф", "x\r\nMAIL"])
def test_a_host_name_that_ehlo_cannot_say_is_a_configuration_error(hostname: str) -> None:
    with pytest.raises(ConfigurationError):
        SmtpTransport(LocalDialer(), FixedCredentials(), local_hostname=hostname, tls=CERTIFICATES.client())


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("auth: close", FailureKind.DISCONNECTED),
        ("auth: raw what\\r\\n", FailureKind.PROTOCOL),
        ("auth: 250 hm", FailureKind.PROTOCOL),
    ],
)
async def test_other_trouble_while_signing_in(script: str, fault: FailureKind) -> None:
    async with world(script, security=Security.TLS, opened=password()) as w:
        found = trouble(await w.send())
        assert (found.phase, found.fault) == (Phase.AUTH, fault)


async def test_a_server_that_leaves_while_the_secret_is_opened_is_not_one_without_mechanisms() -> None:
    """If the connection breaks before AUTH, the mailbox must not look as if it could never sign in."""
    async with world("ehlo: proceed, close") as w:

        class SlowCredentials(FixedCredentials):
            async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
                await w.server.until(lambda: w.server.open_connections == 0)
                for _ in range(10):
                    await asyncio.sleep(0)  # the loop's turns in which the end is read
                return password()

        smtp = transport(SlowCredentials())
        for security in (Security.NONE, Security.STARTTLS):
            way = replace(w.route, smtp=w.route.smtp.model_copy(update={"security": security}))
            found = trouble(await smtp.send(way, letter(), w.hook))
            assert found.phase is (Phase.AUTH if security is Security.NONE else Phase.TLS)
            assert found.fault in (FailureKind.DISCONNECTED, FailureKind.TLS)
        await smtp.close()


async def test_what_was_offered_is_remembered_when_the_connection_is_lost() -> None:
    """If a server leaves just before MAIL, the letter must not look too demanding for it."""
    async with world("idle: close") as w:
        await w.send()
        outcome = await w.send("клиент@example.net")
        assert outcome.accepted


async def test_421_to_auth_is_the_servers_reply() -> None:
    async with world("auth: 421 4.7.0 too many, close", security=Security.TLS, opened=password()) as w:
        found = trouble(await w.send())
        assert found.reply is not None
        assert (found.phase, found.reply.code) == (Phase.AUTH, 421)


async def test_the_socket_goes_where_the_dialer_says_and_the_host_is_asked_once() -> None:
    dialer = LocalDialer()
    async with world(dialer=dialer, security=Security.TLS, opened=password()) as w:
        await w.send()
        assert dialer.dialed == [(HOST, w.server.port)]


async def test_stages_have_their_times() -> None:
    async with world(security=Security.STARTTLS, opened=password()) as w:
        assert set((await w.send()).timings_s) == {"connect", "tls", "auth", "mail", "data"}
        assert set((await w.send()).timings_s) == {"mail", "data"}


@pytest.mark.parametrize(
    "script",
    [
        "mail: 550 5.7.1 no: {0}",
        "rcpt: 550 5.1.1 no: {0}",
        "data: 451 4.3.0 no: {0}",
        "content: 552 5.3.4 no: {0}",
        "dot: 554 5.7.1 no|5.7.1 {0}|5.7.1 bye",
        "dot: 250 2.0.0 fine, {0}",
        "mail: raw {0}\\r\\n",
        "dot: raw 25 {0}\\r\\n",
        "content: raw {0}\\r\\n",
        "after 1 mail: 421 4.7.0 {0}, close",
    ],
)
@pytest.mark.parametrize("opened", [password(), token()], ids=["password", "token"])
@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_a_server_that_repeats_the_secret_after_the_sign_in_does_not_get_it_into_a_result(
    script: str, opened: Password | AccessToken, security: Security
) -> None:
    secret = (opened.password if isinstance(opened, Password) else opened.token).get_secret_value()
    said = f"{secret} {base64.b64encode(secret.encode()).decode()}"
    async with world(script.format(said), security=security, opened=opened) as w:
        outcomes = [await w.send(), await w.send()]
    for outcome in outcomes:
        assert secret not in repr(outcome)
        assert base64.b64encode(secret.encode()).decode()[:-4] not in repr(outcome)


class RenewingCredentials(FixedCredentials):
    """An access token from memory, and another one when that is refused, if `is_old`."""

    def __init__(self, *tokens: str, is_old: bool = True) -> None:
        super().__init__()
        self.tokens = list(tokens)
        self.is_old = is_old
        self.forgotten: list[str] = []

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        return token(self.tokens[0])

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        self.forgotten.append(refused.get_secret_value())
        if self.is_old:
            self.tokens.pop(0)
        return self.is_old


async def test_a_token_from_memory_that_is_refused_is_replaced_at_once() -> None:
    """If an administrator ended all sessions, then the mailbox is well, and only its token in memory is not."""
    async with world(security=Security.TLS) as w:
        w.server.tokens = {USERNAME: "new"}
        credentials = RenewingCredentials("old", "new")
        smtp = transport(credentials)
        outcome = await smtp.send(w.route, letter(), w.hook)
        await smtp.close()
        assert outcome.accepted
        assert credentials.forgotten == ["old"]
        assert w.server.connections == 1


@pytest.mark.parametrize(("is_old", "sign_ins"), [(False, 1), (True, 2)])
async def test_a_refused_token_is_never_replaced_twice_nor_when_it_is_fresh(is_old: bool, sign_ins: int) -> None:
    """If each refusal brought one more try, then the provider would lock the mailbox."""
    async with world(security=Security.TLS) as w:
        smtp = transport(RenewingCredentials("old", "older", "oldest", is_old=is_old))
        found = trouble(await smtp.send(w.route, letter(), w.hook))
        await smtp.close()
        assert (found.phase, found.fault) == (Phase.AUTH, FailureKind.REPLY)
        assert w.server.verbs().count("AUTH") == sign_ins


@pytest.mark.parametrize(("mailbox_id", "is_relay"), [(None, True), ("mb-support", False)])
async def test_only_the_relay_goes_where_only_the_relay_may(mailbox_id: str | None, is_relay: bool) -> None:
    """If the relay's network is open for the relay, then it is not for a customer's mailbox with the relay's host."""
    asked: list[str] = []

    class Refusing:
        def __init__(self, name: str) -> None:
            self.name = name

        async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
            asked.append(self.name)
            raise DialError("not here", FailureKind.EGRESS)

    tested = SmtpTransport(
        Refusing("customers"),
        FixedCredentials(),
        local_hostname="w.example",
        tls=CERTIFICATES.client(),
        relay_dialer=Refusing("relay"),
    )
    await tested.send(route(25, mailbox_id=mailbox_id), letter("a@b.example"), Hook())
    await tested.close()
    assert asked == ["relay" if is_relay else "customers"]
