"""A check before servers that refuse, stall, cut and answer oddly: each step can fail, and each says what to do."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from stack.ports import free_ports
from stack.scripted_imap import Cut, Say, ScriptedFolder, ScriptedImap, Stall
from stack.scripted_smtp import ScriptedSmtpServer
from tests.builders import a_mailbox
from tests.check_setting import PATIENT_IMAP, PATIENT_SMTP, CheckSetting, a_subject, failures, outcomes
from tests.doubles.resolver import TableResolver
from tests.doubles.smtp import CERTIFICATES, PASSWORD, TOKEN, USERNAME
from tests.imap_setting import FixedCredentials, password
from worker.adapters.auth.credentials import AccessToken
from worker.adapters.network.tls import client_context
from worker.domain.results.models import CheckStepResult
from worker.domain.snapshot.model import Mailbox
from worker.errors import SecretUnavailable, TokenRefused, Unavailable
from worker.operations.mailbox_check.check import CheckLimits, is_good

HOST = "mail.acme.example"
TEST_TO = "ivan@product.example"


@dataclass
class World:
    """Scripted servers under any names, and the check that visits them."""

    setting: CheckSetting
    resolver: TableResolver
    stack: AsyncExitStack

    async def smtp(self, script: str = "", host: str = HOST, **options: Any) -> ScriptedSmtpServer:
        """A server with TLS from the first byte, under this name."""
        self.resolver.set(host, ["127.0.0.1"])
        standard: dict[str, Any] = {"tls": CERTIFICATES.server(host), "is_implicit_tls": True}
        server = ScriptedSmtpServer(script, **standard | {"users": {USERNAME: PASSWORD}} | options)
        return await self.stack.enter_async_context(server)

    async def imap(self, *folders: ScriptedFolder, capabilities: str = "SPECIAL-USE LIST-EXTENDED") -> ScriptedImap:
        """An IMAP server with TLS, under the name `HOST`."""
        self.resolver.set(HOST, ["127.0.0.1"])
        server = ScriptedImap(*(folders or (ScriptedFolder(b"Sent", "\\Sent"),)), capabilities=capabilities)
        await server.start(CERTIFICATES.server(HOST))
        self.stack.push_async_callback(server.stop)
        return server

    async def run(self, mailbox: Mailbox, **fields: Any) -> dict[str, CheckStepResult]:
        """The steps by their names."""
        return await self.setting.run(a_subject(mailbox, **fields))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    resolver = TableResolver()
    setting = CheckSetting(CERTIFICATES.client(), credentials=password(PASSWORD, USERNAME), resolver=resolver)
    async with AsyncExitStack() as stack:
        yield World(setting, resolver, stack)


def at(
    port: int, host: str = HOST, *, security: str = "tls", imap: ScriptedImap | None = None, **fields: Any
) -> Mailbox:
    """A mailbox at servers on these ports."""
    copy: dict[str, Any] = {"mode": "never"}
    if imap is not None:
        copy = {"mode": "always", "imap": {"host": HOST, "port": imap.port, "security": "tls"}}
    return a_mailbox(**{"smtp": {"host": host, "port": port, "security": security}, "sent_copy": copy} | fields)


@pytest.mark.parametrize(
    ("script", "step", "reason"),
    [
        # What the product's users are told about, row by row
        ("mail: 451 4.7.1 service unavailable, come back later", "sender", "temporarily_unavailable"),
        ("auth: 535 authentication failed", "auth", "auth_failed"),
        ("auth: 535 5.7.3 authentication unsuccessful", "auth", "auth_failed"),
        ("auth: 535 5.7.8 authentication failed", "auth", "auth_failed"),
        ("dot: 550 spam message rejected", "test_letter", "message_rejected_spam"),
        ("dot: 550 5.7.1 message classified as spam", "test_letter", "message_rejected_spam"),
        ("dot: 550 5.7.1 spf check failed", "test_letter", "sender_domain_unauthenticated"),
        ("rcpt: 553 5.7.1 sender address rejected - not owned by auth user", "sender", "sender_not_owned"),
        ("dot: accept, close", "test_letter", "outcome_unknown"),
        # Every other step
        ("banner: 554 5.7.1 go away", "greeting", "connect_failed"),
        ("banner: 421 4.3.2 shutting down", "greeting", "temporarily_unavailable"),
        ("banner: raw hello\\r\\n", "greeting", "temporarily_unavailable"),
        ("banner: close", "greeting", "disconnected"),
        ("ehlo: close", "greeting", "disconnected"),
        ("auth: close", "auth", "disconnected"),
        ("auth: 454 4.7.0 temporary authentication failure", "auth", "temporarily_unavailable"),
        ("mail: 550 5.7.60 client does not have permissions to send as this sender", "sender", "sender_not_owned"),
        ("mail: reset", "sender", "disconnected"),
        ("data: 451 4.3.0 try again", "test_letter", "temporarily_unavailable"),
    ],
)
async def test_what_the_server_says_is_judged_as_for_letters(world: World, script: str, step: str, reason: str) -> None:
    """If a server refuses at any step, then the report has its reason and words, and what comes after is not tried."""
    server = await world.smtp(script)
    steps = await world.run(at(server.port), test_to=TEST_TO)
    required = {name: why for name, why in failures(steps).items() if steps[name].required}
    assert required == {step: reason}
    assert steps[step].hint is not None
    assert not is_good(tuple(steps.values()))
    names = [name for name, each in steps.items() if each.required and name != step]
    later = names[list(steps).index(step) - list(steps).index("settings") :]
    assert all(steps[name].ok is None for name in later)
    if " 5" in script or " 4" in script:
        assert steps[step].reply is not None


async def test_mail_ru_wants_the_mailbox_confirmed_and_the_link_stays_in_the_servers_words(world: World) -> None:
    words = "535 5.7.0 Please verify your account by going to https://e.mail.ru/login?email=x"
    server = await world.smtp(f"auth: {words}", "smtp.mail.ru")
    steps = await world.run(at(server.port, "smtp.mail.ru"))
    assert failures(steps)["auth"] == "auth_confirmation_required"
    reply = steps["auth"].reply
    assert reply is not None
    assert "https://e.mail.ru/login" in reply.text


@pytest.mark.parametrize(
    ("host", "words", "reason", "page"),
    [
        (
            "smtp.gmail.com",
            "534 5.7.9 Application-specific password required.",
            "auth_app_password_required",
            "google.com",
        ),
        ("smtp.gmail.com", "535 5.7.8 Username and Password not accepted.", "auth_failed", "google.com"),
        (
            "smtp.yandex.ru",
            "535 5.7.8 Error: authentication failed: Invalid user or password!",
            "auth_failed",
            "yandex",
        ),
        ("smtp.mail.ru", "535 5.7.0 NEOBHODIM parol prilozheniya Application password is REQUIRED", None, "mail.ru"),
    ],
)
async def test_app_passwords_are_spoken_of_where_the_provider_has_them(
    world: World, host: str, words: str, reason: str | None, page: str
) -> None:
    """If two-factor sign-in is on, then a wrong password mostly is the usual one: the right page is linked."""
    server = await world.smtp(f"auth: {words}", host)
    step = (await world.run(at(server.port, host)))["auth"]
    assert step.ok is False
    assert step.reason == (reason or "auth_app_password_required")
    assert step.hint is not None
    assert "app password" in step.hint.en
    assert "пароль приложения" in step.hint.ru.lower() or "пароля приложения" in step.hint.ru.lower()
    assert step.help_url is not None
    assert page in step.help_url


async def test_outlook_takes_no_password_and_the_page_on_signing_in_is_linked(world: World) -> None:
    host = "smtp-mail.outlook.com"
    server = await world.smtp("auth: 535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", host)
    step = (await world.run(at(server.port, host)))["auth"]
    assert step.reason == "auth_basic_disabled"
    assert step.help_url is not None
    assert step.help_url.startswith("https://support.microsoft.com/")


async def test_a_refused_recipient_says_nothing_against_the_sender(world: World) -> None:
    """If the server will not take a letter to the mailbox's own address, then it may still send from it."""
    server = await world.smtp("rcpt: 550 5.1.1 no such user")
    steps = await world.run(at(server.port))
    assert steps["sender"].ok is True
    assert steps["sender"].reply is not None
    assert server.verbs() == ["EHLO", "AUTH", "MAIL", "RCPT", "RSET", "QUIT"]


async def test_a_closed_port_is_no_connection(world: World) -> None:
    world.resolver.set(HOST, ["127.0.0.1"])
    [port] = free_ports(1)
    steps = await world.run(at(port))
    assert failures(steps)["connect"] == "connect_failed"
    assert steps["connect"].hint is not None
    assert "host, port and TLS" in steps["connect"].hint.en


async def test_a_name_that_is_not_there_ends_the_part(world: World) -> None:
    world.resolver.set("no-such-host.invalid", socket.gaierror(socket.EAI_NONAME, "not known"))
    steps = await world.run(at(465, "no-such-host.invalid"))
    assert failures(steps)["dns"] == "dns_failed"
    assert steps["connect"].ok is None
    assert steps["spf"].ok is None


async def test_a_private_address_is_refused_and_not_named(world: World) -> None:
    """If a host leads into the operator's network, then nothing is connected to, and its address is told to nobody."""
    world.resolver.set("inside.example", ["10.20.30.40"])
    world.setting.allow = "127.0.0.0/8"
    steps = await world.run(at(465, "inside.example"))
    assert failures(steps)["dns"] == "egress_denied"
    assert "10.20.30.40" not in str([step.model_dump_json() for step in steps.values()])


async def test_no_encryption_is_refused_unless_the_operator_allows_it(world: World) -> None:
    server = await world.smtp(tls=None, is_implicit_tls=False)
    world.setting.allow_plaintext = False
    steps = await world.run(at(server.port, security="none"))
    assert failures(steps)["connect"] == "egress_denied"
    assert server.connections == 0
    world.setting.allow_plaintext = True
    steps = await world.run(at(server.port, security="none"))
    assert (steps["greeting"].ok, "tls" in steps) == (True, False)


async def test_a_server_without_starttls_gets_no_password(world: World) -> None:
    server = await world.smtp(tls=None, is_implicit_tls=False)
    steps = await world.run(at(server.port, security="starttls"))
    assert failures(steps)["tls"] == "tls_failed"
    assert steps["tls"].detail == "the server does not offer STARTTLS"
    assert steps["tls"].hint is not None
    assert f"Port {server.port} of this server offers no encryption" in steps["tls"].hint.en
    assert "AUTH" not in server.verbs()


@pytest.mark.parametrize(
    ("name", "not_after", "words"),
    [
        (HOST, datetime(2020, 1, 1, tzinfo=UTC), "expired"),
        ("other.example", None, "not valid for"),
    ],
)
async def test_a_certificate_that_is_not_good_is_told_with_what_is_wrong(
    world: World, name: str, not_after: datetime | None, words: str
) -> None:
    """If the certificate ended or is of another name, then the hint does not say that it passes by itself."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=not_after).configure_cert(context)
    world.setting.tls = client_context()
    authority.configure_trust(world.setting.tls)
    server = await world.smtp(tls=context)
    steps = await world.run(at(server.port))
    assert failures(steps)["tls"] == "tls_failed"
    assert words in str(steps["tls"].detail)
    assert steps["tls"].hint is not None
    assert steps["tls"].hint.en.startswith("The mail server's certificate is not good")


async def test_a_handshake_that_fails_usually_passes_and_the_hint_says_so(world: World) -> None:
    server = await world.smtp("starttls: raw 220 go\\r\\n, read 5, garbage, close", is_implicit_tls=False)
    steps = await world.run(at(server.port, security="starttls"))
    assert failures(steps)["tls"] == "tls_failed"
    assert steps["tls"].hint is not None
    assert "usually passes by itself" in steps["tls"].hint.en


async def test_a_plain_server_on_the_tls_port_is_told_as_what_it_is(world: World) -> None:
    server = await world.smtp(tls=None, is_implicit_tls=False)
    steps = await world.run(at(server.port))
    assert failures(steps)["tls"] == "tls_failed"
    assert steps["tls"].hint is not None
    assert f"Port {server.port} of this server offers no encryption" in steps["tls"].hint.en


@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        (SecretUnavailable("there is no variable X"), "auth_failed"),
        (TokenRefused("invalid_grant"), "auth_token_revoked"),
        (Unavailable("the token endpoint does not answer"), "connect_failed"),
        (AccessToken(USERNAME, SecretStr("expired")), "auth_failed"),
    ],
)
async def test_what_keeps_a_sign_in_from_happening(world: World, opened: Any, reason: str) -> None:
    server = await world.smtp(tokens={USERNAME: TOKEN})
    world.setting.credentials = FixedCredentials(opened)
    steps = await world.run(at(server.port))
    assert failures(steps)["auth"] == reason


async def test_no_step_tells_a_secret_that_the_server_repeats(world: World) -> None:
    """If a server puts the password into its reply, then the report does not."""
    server = await world.smtp(f"auth: 535 5.7.8 wrong password {PASSWORD}")
    steps = await world.run(at(server.port))
    assert PASSWORD not in str([step.model_dump_json() for step in steps.values()])


async def test_a_part_that_takes_too_long_is_cut_and_the_others_still_happen(world: World) -> None:
    """If a server never answers, then the check ends all the same, and says at which step it stood."""
    server, imap = await world.smtp("banner: stall"), await world.imap()
    world.setting.limits = replace(world.setting.limits, smtp_s=2)
    steps = await world.run(at(server.port, imap=imap))
    assert failures(steps)["greeting"] == "timeout"
    assert steps["greeting"].detail == "the check gives this part 2 s"
    assert steps["auth"].ok is None
    assert steps["sent_writable"].ok is True
    assert steps["mx"].ok is False


@pytest.mark.parametrize(
    ("moment", "act", "step", "reason"),
    [
        ("GREETING", Say("* BYE not today"), "imap_greeting", "temporarily_unavailable"),
        ("GREETING", Say("220 wrong protocol"), "imap_greeting", "temporarily_unavailable"),
        ("GREETING", Cut(), "imap_greeting", "disconnected"),
        ("LOGIN", Say("{tag} NO [AUTHENTICATIONFAILED] wrong password"), "imap_auth", "auth_failed"),
        ("LOGIN", Say("{tag} NO [UNAVAILABLE] later"), "imap_auth", "temporarily_unavailable"),
        ("LOGIN", Cut(), "imap_auth", "disconnected"),
        ("LIST", Say("{tag} NO no"), "sent_folder", "temporarily_unavailable"),
        ("EXAMINE", Say("{tag} NO permission denied"), "sent_folder", "sent_folder_denied"),
        ("UID SEARCH", Cut(), "sent_folder", "disconnected"),
        ("SELECT", Say("{tag} OK [READ-ONLY] look, do not touch"), "sent_writable", "sent_folder_denied"),
    ],
)
async def test_every_step_of_imap_can_fail(world: World, moment: str, act: Any, step: str, reason: str | None) -> None:
    server, imap = await world.smtp(), await world.imap(capabilities="")
    imap.script(moment, act)
    steps = await world.run(at(server.port, imap=imap))
    required = {name: why for name, why in failures(steps).items() if steps[name].required}
    assert list(required) == [step]
    if reason is not None:
        assert required[step] == reason
    assert steps[step].hint is not None


async def test_an_imap_server_that_stalls_is_a_timeout(world: World) -> None:
    server, imap = await world.smtp(), await world.imap()
    imap.script("LOGIN", Stall())
    world.setting.imap_timeouts = replace(PATIENT_IMAP, sign_in_s=0.2)
    assert failures(await world.run(at(server.port, imap=imap)))["imap_auth"] == "timeout"


async def test_starttls_for_imap_is_a_clear_error(world: World) -> None:
    server, imap = await world.smtp(), await world.imap()
    mailbox = at(server.port, imap=imap)
    copy = {"mode": "always", "imap": {"host": HOST, "port": imap.port, "security": "starttls"}}
    steps = await world.run(a_mailbox(smtp=mailbox.smtp.model_dump(mode="json"), sent_copy=copy))
    assert failures(steps)["imap_connect"] == "tls_failed"
    hint = steps["imap_connect"].hint
    assert hint is not None
    assert f"Port {imap.port} of this server speaks TLS from the first byte" in hint.en
    assert "STARTTLS is not supported" in hint.en


async def test_rights_and_room_are_asked_for_where_the_server_tells_them(world: World) -> None:
    server, imap = await world.smtp(), await world.imap(capabilities="ACL QUOTA")
    for rights, room, expected in (
        ("lrswipkxte", "STORAGE 10 1000", (True, "letters may be added; 990 KiB free")),
        ("lrs", "STORAGE 10 1000", (False, None)),
        ("lrsi", "STORAGE 1000 1000", (False, None)),
    ):
        imap.script("SELECT", Say("{tag} OK [READ-WRITE] opened"))
        imap.script("MYRIGHTS", Say(f"* MYRIGHTS Sent {rights}\n{{tag}} OK done"))
        imap.script("GETQUOTAROOT", Say(f'* QUOTAROOT Sent ""\n* QUOTA "" ({room})\n{{tag}} OK done'))
        step = (await world.run(at(server.port, imap=imap)))["sent_writable"]
        assert (step.ok, step.detail) == expected


async def test_a_folder_that_may_not_be_made_fails_the_check(world: World) -> None:
    """If nobody may make the folder that the settings name, then no copy would be saved: the check says so."""
    server, imap = await world.smtp(), await world.imap(capabilities="")
    imap.keeps_below = b"Kept/"
    copy = {"mode": "always", "folder": "Sent/2026", "imap": {"host": HOST, "port": imap.port, "security": "tls"}}
    steps = await world.run(at(server.port, sent_copy=copy))
    assert failures(steps)["sent_folder"] == "sent_folder_denied"
    assert steps["sent_folder"].reply is not None
    assert "Invalid mailbox name" in steps["sent_folder"].reply.text
    assert steps["sent_writable"].ok is None


@pytest.mark.parametrize("auth", ["", "AUTH=PLAIN", "AUTH=LOGIN"])
async def test_a_server_without_the_command_login_is_signed_in_to_by_a_mechanism(world: World, auth: str) -> None:
    """If there is none, then nobody is told that the password is wrong."""
    server, imap = await world.smtp(), await world.imap()
    imap.capabilities = f"IMAP4rev1 LOGINDISABLED SPECIAL-USE {auth}"
    step = (await world.run(at(server.port, imap=imap)))["imap_auth"]
    assert not [each for each in imap.commands if each.startswith(b"LOGIN")]
    if auth:
        assert step.ok is True
    else:
        assert (step.ok, step.reason) == (False, "auth_basic_disabled")
        assert step.hint is not None
        assert "password" not in step.hint.en.lower()
        assert "парол" not in step.hint.ru.lower()


async def test_where_copies_are_turned_off_imap_is_not_visited(world: World) -> None:
    server, imap = await world.smtp(), await world.imap()
    copy = {"mode": "never", "imap": {"host": HOST, "port": imap.port, "security": "tls"}}
    steps = await world.run(at(server.port, sent_copy=copy))
    assert steps["imap_dns"].detail == "copies to Sent are turned off"
    assert not steps["imap_dns"].required
    assert imap.connections == 0


async def test_what_an_attacker_brings_along_is_not_opened(world: World) -> None:
    """If a mailbox that is not saved refers to a variable of the operator's, then nobody is connected to at all."""
    server = await world.smtp()
    for secret in ({"env": "SENDAS_SECRET_RELAY"}, {"file": "relay"}):
        auth = {"method": "password", "username": USERNAME, "secret": secret}
        smtp = {"host": HOST, "port": server.port, "security": "tls", "auth": auth}
        steps = await world.run(a_mailbox(smtp=smtp), is_trusted=False)
        assert outcomes(steps) == {"settings": False}
    assert server.connections == 0


async def test_a_sealed_secret_of_a_mailbox_that_is_not_saved_is_opened(world: World) -> None:
    server = await world.smtp()
    auth = {"method": "password", "username": USERNAME, "secret": {"sealed": "main.x"}}
    smtp = {"host": HOST, "port": server.port, "security": "tls", "auth": auth}
    steps = await world.run(a_mailbox(smtp=smtp), is_trusted=False)
    assert steps["auth"].ok is True


async def test_a_mistake_of_ours_is_told_and_costs_no_other_step(world: World) -> None:
    """If something unforeseen happens, then the report still comes, and says so."""
    server, imap = await world.smtp(), await world.imap()
    world.setting.credentials = FixedCredentials(RuntimeError("unforeseen"))
    steps = await world.run(at(server.port, imap=imap))
    assert failures(steps)["auth"] == "internal_error"
    assert steps["auth"].detail == "RuntimeError"
    assert steps["spf"].ok is False


def test_the_limits_of_a_check_stay_far_below_the_brokers_patience() -> None:
    """If everything stalls, then the message is answered long before the broker takes it back after 30 minutes."""
    limits = CheckLimits()
    assert limits.smtp_s + limits.imap_s + limits.deliverability_s + PATIENT_SMTP.answer_s < 600
