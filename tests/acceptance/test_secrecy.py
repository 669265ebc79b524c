"""A password stands nowhere, used or refused: not in logs at DEBUG, results, dead letters, metrics, files."""

import base64
import json
import secrets
import ssl
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from stack import Mailbox, TokenServer
from stack.scripted_imap import ScriptedFolder, ScriptedImap
from stack.scripted_smtp import ScriptedSmtpServer
from tests.acceptance.command import running_worker, sendas
from tests.acceptance.office import Json, Office
from worker.adapters.auth.secrets import generate_key, seal

CANARY = f"canary{secrets.token_hex(8)}"


def _disguises(username: str) -> Iterable[str]:
    """The password as protocols and programs write it: plain, in base64 at each offset, in hex, SASL PLAIN."""
    raw = CANARY.encode()
    yield CANARY
    yield raw.hex()
    for offset in range(3):
        # What stands around it changes only the ends.
        yield base64.b64encode(b"x" * offset + raw).decode()[4:-4]
    yield base64.b64encode(f"\0{username}\0{CANARY}".encode()).decode()


async def test_password_stands_nowhere(office: Office) -> None:
    """Sealed in the snapshot, used by SMTP and IMAP, refused later: nothing that leaves the worker has it in it."""
    private, public = generate_key("test")
    keys = office.directory / "keys"
    keys.write_text(private.get_secret_value())
    await office.mail.add(*(Mailbox(mailbox.address, CANARY) for mailbox in office.mailboxes))
    office.write_snapshot(copies="always", secret={"sealed": seal(SecretStr(CANARY), public, account_id="acme")})
    settings = {**office.settings, "SENDAS_SEALING_KEYS_FILE": str(keys), "SENDAS_LOG_LEVEL": "DEBUG"}
    unreadable = office.event(3)
    unreadable["data"]["recipients"] = "none"
    async with (
        aiohttp.ClientSession() as session,
        office.results() as results,
        running_worker(settings) as worker,
    ):
        await office.publish([office.event(1), unreadable])
        await results.of_type("sent_copy.saved")
        await office.mail.add(Mailbox(office.mailboxes[2].address, "another password"))
        await office.publish([office.event(2)])
        await results.of_type("mailbox.suspended")
        await results.of_type("mail.deferred")
        await results.of_type("mail.failed")
        async with session.get(f"http://127.0.0.1:{worker.port}/metrics") as response:
            metrics = await response.text()
        await worker.stop()

    waiting = [
        body for queue in ("sendas.dead", "sendas.outbound.delay.30s") for body in await office.waiting_in(queue)
    ]
    assert len(waiting) == 2
    said = "\n".join(worker.lines)
    assert "worker.draining" in said
    kept = [path for path in office.directory.rglob("*") if path.is_file() and path != keys]
    places: Json = {
        "the log": said,
        "the results": json.dumps(results.all, ensure_ascii=False),
        "waiting messages": b"\n".join(waiting).decode(),
        "the metrics": metrics,
        **{f"the file {path.name}": path.read_bytes().decode(errors="replace") for path in kept},
    }
    for place, text in places.items():
        for mailbox in office.mailboxes:
            for disguise in _disguises(mailbox.address):
                assert disguise not in text, f"{place} holds the password"


_ECHO = "{0} and in base64 {1}"
_TROUBLES = (
    "rcpt: 450 4.7.1 not now: {said}",
    "dot: 554 5.7.1 never|5.7.1 {said}|5.7.1 bye",
    "mail: 451 4.3.0 {said}",
    "content: raw {said}\\r\\n",
    "dot: raw {said}\\r\\n, close",
    "auth: 535 5.7.8 wrong: {said}",
    "data: 421 4.3.2 {said}, close",
)


def _said(secret: str) -> str:
    return _ECHO.format(secret, base64.b64encode(f"\0user\0{secret}".encode()).decode())


def _server(office: Office, script: str, secret: str, **more: Any) -> ScriptedSmtpServer:
    """A mail server that repeats the secret whenever it says anything after the sign-in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = office.mail.authority.issue(f"echo-{secrets.token_hex(4)}")
    context.load_cert_chain(certificate.chain, certificate.key)
    return ScriptedSmtpServer(script.format(said=_said(secret)), tls=context, is_implicit_tls=True, **more)


def _auth(number: int, tokens: TokenServer, public: str) -> Json:
    username = f"user-{number}@acme.example"
    if number % 2:
        refresh_token = seal(SecretStr(tokens.grant(username)), public, account_id="acme")
        return {
            "method": "xoauth2",
            "username": username,
            "token_endpoint": tokens.url,
            "client_id": "client",
            "client_secret": {"env": "SENDAS_SECRET_CLIENT"},
            "refresh_token": {"sealed": refresh_token},
        }
    return {
        "method": "password",
        "username": username,
        "secret": {"sealed": seal(SecretStr(CANARY), public, account_id="acme")},
    }


def _broken_account() -> Json:
    """Somebody put secrets where they do not belong: the account is left out, and that is said."""
    smtp = {"host": CANARY, "port": CANARY, "security": CANARY, "auth": {"method": "password", "secret": CANARY}}
    return {"id": "broken", "plan": "paid", "mailboxes": [{"id": "m", "address": f"a b {CANARY}", "smtp": smtp}]}


async def test_with_servers_that_repeat_secrets_and_everything_going_wrong_they_stand_nowhere(office: Office) -> None:
    """Passwords and tokens, at DEBUG: servers repeat them after the sign-in, endpoints in errors, and all fails."""
    private, public = generate_key("test")
    keys = office.directory / "keys"
    keys.write_text(private.get_secret_value())
    tokens = TokenServer(
        office.mail.authority.issue("canary-tokens"),
        office.mail.dovecot.introspection_port,
        prefix=f"{CANARY}-{'x' * 900}-",
        rotates=True,
    )
    settings = {
        **office.settings,
        "SENDAS_SEALING_KEYS_FILE": str(keys),
        "SENDAS_SECRET_CLIENT": f"client-{CANARY}",
        "SENDAS_SECRET_BAD": f"{CANARY}\x01",
        "SENDAS_LOG_LEVEL": "DEBUG",
    }
    said = {"error": "invalid_grant", "error_description": tokens.prefix}
    tokens.answers = [web.Response(status=500, text=CANARY), web.json_response(said, status=400)]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(tokens)
        office.write_snapshot()
        document = json.loads(office.snapshot.read_text())
        account = document["accounts"][0]
        template = account["mailboxes"][0]
        account["mailboxes"] = []
        numbers = range(2 * len(_TROUBLES))
        for number in numbers:
            secret = tokens.prefix if number % 2 else CANARY
            # Whatever token comes is taken: the server repeats the beginning that all of them have.
            server = _server(office, _TROUBLES[number // 2], secret, users={f"user-{number}@acme.example": CANARY})
            server.takes_any_token = True
            await stack.enter_async_context(server)
            imap = ScriptedImap(ScriptedFolder(b"INBOX"), ScriptedFolder(CANARY.encode(), flags="\\Sent"))
            await stack.enter_async_context(imap)
            account["mailboxes"].append(
                {
                    **template,
                    "id": f"mailbox-{number}",
                    "smtp": {
                        "host": "localhost",
                        "port": server.port,
                        "security": "tls",
                        "auth": _auth(number, tokens, public),
                    },
                    "sent_copy": {
                        "mode": "always",
                        "imap": {"host": "localhost", "port": imap.port, "security": "none"},
                    },
                }
            )
        unusable = {"method": "password", "username": "u", "secret": {"env": "SENDAS_SECRET_BAD"}}
        account["mailboxes"].append({**template, "id": "unusable", "smtp": {**template["smtp"], "auth": unusable}})
        document["accounts"].append(_broken_account())
        office.snapshot.write_text(json.dumps(document))
        checked = await sendas("config", "check", office.snapshot, settings=settings)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        results = await stack.enter_async_context(office.results())
        worker = await stack.enter_async_context(running_worker(settings))
        events = [office.event(number, mailbox_id=f"mailbox-{number}") for number in numbers]
        await office.publish([*events, office.event(98, mailbox_id="unusable"), office.event(99, account_id="broken")])
        # One letter of each mailbox, the unusable one and the broken account: each comes to some result.
        await results.wait(lambda found: len({r["data"].get("event_id") for r in found}) >= len(numbers) + 2)
        await results.of_type("mailbox.token_rotated")
        async with session.get(f"http://127.0.0.1:{worker.port}/metrics") as response:
            metrics = await response.text()
        await worker.stop()
        listed = await sendas("dead-letters", "list", settings=settings)

    queues = ("sendas.dead", "sendas.outbound.delay.30s", "sendas.outbound.delay.1h")
    waiting = [body for queue in queues for body in await office.waiting_in(queue)]
    reasons = {result["data"].get("reason") for result in results.all}
    assert {"message_rejected", "temporarily_unavailable", "auth_failed", "auth_token_revoked"} <= reasons
    assert "***" in json.dumps(results.all), "what the servers repeated was hidden, and not merely not there"
    places = {
        "the log": "\n".join(worker.lines),
        "the results": json.dumps(results.all, ensure_ascii=False),
        "the metrics": metrics,
        "the check of the configuration": checked.output + checked.errors,
        "the list of dead letters": listed.output + listed.errors,
        "waiting messages": b"\n".join(waiting).decode("utf-8", "replace"),
        **{
            f"the file {path.name}": path.read_bytes().decode(errors="replace")
            for path in office.directory.rglob("*")
            if path.is_file() and path not in (keys, office.snapshot) and "snapshots" not in path.parts
        },
    }
    for place, text in places.items():
        for disguise in _disguises("user"):
            assert disguise not in text, f"{place}: …{text[max(text.find(disguise) - 300, 0) :][:500]}"
