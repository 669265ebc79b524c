"""No secret in an error, a repr or a log record, whatever goes wrong: each secret here carries a canary word."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web
from nacl.public import PrivateKey
from pydantic import SecretStr

from tests.doubles.clock import SteppedClock
from tests.doubles.mailbox_memory import MemoryRefreshTokens
from tests.integration.web_server import server_context, session, web_server
from worker.adapters.auth.credentials import SecretCredentials
from worker.adapters.auth.oauth import TokenSource
from worker.adapters.auth.secrets import SealingKeys, SecretStore, generate_key, seal
from worker.adapters.auth.token_rotation import RotationKeeper
from worker.adapters.network.files import FileServerToken, HttpFileStore
from worker.adapters.network.http import GuardedSession
from worker.domain.events.models import File
from worker.domain.snapshot.model import EnvSecret, OAuthAuth, PasswordAuth, SealedSecret
from worker.domain.vocabulary import AuthMethod
from worker.errors import SendasError

CANARY = "canary7"


@dataclass
class Witness:
    """Everything that was said."""

    records: pytest.LogCaptureFixture
    said: list[str]

    def hear(self, *things: object) -> None:
        for thing in things:
            self.said += [repr(thing), str(thing)]

    def hear_error(self, error: BaseException) -> None:
        """As a log with a traceback would show it."""
        self.hear(error)
        self.said.append("".join(traceback.format_exception(error)))

    @property
    def everything(self) -> str:
        return "\n".join([*self.said, self.records.text])


@pytest.fixture
def witness(caplog: pytest.LogCaptureFixture) -> Iterator[Witness]:
    with caplog.at_level(logging.DEBUG):
        yield Witness(caplog, [])


@asynccontextmanager
async def debugging() -> AsyncIterator[None]:
    """asyncio at its most talkative."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        yield
    finally:
        loop.set_debug(False)


def page(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)


ANSWERS = {
    "a token": lambda: web.json_response({"access_token": f"at-{CANARY}", "refresh_token": f"rt2-{CANARY}"}),
    "a refusal that repeats the token": lambda: web.json_response(
        {"error": "invalid_grant", "error_description": f"rt-{CANARY} is spent"}, status=400
    ),
    "an error that is the token": lambda: web.json_response({"error": f"rt-{CANARY}"}, status=400),
    "a page that repeats the token": lambda: page(500, f"<html>rt-{CANARY}</html>"),
    "half of the JSON": lambda: page(200, f'{{"access_token": "at-{CANARY}'),
    "a token with a line break": lambda: web.json_response({"access_token": f"at-{CANARY}\r\n"}),
    "a redirect with the token": lambda: web.Response(status=302, headers={"Location": f"http://x/?{CANARY}"}),
    "a header that is none": lambda: web.Response(headers={"Content-Length": "5"}, body=f"{CANARY}"),
}


async def use_tokens(witness: Witness, guarded: GuardedSession, url: str) -> None:
    environment = {"SENDAS_SECRET_RT": f"rt-{CANARY}", "SENDAS_SECRET_CS": f"cs-{CANARY}"}
    secrets = SecretStore(SealingKeys({}), environment, reference_accounts=frozenset({"acme"}))

    async def at_once(_: float) -> None:
        return None

    clock = SteppedClock()
    tokens = MemoryRefreshTokens(clock)
    keeper = RotationKeeper(
        tokens, SealingKeys({"k": PrivateKey.generate()}), clock, holder="one", rotated=lambda: None, sleep=at_once
    )
    source = TokenSource(guarded, secrets, clock, keeper, random=lambda: 0.0, sleep=at_once)
    auth = OAuthAuth(
        method=AuthMethod.XOAUTH2,
        username="support@acme.example",
        token_endpoint=url,
        client_id="client",
        refresh_token=EnvSecret(env="SENDAS_SECRET_RT"),
        client_secret=EnvSecret(env="SENDAS_SECRET_CS"),
    )
    credentials = SecretCredentials(secrets, source)
    try:
        witness.hear(await credentials.open("acme", auth))
    except SendasError as error:
        witness.hear_error(error)
    witness.hear(auth, secrets, source, credentials, vars(source))
    witness.hear(keeper, vars(keeper), tokens, vars(tokens), await tokens.untold(10))
    await source.close()


@pytest.mark.parametrize("kind", ANSWERS)
async def test_token_endpoints(witness: Witness, kind: str) -> None:
    received: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        received.append(await request.text())
        return ANSWERS[kind]()

    async with debugging(), web_server({"/token": answer}) as port, session() as guarded:
        await use_tokens(witness, guarded, f"https://web.example:{port}/token")
    assert CANARY in received[0], "the secret did go where it belongs"
    assert CANARY not in witness.everything


async def test_a_token_endpoint_with_a_wrong_certificate_and_one_that_is_gone(witness: Witness) -> None:
    async with debugging(), session() as guarded:
        async with web_server({}, tls=server_context("other.example")) as port:
            await use_tokens(witness, guarded, f"https://web.example:{port}/token")
        await use_tokens(witness, guarded, f"https://web.example:{port}/token")
    assert "certificate" in witness.everything
    assert "refused" in witness.everything
    assert CANARY not in witness.everything


@pytest.mark.parametrize("status", [200, 302, 404, 500])
async def test_file_links_and_the_file_servers_token(witness: Witness, status: int) -> None:
    received: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        received.append(f"{request.headers['Authorization']} {request.query_string}")
        return web.Response(status=status, body=b"too long", headers={"Location": f"http://x/?signature={CANARY}"})

    async with debugging(), web_server({"/f": answer}) as port, session() as guarded:
        token = FileServerToken(f"https://web.example:{port}", SecretStr(f"bearer-{CANARY}"))
        store = HttpFileStore(guarded, token=token)
        url = f"https://web.example:{port}/f?signature={CANARY}"
        with pytest.raises(SendasError) as caught:
            await store.fetch(File(name="a", size=1, url=url, link="https://product.example/"), 5)
        witness.hear_error(caught.value)
        witness.hear(token, store)
    assert received == [f"Bearer bearer-{CANARY} signature={CANARY}"]
    assert CANARY not in witness.everything


@pytest.mark.parametrize(
    "url", ["https://{c}:{c}@web.example/", "https://web.example:{c}/", "{c}", "https://[{c}]/", "http://x/?{c}"]
)
async def test_links_that_are_refused_unread(witness: Witness, url: str) -> None:
    async with session() as guarded:
        written = url.format(c=CANARY)
        with pytest.raises(SendasError) as caught:
            # Unchecked: the store must not rely on the event's model having refused such a link.
            await HttpFileStore(guarded).fetch(File.model_construct(name="a", size=1, url=written, link="x"), 5)
    witness.hear_error(caught.value)
    assert CANARY not in witness.everything


async def test_passwords(witness: Witness) -> None:
    _, public = generate_key("k1")
    sealed = SealedSecret(sealed=seal(SecretStr(CANARY), public, account_id="acme"))
    environment = {"SENDAS_SECRET_GOOD": CANARY, "SENDAS_SECRET_BAD": f"{CANARY}\x00", "OTHER": CANARY}
    secrets = SecretStore(SealingKeys({}), environment, reference_accounts=frozenset({"acme"}))
    for secret in (sealed, *(EnvSecret(env=name) for name in environment)):
        auth = PasswordAuth(method=AuthMethod.PASSWORD, username="u", secret=secret)
        async with session() as guarded:
            clock = SteppedClock()
            keeper = RotationKeeper(
                MemoryRefreshTokens(clock), SealingKeys({}), clock, holder="one", rotated=lambda: None
            )
            source = TokenSource(guarded, secrets, clock, keeper, random=lambda: 0.0)
            try:
                witness.hear(await SecretCredentials(secrets, source).open("acme", auth))
            except SendasError as error:
                witness.hear_error(error)
    assert "Password" in witness.everything
    assert CANARY not in witness.everything
