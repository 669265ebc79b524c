"""Sign-in by OpenID Connect with a certified provider: who comes in, and what is refused."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.applications import Starlette

from stack.ports import free_ports
from tests.console_setting import ORIGIN, Browser, ConsoleWorld
from tools import npm
from worker.console.app import create_app
from worker.console.auth.oidc import OpenIdConnect
from worker.console.auth.pages import Door
from worker.console.auth.proxies import Proxies

PROVIDER = Path(__file__).parent / "oidc_provider"
CALLBACK = f"{ORIGIN}/sign-in/callback"
SECRET = "the secret of the client"
PEOPLE = """
[people."anna@acme.example"]
role = "operator"
[people."unverified@acme.example"]
[groups.support]
"""


@dataclass(frozen=True)
class Provider:
    """A provider that runs."""

    issuer: str
    secret: str | None


@asynccontextmanager
async def running_provider(secret: str | None) -> AsyncIterator[Provider]:
    """A provider of its own process while the context lasts."""
    npm.install(PROVIDER)
    [port] = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        npm.NODE, PROVIDER / "provider.mjs", str(port), "console", secret or "", CALLBACK,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"listening\n"
        yield Provider(f"http://127.0.0.1:{port}", secret)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture(scope="module", params=[None, SECRET], ids=["public client", "client with a secret"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    async with running_provider(request.param) as started:
        yield started


@pytest.fixture
def world(tmp_path: Path) -> ConsoleWorld:
    people = tmp_path / "people.toml"
    people.write_text(PEOPLE)
    return ConsoleWorld(people)


def an_app(world: ConsoleWorld, provider: Provider, client_id: str = "console") -> Starlette:
    client = OpenIdConnect(
        provider.issuer, client_id, provider.secret, scopes="openid email", claims=("email", "groups")
    )
    door = Door(world.people, world.sign_in, Proxies(()), ORIGIN, provider=client)
    return create_app(world.services, door.routes(), ORIGIN)


@asynccontextmanager
async def a_browser(app: Starlette) -> AsyncIterator[Browser]:
    """A browser that reaches the console in this process, and the provider over the network."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.50", 50_000))
    async with httpx2.AsyncClient(
        base_url=ORIGIN, mounts={ORIGIN: transport}, follow_redirects=True, trust_env=False
    ) as client:
        yield Browser(client)


async def to_provider(browser: Browser, next_: str = "/letters") -> None:
    """Go to the provider's form to sign in."""
    await browser.get(next_)
    await browser.get("/sign-in/provider")


async def answer(browser: Browser, name: str) -> httpx2.Response:
    """Sign in at the provider, and let the console know; gives the redirect back, which is not followed."""
    page = browser.page
    while True:
        form = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        assert form is not None, page.text
        prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
        assert prompt is not None
        fields = {"prompt": prompt[1], "login": name, "password": "any"}
        address = str(page.url.join(unescape(form[1])))
        page = await browser.client.post(address, data=fields, follow_redirects=False)
        while page.is_redirect:
            where = str(page.url.join(page.headers["location"]))
            if where.startswith(CALLBACK):
                return page
            page = await browser.client.get(where, follow_redirects=False)


async def sign_in(browser: Browser, name: str) -> None:
    await to_provider(browser)
    back = await answer(browser, name)
    await browser.get(back.headers["location"])


@pytest.mark.parametrize(
    ("name", "role"), [("anna@acme.example", "operator"), ("new@acme.example+support+others", "viewer")]
)
async def test_who_stands_in_the_file_comes_in(world: ConsoleWorld, provider: Provider, name: str, role: str) -> None:
    """By name, or by a group that the provider names; and goes on to where they wanted to."""
    async with a_browser(an_app(world, provider)) as browser:
        await sign_in(browser, name)
        assert (browser.page.status_code, browser.path) == (200, "/letters")
        assert role in browser.text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("stranger@acme.example", "no access here"),
        ("stranger@acme.example+operators", "no access here"),
        ("unverified@acme.example", "not verified"),
    ],
)
async def test_others_do_not(world: ConsoleWorld, provider: Provider, name: str, why: str) -> None:
    async with a_browser(an_app(world, provider)) as browser:
        await sign_in(browser, name)
        assert browser.page.status_code == 403
        assert why in browser.text
        assert (await browser.get("/")).url.path == "/sign-in/"


async def test_the_request_has_pkce_state_and_nonce(world: ConsoleWorld, provider: Provider) -> None:
    async with a_browser(an_app(world, provider)) as browser:
        first = await browser.get("/sign-in/provider", follow_redirects=False)
        second = await browser.get("/sign-in/provider", follow_redirects=False)
        queries = [parse_qs(urlsplit(each.headers["location"]).query) for each in (first, second)]
        for name in ("state", "nonce", "code_challenge"):
            assert queries[0][name] != queries[1][name]
        assert queries[0]["code_challenge_method"] == ["S256"]
        assert queries[0]["redirect_uri"] == [CALLBACK]


async def test_a_code_of_another_browsers_sign_in_is_refused(world: ConsoleWorld, provider: Provider) -> None:
    """A link that an attacker prepared must not sign anybody in under the attacker's name."""
    app = an_app(world, provider)
    async with a_browser(app) as attacker, a_browser(app) as victim:
        await to_provider(attacker)
        back = await answer(attacker, "anna@acme.example")
        await victim.get("/sign-in/")
        await victim.get(back.headers["location"])
        assert victim.page.status_code == 403
        assert (await victim.get("/")).url.path == "/sign-in/"


async def test_a_code_is_good_once(world: ConsoleWorld, provider: Provider) -> None:
    async with a_browser(an_app(world, provider)) as browser:
        await to_provider(browser)
        back = await answer(browser, "anna@acme.example")
        await browser.get(back.headers["location"])
        assert browser.path == "/letters"
        await browser.get(back.headers["location"])
        assert browser.page.status_code == 403


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=y", "?error=access_denied&state=y"])
async def test_a_made_up_answer_is_refused(world: ConsoleWorld, provider: Provider, query: str) -> None:
    async with a_browser(an_app(world, provider)) as browser:
        await to_provider(browser)
        await browser.get(f"/sign-in/callback{query}")
        assert browser.page.status_code == 403


async def test_a_token_for_another_client_is_refused(world: ConsoleWorld, provider: Provider) -> None:
    """The provider's word is for the one whom it was given to."""
    async with a_browser(an_app(world, provider)) as browser:
        await to_provider(browser)
        back = await answer(browser, "anna@acme.example")
    async with a_browser(an_app(world, provider, client_id="another")) as other:
        await other.get("/sign-in/provider", follow_redirects=False)
        state = parse_qs(urlsplit(other.page.headers["location"]).query)["state"][0]
        code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
        await other.get("/sign-in/callback", params={"code": code, "state": state})
        assert other.page.status_code == 403


async def test_a_provider_that_is_away_is_told_of(world: ConsoleWorld) -> None:
    [port] = free_ports(1)
    async with a_browser(an_app(world, Provider(f"http://127.0.0.1:{port}", None))) as browser:
        await browser.get("/sign-in/provider")
        assert browser.page.status_code == 403
        assert "the identity provider does not answer" in browser.text
