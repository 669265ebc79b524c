"""OAuth 2 as it is in the world: Postfix and Dovecot verify XOAUTH2, and a token server grants, rotates and revokes."""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from stack import TokenServer
from tests.acceptance.command import running_worker, sendas
from tests.acceptance.office import Json, Office
from tests.integration.web_server import web_server
from worker.adapters.auth.secrets import SecretStore, generate_key, load_sealing_keys, seal
from worker.domain.snapshot.model import SealedSecret


@pytest.fixture
async def tokens(office: Office) -> AsyncIterator[TokenServer]:
    """A token server that Dovecot believes."""
    certificate = office.mail.authority.issue(f"tokens-{office.directory.name}")
    port, prefix = office.mail.dovecot.introspection_port, f"mark{secrets.token_hex(8)}-"
    async with TokenServer(certificate, port, prefix=prefix, rotates=True) as server:
        yield server


def with_tokens(office: Office, tokens: TokenServer, *, version: int = 1, **given: Any) -> None:
    """Write a snapshot whose mailboxes sign in by XOAUTH2; `given` in the place of a refresh token for each."""
    office.write_snapshot(copies="always", version=version)
    document = json.loads(office.snapshot.read_text())
    for mailbox in document["accounts"][0]["mailboxes"]:
        username = mailbox["address"]
        grant = given or {"refresh_token": {"sealed": sealed(office, tokens.grant(username))}}
        mailbox["smtp"]["auth"] = {
            "method": "xoauth2",
            "username": username,
            "token_endpoint": tokens.url,
            "client_id": f"client-of-{username}",
            **grant,
        }
    office.snapshot.write_text(json.dumps(document))


def sealed(office: Office, secret: str) -> str:
    keys = office.directory / "keys"
    public = office.directory / "public"
    if not keys.exists():
        private, public_key = generate_key("main")
        keys.write_text(private.get_secret_value())
        public.write_text(public_key)
    return seal(SecretStr(secret), public.read_text(), account_id="acme")


def settings(office: Office) -> dict[str, str]:
    return {
        **office.settings,
        "SENDAS_SEALING_KEYS_FILE": str(office.directory / "keys"),
        "SENDAS_LEDGER_URL": f"sqlite:///{office.directory / 'ledger.db'}",
    }


async def test_letter_and_copy_go_by_token_and_the_rotated_one_is_told_sealed(
    office: Office, tokens: TokenServer
) -> None:
    """From a refresh token to a letter, a copy in Sent, and the next refresh token, ready for the snapshot."""
    with_tokens(office, tokens)
    async with office.results() as results, running_worker(settings(office)):
        await office.publish([office.event(1)])
        await results.of_type("mail.sent")
        await results.of_type("sent_copy.saved")
        (told,) = await results.of_type("mailbox.token_rotated")
    data = told["data"]
    assert (data["account_id"], data["mailbox_id"], data["used_for"]) == ("acme", "mailbox-1", ["smtp"])
    keys = load_sealing_keys(office.directory / "keys")
    secret = await SecretStore(keys, {}).open(SealedSecret(sealed=data["refresh_token"]["sealed"]), "acme")
    assert tokens.refresh_tokens[secret.get_secret_value()] == office.mailboxes[1].address
    assert await office.subjects_received() == {"Re: Task 1": 1}
    assert len(tokens.forms) == 1, "one token for SMTP and IMAP"


async def test_two_workers_and_a_restarted_one_keep_a_mailbox_whose_tokens_are_good_once(
    office: Office, tokens: TokenServer
) -> None:
    """If each went on with the snapshot's token, then all but one would be refused and the mailbox suspended."""
    with_tokens(office, tokens)
    for number in range(1, 4):
        async with office.results() as results, running_worker(settings(office)) as worker:
            await office.publish([office.event(4 * number + 1)])
            await results.of_type("mail.sent")
            await worker.stop()
            assert not [result for result in results.all if result["type"] == "mailbox.suspended"]
    assert len(tokens.forms) == 3
    async with (
        office.results() as results,
        running_worker(settings(office)),
        running_worker({**settings(office), "SENDAS_STATE_DIR": str(office.directory / "state-2")}),
    ):
        await office.publish([office.event(4 * number + 1) for number in range(10, 30)])
        await results.of_type("mail.sent", 20)
        assert not [result for result in results.all if result["type"] == "mailbox.suspended"]
    assert len({form["refresh_token"] for form in tokens.forms}) == len(tokens.forms), "no token was used twice"


async def test_a_revoked_grant_suspends_and_a_server_that_is_down_does_not(office: Office, tokens: TokenServer) -> None:
    with_tokens(office, tokens)
    tokens.revoke(office.mailboxes[2].address)
    tokens.answers = [web.Response(status=503) for _ in range(3)]
    async with office.results() as results, running_worker(settings(office)):
        await office.publish([office.event(1)])
        (deferred,) = await results.of_type("mail.deferred")
        assert deferred["data"]["action"] == "retry"
        await office.publish([office.event(2)])
        (suspended,) = await results.of_type("mailbox.suspended")
    assert (suspended["data"]["mailbox_id"], suspended["data"]["reason"]) == ("mailbox-2", "auth_token_revoked")
    assert not [form for form in tokens.forms if form["refresh_token"] in json.dumps(results.all)]


async def test_a_revoked_grant_whose_successor_is_in_the_snapshot_suspends_nothing(
    office: Office, tokens: TokenServer
) -> None:
    """If a mailbox was connected anew since the worker's last look, then its letter leaves with the new token."""
    with_tokens(office, tokens)

    async def snapshot(_: web.Request) -> web.FileResponse:
        return web.FileResponse(office.snapshot)

    async with (
        web_server({"/snapshot": snapshot}, is_plain=True) as port,
        office.results() as results,
        running_worker(
            {
                **settings(office),
                "SENDAS_SNAPSHOT_URL": f"http://127.0.0.1:{port}/snapshot",
                "SENDAS_SNAPSHOT_INTERVAL_S": "3600",
            }
        ),
    ):
        tokens.revoke(office.mailboxes[2].address)
        with_tokens(office, tokens, version=2)
        await office.publish([office.event(2)])
        await results.of_type("mail.sent")
    assert [result["data"]["reason"] for result in results.all if result["type"] == "mail.deferred"] == [
        "auth_token_revoked"
    ]
    assert not [result for result in results.all if result["type"] == "mailbox.suspended"]
    assert len(tokens.forms) == 2, "the old token was tried once, and then the new one"


async def test_a_token_that_the_mail_server_refuses_suspends_after_one_sign_in(
    office: Office, tokens: TokenServer
) -> None:
    """Postfix and Dovecot refuse by a challenge; a token that was issued just now is not asked for once more."""
    with_tokens(office, tokens)
    tokens.is_access_refused = True
    async with office.results() as results, running_worker(settings(office)) as worker:
        await office.publish([office.event(1)])
        (suspended,) = await results.of_type("mailbox.suspended")
        await worker.stop()
    assert (suspended["data"]["reason"], suspended["data"]["reply"]["code"]) == ("auth_failed", 535)
    assert len(tokens.forms) == 1
    assert tokens.prefix not in json.dumps(results.all)


async def test_client_credentials_need_no_refresh_token(office: Office, tokens: TokenServer) -> None:
    for mailbox in office.mailboxes:
        tokens.clients[(f"client-of-{mailbox.address}", "client-secret")] = mailbox.address
    with_tokens(office, tokens, client_secret={"sealed": sealed(office, "client-secret")})
    event = office.event_file(office.event(1))
    ended = await sendas("deliver", "--snapshot", office.snapshot, "--event", event, settings=settings(office))
    assert ended.status == 0, ended.output + ended.errors
    types = [json.loads(line)["type"] for line in ended.output.splitlines()]
    assert types == ["mail.sent", "sent_copy.saved"]


async def test_one_delivery_by_hand_tells_of_the_new_token_too(office: Office, tokens: TokenServer) -> None:
    with_tokens(office, tokens)
    event = office.event_file(office.event(1))
    ended = await sendas("deliver", "--snapshot", office.snapshot, "--event", event, settings=settings(office))
    assert ended.status == 0, ended.output + ended.errors
    printed: list[Json] = [json.loads(line) for line in ended.output.splitlines()]
    assert [result["type"] for result in printed] == ["mail.sent", "sent_copy.saved", "mailbox.token_rotated"]


async def test_while_nobody_takes_the_new_token_it_is_kept_and_told_later(office: Office, tokens: TokenServer) -> None:
    """If the product does not listen yet, then a worker that starts later still tells of the token."""
    with_tokens(office, tokens)
    async with running_worker(settings(office)) as worker:
        await office.publish([office.event(1)])
        said = await worker.says("mailbox.token_rotated_unpublished")
        assert "bind a queue" in said["what_to_do"]
    async with office.results() as results, running_worker(settings(office)):
        await results.of_type("mailbox.token_rotated")


async def test_without_a_sealing_key_the_log_says_what_to_do(office: Office, tokens: TokenServer) -> None:
    office.write_snapshot(copies="never")
    with_tokens(office, tokens, refresh_token={"env": "SENDAS_SECRET_TOKEN"})
    token = tokens.grant(office.mailboxes[1].address)
    async with (
        office.results() as results,
        running_worker({**office.settings, "SENDAS_SECRET_TOKEN": token}) as worker,
    ):
        await office.publish([office.event(1)])
        await results.of_type("mail.sent")
        said = await worker.says("oauth.refresh_token_not_kept")
        assert "SENDAS_SEALING_KEYS_FILE" in said["what_to_do"]
    for given in tokens.refresh_tokens:
        assert given not in "\n".join(worker.lines)
        assert given not in json.dumps(results.all)
