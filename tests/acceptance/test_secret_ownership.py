"""A customer who names another's secret, with servers of their own: nothing arrives there but what is theirs."""

import asyncio
import base64
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from tests.acceptance.command import running_worker, sendas
from tests.acceptance.office import Office
from worker.adapters.auth.secrets import generate_key, seal

Json = dict[str, Any]
VICTIMS, RELAYS, OWN = "victims-pa55word", "relays-pa55word", "own-pa55word"


class Catcher:
    """An SMTP server and a token endpoint that keep what they are given."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self.given: list[str] = []
        self.smtp_port = self.token_port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Catcher"]:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self._tls)
        self.smtp_port = server.sockets[0].getsockname()[1]
        application = web.Application()
        application.router.add_post("/token", self._token)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.token_port = runner.addresses[0][1]
        try:
            yield self
        finally:
            server.close()
            await runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        self.given.append(await request.text())
        return web.json_response({"error": "invalid_grant"}, status=400)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            verb = line.split()[0].upper()
            if verb == b"AUTH":
                self.given.append(base64.b64decode(line.split()[2]).decode())
                writer.write(b"535 5.7.8 no\r\n")
            else:
                writer.write(b"250-me\r\n250 AUTH PLAIN XOAUTH2\r\n" if verb == b"EHLO" else b"250 ok\r\n")
            await writer.drain()
        writer.close()


def _tls(office: Office) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = office.mail.authority.issue(f"catcher-{secrets.token_hex(4)}")
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


def _password(secret: Json) -> Json:
    return {"method": "password", "username": "mallory", "secret": secret}


def _oauth(port: int, **given: str) -> Json:
    grant = {name: {"sealed": box} for name, box in given.items()}
    return {
        "method": "xoauth2",
        "username": "mallory",
        "token_endpoint": f"https://localhost:{port}/token",
        "client_id": "c",
        **grant,
    }


def _with_account(office: Office, account_id: str, port: int, auths: list[Json]) -> None:
    """Add an account whose mailboxes have these sign-ins at a server on that port."""
    document = json.loads(office.snapshot.read_text())
    template = document["accounts"][0]["mailboxes"][0]
    smtp = {"host": "localhost", "port": port, "security": "tls"}
    document["accounts"].append(
        {
            **document["accounts"][0],
            "id": account_id,
            "mailboxes": [
                {**template, "id": f"{account_id}-{number}", "smtp": {**smtp, "auth": auth}}
                for number, auth in enumerate(auths)
            ],
        }
    )
    office.snapshot.write_text(json.dumps(document))


def _check(number: int, account_id: str, port: int, auth: Json, office: Office) -> Json:
    template = json.loads(office.snapshot.read_text())["accounts"][0]["mailboxes"][0]
    smtp = {"host": "localhost", "port": port, "security": "tls", "auth": auth}
    return {
        "specversion": "1.0",
        "id": f"check-{number}",
        "source": "/product/settings",
        "type": "mailbox.check.requested",
        "time": "2026-11-23T10:00:00Z",
        "data": {"account_id": account_id, "mailbox": {**template, "id": "new", "smtp": smtp}},
    }


async def test_a_box_copied_from_another_account_opens_nowhere(office: Office) -> None:
    """Saved or not yet, as a password or for a token endpoint: only the mailbox's own secret reaches the server."""
    private, public = generate_key("main")
    keys = office.directory / "keys"
    keys.write_text(private.get_secret_value())
    victims = seal(SecretStr(VICTIMS), public, account_id="acme")
    relays = seal(SecretStr(RELAYS), public)
    own = seal(SecretStr(OWN), public, account_id="evil")
    async with Catcher(_tls(office)).running() as catcher:
        copied = [
            *(
                _password({"sealed": box})
                for box in (victims, relays, f"{victims},{own}", victims.replace(".v2.", "."))
            ),
            _oauth(catcher.token_port, refresh_token=victims),
            _oauth(catcher.token_port, client_secret=relays),
            _oauth(catcher.token_port, client_secret=victims, refresh_token=own),
        ]
        _with_account(office, "evil", catcher.smtp_port, [*copied, _password({"sealed": own})])
        events = [
            office.event(number, account_id="evil", mailbox_id=f"evil-{number}") for number in range(len(copied) + 1)
        ]
        checks = [_check(number, "evil", catcher.smtp_port, auth, office) for number, auth in enumerate(copied)]
        checks += [
            _check(len(copied) + number, account_id, catcher.smtp_port, _password({"sealed": victims}), office)
            for number, account_id in enumerate(("ACME", "acme\u200b", " acme"))
        ]
        settings = {**office.settings, "SENDAS_SEALING_KEYS_FILE": str(keys)}
        async with office.results() as results, running_worker(settings) as worker:
            await office.publish([*events, *checks])
            await results.of_type("mailbox.suspended", len(events))
            checked = await results.of_type("mailbox.checked", len(checks))
            await worker.stop()
    assert {mailbox["data"]["ok"] for mailbox in checked} == {False}
    assert catcher.given == [f"\0mallory\0{OWN}"]
    everything = json.dumps(results.all) + "\n".join(worker.lines)
    assert VICTIMS not in everything
    assert RELAYS not in everything


async def test_an_account_that_names_the_operators_secrets_is_left_out(office: Office) -> None:
    """If a customer's mailbox names the relay's variable or file, then its account waits, and the others work."""
    (office.directory / "secrets").mkdir()
    (office.directory / "secrets" / "relay").write_text(RELAYS)
    settings = {
        **office.settings,
        "SENDAS_SECRET_RELAY": RELAYS,
        "SENDAS_SECRETS_DIR": str(office.directory / "secrets"),
    }
    async with Catcher(_tls(office)).running() as catcher:
        references: list[Json] = [{"env": "SENDAS_SECRET_RELAY"}, {"file": "relay"}]
        for number, reference in enumerate(references):
            _with_account(office, f"evil-{number}", catcher.smtp_port, [_password(reference)])
        checked = await sendas("config", "check", office.snapshot, settings=settings)
        async with office.results() as results, running_worker(settings):
            await office.publish(
                [
                    *(
                        office.event(number, account_id=f"evil-{number}", mailbox_id=f"evil-{number}-0")
                        for number in range(len(references))
                    ),
                    *(
                        _check(number, account_id, catcher.smtp_port, _password(reference), office)
                        for number, (account_id, reference) in enumerate(
                            (account_id, reference) for account_id in ("evil-0", "acme") for reference in references
                        )
                    ),
                    office.event(9),
                ]
            )
            await results.of_type("mail.sent")
            await results.of_type("mail.deferred", len(references))
            answers = await results.of_type("mailbox.checked", 2 * len(references))
    assert catcher.given == []
    assert {answer["data"]["ok"] for answer in answers} == {False}
    assert checked.status == 1
    for number in range(len(references)):
        assert f"account evil-{number}: mailbox evil-{number}-0: mailboxes[0].smtp.auth.secret: " in checked.output
    assert "version 1: 3 accounts, 2 left out" in checked.output
