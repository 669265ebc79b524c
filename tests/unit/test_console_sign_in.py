"""Who gets into the console, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from tests.console_setting import PASSWORD, PEOPLE, Browser, ConsoleWorld, browser
from worker.console.app import create_app
from worker.console.auth.passwords import Passwords, TooManyFailures
from worker.console.auth.people import People, Role
from worker.console.auth.proxies import Proxies, ProxySignIn
from worker.console.auth.sessions import Sessions
from worker.console.auth.signing_in import HeaderSignIn
from worker.console.auth.throttle import Throttle
from worker.console.security import own_path
from worker.console_settings import ConsoleSettings, load_console_settings
from worker.errors import ConfigurationError


@pytest.fixture
def world(tmp_path: Path) -> ConsoleWorld:
    return ConsoleWorld(tmp_path / "people.toml")


@pytest.fixture
async def anna(world: ConsoleWorld) -> AsyncIterator[Browser]:
    async with browser(world) as opened:
        yield opened


async def test_a_page_leads_to_the_sign_in_and_back(anna: Browser) -> None:
    await anna.get("/letters?by=task_id&q=4711")
    assert anna.path == "/sign-in/?next=%2Fletters%3Fby%3Dtask_id%26q%3D4711"
    await anna.sign_in("olga", next_="/letters?by=task_id&q=4711")
    assert (anna.page.status_code, anna.path) == (200, "/letters?by=task_id&q=4711")


@pytest.mark.parametrize(
    ("name", "password"), [("olga", "wrong"), ("nobody", PASSWORD), ("", ""), ("olga", "x" * 5000)]
)
async def test_a_wrong_sign_in_says_only_that_it_is_wrong(anna: Browser, name: str, password: str) -> None:
    await anna.sign_in(name, password)
    assert anna.page.status_code == 401
    assert "Name or password is wrong." in anna.text
    assert (await anna.get("/", follow_redirects=False)).status_code == 303


async def test_the_session_is_new_at_each_sign_in_and_the_former_one_ends(anna: Browser) -> None:
    await anna.sign_in("olga")
    first = anna.client.cookies["sendas_session"]
    await anna.sign_in("olga")
    second = anna.client.cookies["sendas_session"]
    assert first != second
    anna.client.cookies.set("sendas_session", first, domain="127.0.0.1", path="/")
    anna.client.cookies.clear()
    assert (await anna.get("/", headers={"cookie": f"sendas_session={first}"})).url.path == "/sign-in/"
    assert (await anna.get("/", headers={"cookie": f"sendas_session={second}"})).url.path == "/"


async def test_a_session_name_that_was_planted_before_the_sign_in_is_not_kept(anna: Browser) -> None:
    anna.client.cookies.set("sendas_session", "planted.AAAA", domain="127.0.0.1", path="/")
    await anna.sign_in("olga")
    set_by_us = [c for c in anna.client.cookies.jar if c.name == "sendas_session" and "planted" not in (c.value or "")]
    assert len(set_by_us) == 1


async def test_sessions_end_by_age_and_by_rest(world: ConsoleWorld, anna: Browser) -> None:
    await anna.sign_in("olga")
    for _ in range(15):
        world.clock.step(1_799)
        assert (await anna.get("/")).url.path == "/"
    world.clock.step(1_799)
    world.clock.step(1_799)
    assert (await anna.get("/")).url.path == "/sign-in/"
    await anna.sign_in("olga")
    world.clock.step(1_800)
    assert (await anna.get("/")).url.path == "/sign-in/"


async def test_signing_out_ends_the_session_on_the_server(anna: Browser) -> None:
    await anna.sign_in("olga")
    cookie = anna.client.cookies["sendas_session"]
    await anna.post("/sign-out")
    assert anna.path == "/sign-in/"
    assert (await anna.get("/", headers={"cookie": f"sendas_session={cookie}"})).url.path == "/sign-in/"


async def test_rights_end_when_the_file_says_so(world: ConsoleWorld, anna: Browser) -> None:
    await anna.sign_in("olga")
    world.people_file.write_text(PEOPLE.replace("people.olga", "people.petra"))
    assert (await anna.get("/")).url.path == "/sign-in/"
    world.people_file.write_text("[people")
    await anna.sign_in("victor")
    assert anna.page.status_code == 401


async def test_cookies_are_out_of_reach_for_scripts_and_other_sites(world: ConsoleWorld, tmp_path: Path) -> None:
    secure = ConsoleWorld(tmp_path / "people.toml", origin="https://console.example")
    async with browser(secure) as there:
        await there.get("/sign-in/")
        fields = {"csrf": there.token, "name": "olga", "password": PASSWORD}
        answer = await there.client.post("/sign-in/password", data=fields, follow_redirects=False)
        cookie = next(each for each in answer.headers.get_list("set-cookie") if "session" in each)
        assert cookie.startswith("__Host-sendas_session=")
        for part in ("Secure", "HttpOnly", "SameSite=lax", "Path=/", "Max-Age=28800"):
            assert part in cookie
        assert "strict-transport-security" in answer.headers


async def test_failures_from_one_address_have_to_wait(world: ConsoleWorld, anna: Browser) -> None:
    for _ in range(10):
        await anna.sign_in("olga", "wrong")
    await anna.sign_in("olga")
    assert (anna.page.status_code, anna.page.headers["retry-after"]) == (429, "300")
    assert "try again in 5 min" in anna.text
    world.clock.step(301)
    await anna.sign_in("olga")
    assert anna.path == "/"


async def test_guesses_side_by_side_are_not_more_than_one_after_the_other(world: ConsoleWorld) -> None:
    passwords = Passwords(world.people, world.clock.monotonic)
    tries = [passwords.are_right("olga", f"guess {number}", "198.51.100.7") for number in range(30)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(outcome is False for outcome in outcomes) <= 11
    assert sum(isinstance(outcome, TooManyFailures) for outcome in outcomes) >= 19


def test_a_crowd_of_names_is_forgotten_from_its_oldest(world: ConsoleWorld) -> None:
    throttle = Throttle(1, 300, world.clock.monotonic)
    for number in range(10_001):
        throttle.failed(str(number))
    assert throttle.wait_s("0") == 0
    assert throttle.wait_s("10000") == 300


def test_sessions_are_bounded_in_number(world: ConsoleWorld) -> None:
    sessions = Sessions(100, 100, world.clock.monotonic)
    first = sessions.begin("first", ())
    for number in range(10_000):
        sessions.begin(str(number), ())
    assert sessions.find(first) is None
    assert len(sessions) == 10_000


@pytest.mark.parametrize(
    ("next_", "where"),
    [
        ("/letters?q=1", "/letters?q=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/%0d%0aset-cookie:x", "/%0d%0aset-cookie:x"),
        ("javascript:alert(1)", "/"),
        ("/sign-out", "/"),
        (" //evil.example", "/"),
        ("", "/"),
        (None, "/"),
        ("/" + "a" * 3_000, "/"),
    ],
)
def test_only_places_on_the_console_are_gone_to(next_: str | None, where: str) -> None:
    assert own_path(next_) == where


class TestPeople:
    def test_groups_give_rights_and_a_name_goes_first(self, world: ConsoleWorld) -> None:
        people = world.people
        viewer = people.find("someone", ["support"])
        assert viewer is not None
        assert (viewer.role, viewer.accounts) == (Role.VIEWER, frozenset({"acme"}))
        both = people.find("someone", ["support", "operators"])
        assert both is not None
        assert (both.role, both.accounts) == (Role.OPERATOR, None)
        named = people.find("victor", ["operators"])
        assert named is not None
        assert named.role is Role.VIEWER
        assert people.find("someone", ["unknown"]) is None

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[people.a]\nrole = 'boss'", "people.a.role"),
            ("[people.a]\npasword = 'x'", "people.a.pasword"),
            ("people = 3", "people"),
            ("[people", "people.toml"),
        ],
    )
    def test_a_wrong_file_is_refused_with_the_place_and_without_its_values(
        self, tmp_path: Path, text: str, problem: str
    ) -> None:
        file = tmp_path / "people.toml"
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=problem) as caught:
            People(file)
        assert str(file) in str(caught.value)


class TestProxy:
    """Sign-in by a trusted proxy's header."""

    def app(self, world: ConsoleWorld, trusted: str) -> Starlette:
        settings = ConsoleSettings(proxies=trusted)
        proxy = ProxySignIn(Proxies(settings.proxy_networks), "X-Forwarded-User", "X-Forwarded-Groups")
        sign_in = HeaderSignIn(world.people, proxy, lambda name: f"token of {name}")
        return create_app(replace(world.services, sign_in=sign_in), (), world.origin)

    async def test_its_header_is_believed(self, world: ConsoleWorld) -> None:
        async with browser(world, self.app(world, "192.0.2.0/24")) as there:
            await there.get("/", headers={"x-forwarded-user": "olga"})
            assert "olga" in there.text
            assert "Sign out" not in there.text
            await there.get("/", headers={"x-forwarded-user": "new", "x-forwarded-groups": "a, support"})
            assert "viewer" in there.text

    @pytest.mark.parametrize(
        "headers",
        [
            [("x-forwarded-user", "nobody")],
            [("x-forwarded-user", "")],
            [("x-forwarded-user", "victor"), ("x-forwarded-user", "olga")],
            [],
        ],
    )
    async def test_a_header_that_names_nobody_lets_nobody_in(
        self, world: ConsoleWorld, headers: list[tuple[str, str]]
    ) -> None:
        async with browser(world, self.app(world, "192.0.2.0/24")) as there:
            answer = await there.get("/", headers=headers, follow_redirects=False)
            assert answer.status_code == 303

    async def test_the_header_of_others_is_not_believed(self, world: ConsoleWorld) -> None:
        async with browser(world, self.app(world, "198.51.100.0/24")) as there:
            answer = await there.get("/", headers={"x-forwarded-user": "olga"}, follow_redirects=False)
            assert answer.status_code == 303


def a_request(peer: str, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return Request({"type": "http", "client": (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),
        ("10.0.0.5", (), "10.0.0.5"),
        ("10.0.0.5", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.5", ("1.1.1.1, 198.51.100.1, 10.0.0.6",), "198.51.100.1"),
        ("10.0.0.5", ("1.1.1.1", "198.51.100.1"), "198.51.100.1"),
        ("10.0.0.5", ("10.0.0.7",), "10.0.0.5"),
    ],
)
def test_failures_count_for_the_address_that_the_proxy_saw(peer: str, forwarded: tuple[str, ...], client: str) -> None:
    """What a client itself writes into the header stands before what the proxy adds, and does not count."""
    proxies = Proxies(ConsoleSettings(proxies="10.0.0.0/8").proxy_networks)
    assert proxies.client(a_request(peer, *forwarded)) == client


async def test_a_password_in_the_field_of_the_name_is_not_logged(
    anna: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    await anna.sign_in("correct horse battery", "x")
    assert "correct horse" not in capsys.readouterr().out
    await anna.sign_in("olga", "x")
    assert "olga" in capsys.readouterr().out


class TestSettings:
    @pytest.mark.parametrize(
        ("values", "name"),
        [
            ({"url": "console.example"}, "URL"),
            ({"url": "https://console.example/path"}, "URL"),
            ({"proxies": "10.0.0.0/33"}, "PROXIES"),
            ({"sign_in": "oidc"}, "SIGN_IN"),
            ({"sign_in": "proxy"}, "SIGN_IN"),
            ({"oidc_issuer": "http://login.example"}, "OIDC_ISSUER"),
            ({"workers": "worker-0:8080"}, "WORKERS"),
            ({"port": 70_000}, "PORT"),
        ],
    )
    def test_a_wrong_one_is_named(self, values: dict[str, object], name: str) -> None:
        with pytest.raises(ConfigurationError, match=f"^SENDAS_CONSOLE_{name}: "):
            load_console_settings(**values)
