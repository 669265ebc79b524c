"""The guarded HTTP session against real servers: redirects, rebinding, TLS, time."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from stack import client_context
from tests.doubles.resolver import TableResolver
from tests.integration.web_server import answering, server_context, session, web_server
from worker.adapters.network.http import GuardedSession, TooLarge, read_at_most
from worker.errors import EgressDenied, Unavailable


async def read(tested: GuardedSession, url: str, **headers: str) -> bytes:
    async with tested.get(url, timeout_s=10, headers=headers) as response:
        assert response.status == 200
        return await read_at_most(response, 1_000)


async def test_an_allowed_host_is_read() -> None:
    async with web_server({"/": answering(b"hello")}) as port, session() as tested:
        assert await read(tested, f"https://web.example:{port}/") == b"hello"


async def test_without_the_operators_word_loopback_is_refused_and_nothing_arrives() -> None:
    seen: list[web.Request] = []
    async with web_server({"/": answering(seen=seen)}) as port, session(allow="10.0.0.0/8") as tested:
        with pytest.raises(EgressDenied, match="loopback"):
            await read(tested, f"https://web.example:{port}/")
    assert seen == []


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "[::1]",
            "2130706433",
            "127.1",
            "0x7f.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "127%2e0%2e0%2e1",
            "１２７.1",
        ),
        *("①②⑦.⓪.⓪.①", "127.0.0.1.:443", "127.0.0.1#@web.example", "127.0.0.1?@web.example", "127.0.0.1\u200b"),
    ],
)
async def test_addresses_in_the_url_are_refused_in_any_spelling(host: str) -> None:
    async with session(allow="") as tested:
        with pytest.raises(EgressDenied):
            await read(tested, f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "http://web.example/",
        "ftp://web.example/",
        "file:///etc/passwd",
        "//web.example/",
        "/etc/passwd",
        "",
        "https://",
        "https:///etc",
        "https://user:hunter2@web.example/",
        "https://user@web.example/",
        "https://web.example:99999/",
        "https://web.example\\@other.example/",
        "https://web.example@127.0.0.1/",
        "https://web.example:443@127.0.0.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://web.example%00.evil.example/",
        "https:127.0.0.1/",
        "javascript:alert(1)",
        "data:text/plain,x",
        "gopher://web.example/",
        "https://[::1/",
    ],
)
async def test_urls_of_another_kind_are_refused_and_not_repeated(url: str) -> None:
    async with session() as tested:
        with pytest.raises(EgressDenied) as caught:
            await read(tested, url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://%6cocalhost/",
        "https://redis%2esvc/",
        "https://web.example\\@redis.svc/",
        "https://web.example:443@redis.svc/",
        "https://redis.svc\\.web.example/",
        "https:redis.svc/",
        "https:///redis.svc/",
        "//redis.svc/",
        "https://[::ffff:10.0.0.7]/",
        "https://web.example /",
        "https://redis。svc/",
        "https://ｒedis.svc/",
    ],
)
async def test_urls_that_only_seem_to_name_another_host(url: str) -> None:
    """If two readers could understand a URL differently, then nobody is asked or connected to."""
    resolver = TableResolver()
    resolver.set("web.example", ["127.0.0.1"])
    async with session(resolver, allow="") as tested:
        with pytest.raises(EgressDenied):
            await read(tested, url)
    assert resolver.asked == []


async def test_if_all_else_failed_the_sockets_themselves_are_refused() -> None:
    """aiohttp's own client, past the session's checks: addresses in URLs never reach its resolver."""
    seen: list[web.Request] = []
    async with web_server({"/": answering(seen=seen)}) as port, session(allow="") as tested:
        with pytest.raises(aiohttp.ClientConnectorError, match="egress policy"):
            await tested._client.get(f"https://127.0.0.1:{port}/")
    assert seen == []


async def test_unusual_ports_are_refused() -> None:
    resolver = TableResolver()
    resolver.set("web.example", ["93.184.216.34"])
    async with session(resolver) as tested:
        with pytest.raises(EgressDenied, match="port 6379"):
            await read(tested, "https://web.example:6379/")


class TestRedirects:
    @asynccontextmanager
    async def redirecting(
        self, location: str, status: int = 302, *, resolver: TableResolver | None = None
    ) -> AsyncIterator[tuple[GuardedSession, str]]:
        """A server whose `/` redirects; `{port}` in the location is its own port."""
        ports: list[int] = []

        async def redirect(request: web.Request) -> web.Response:
            return web.Response(
                status=status, headers={"Location": location.format(port=ports[0]), "Connection": "close"}
            )

        handlers = {"/": redirect, "/end": answering(b"end")}
        async with web_server(handlers) as port, session(resolver, allow_http=True) as tested:
            ports.append(port)
            yield tested, f"https://web.example:{port}/"

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_an_ordinary_one_is_followed(self, status: int) -> None:
        async with self.redirecting("/end", status) as (tested, url):
            assert await read(tested, url) == b"end"

    @pytest.mark.parametrize(
        "location",
        [
            "https://169.254.169.254/latest/meta-data/",
            "https://[fd00:ec2::254]/latest/meta-data/",
            "https://metadata.example/computeMetadata/v1/",
            "https://2852039166/",
            "//169.254.169.254/",
            "https://10.0.0.1/",
            "https://[::ffff:169.254.169.254]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://0xa9fea9fe/",
            "https://１６９.254.169.254/",
            "https://169.254.169.254.:443/",
            "https://user:pw@web.example:{port}/end",
        ],
    )
    async def test_one_to_a_forbidden_place_is_refused(self, location: str) -> None:
        resolver = TableResolver()
        resolver.set("web.example", ["127.0.0.1"])
        resolver.set("metadata.example", ["169.254.169.254"])
        async with self.redirecting(location, resolver=resolver) as (tested, url):
            with pytest.raises(EgressDenied):
                await read(tested, url)

    @pytest.mark.parametrize(
        "location",
        [
            "http://web.example:{port}/end",
            "file:///etc/passwd",
            "gopher://x/",
            "ftp://web.example/",
            "data:text/plain,x",
        ],
    )
    async def test_one_away_from_https_is_refused_even_where_http_is_allowed(self, location: str) -> None:
        async with self.redirecting(location) as (tested, url):
            with pytest.raises(EgressDenied, match="from https"):
                await read(tested, url)

    async def test_one_to_an_internal_name_tells_nothing_of_it(self) -> None:
        """If a file server redirects to services of the cluster, then its owner does not learn which are there."""
        resolver = TableResolver()
        resolver.set("web.example", ["127.0.0.1"])
        resolver.set("there.svc", ["10.0.0.7"])
        resolver.set("gone.svc", socket.gaierror(socket.EAI_NONAME, "x"))
        resolver.set("down.svc", socket.gaierror(socket.EAI_AGAIN, "x"))
        said = set()
        for name in ("there.svc", "gone.svc", "down.svc", "THERE.svc."):
            redirect = answering(status=302, headers={"Location": f"https://{name}/"})
            async with web_server({"/": redirect}) as port, session(resolver, allow=f"127.0.0.1:{port}") as guarded:
                with pytest.raises(Unavailable) as caught:
                    async with guarded.get(f"https://web.example:{port}/", timeout_s=10):
                        pass
            said.add(str(caught.value).removeprefix(name.lower().rstrip(".")))
        assert said == {" is a name of an internal network: nothing is there that may be connected to"}

    async def test_one_that_is_no_url_is_refused(self) -> None:
        async with self.redirecting("https://[") as (tested, url):
            with pytest.raises(EgressDenied, match="no URL"):
                await read(tested, url)

    async def test_a_circle_ends_with_the_redirect_itself(self) -> None:
        async with self.redirecting("/") as (tested, url), tested.get(url, timeout_s=10) as response:
            assert response.status == 302

    async def test_one_from_http_to_https_is_followed(self) -> None:
        async with web_server({"/end": answering(b"end")}) as port, session(allow_http=True) as tested:
            location = {"Location": f"https://web.example:{port}/end"}
            async with web_server({"/": answering(status=302, headers=location)}, is_plain=True) as plain_port:
                assert await read(tested, f"http://web.example:{plain_port}/") == b"end"

    async def test_a_bearer_token_stays_with_its_origin(self) -> None:
        """Another port is another origin; and coming back does not bring the token back."""
        seen: list[web.Request] = []
        async with session() as tested, web_server({"/end": answering(b"end", seen=seen)}) as home:
            back = {"Location": f"https://web.example:{home}/end"}
            async with web_server({"/": answering(status=302, headers=back, seen=seen)}) as away:
                out = {"Location": f"https://web.example:{away}/"}
                async with web_server({"/": answering(status=307, headers=out, seen=seen)}) as start:
                    await read(tested, f"https://web.example:{start}/", authorization="Bearer t")
        assert [request.headers.get("Authorization") for request in seen] == ["Bearer t", None, None]

    async def test_a_form_follows_none(self) -> None:
        """A refresh token is not sent on to wherever the endpoint points."""
        seen: list[web.Request] = []
        async with session() as tested, web_server({"/end": answering(seen=seen)}) as end:
            location = {"Location": f"https://web.example:{end}/end"}
            async with web_server({"/": answering(status=307, headers=location)}) as port:
                url = f"https://web.example:{port}/"
                async with tested.post_form(url, {"a": "b"}, timeout_s=10) as response:
                    assert response.status == 307
        assert seen == []


class TestRebinding:
    """127.0.0.2 stands for the public address that is vetted, 127.0.0.1 for what the attacker wants to reach."""

    async def test_the_connection_goes_to_the_address_that_was_vetted(self) -> None:
        resolver = TableResolver()
        resolver.set("web.example", ["127.0.0.2"], ["127.0.0.1"])
        async with (
            session(resolver, allow="127.0.0.2") as tested,
            web_server({"/": answering(b"public", headers={"Connection": "close"})}, host="127.0.0.2") as port,
            web_server({"/": answering(b"internal")}, port=port),
        ):
            assert await read(tested, f"https://web.example:{port}/") == b"public"
            assert resolver.asked == ["web.example"]
            with pytest.raises(EgressDenied):
                await read(tested, f"https://web.example:{port}/")

    async def test_a_redirect_to_the_same_name_is_vetted_again(self) -> None:
        resolver = TableResolver()
        resolver.set("web.example", ["127.0.0.2"], ["127.0.0.1"])
        hop = {"Location": "/secret", "Connection": "close"}
        async with (
            session(resolver, allow="127.0.0.2") as tested,
            web_server({"/": answering(status=302, headers=hop)}, host="127.0.0.2") as port,
            web_server({"/secret": answering(b"internal")}, port=port),
        ):
            with pytest.raises(EgressDenied):
                await read(tested, f"https://web.example:{port}/")


class TestFailures:
    async def test_a_dead_first_address_is_passed_over(self) -> None:
        resolver = TableResolver()
        resolver.set("web.example", ["127.0.0.3", "127.0.0.1"])
        async with web_server({"/": answering(b"hello")}) as port, session(resolver, "127.0.0.0/8") as tested:
            assert await read(tested, f"https://web.example:{port}/") == b"hello"

    async def test_a_certificate_for_another_name_is_refused(self) -> None:
        tls = server_context("other.example")
        async with web_server({"/": answering()}, tls=tls) as port, session() as tested:
            with pytest.raises(Unavailable, match="certificate"):
                await read(tested, f"https://web.example:{port}/")

    async def test_a_certificate_of_nobody_known_is_refused(self) -> None:
        untrusting = client_context()
        async with web_server({"/": answering()}) as port, session(tls=untrusting) as tested:
            with pytest.raises(Unavailable, match="certificate"):
                await read(tested, f"https://web.example:{port}/")

    async def test_a_plain_server_where_tls_was_expected(self) -> None:
        async with web_server({"/": answering()}, is_plain=True) as port, session() as tested:
            with pytest.raises(Unavailable, match="TLS"):
                await read(tested, f"https://web.example:{port}/")

    async def test_nobody_listens(self) -> None:
        async with web_server({}) as port:
            pass
        async with session() as tested:
            with pytest.raises(Unavailable, match="refused"):
                await read(tested, f"https://web.example:{port}/")

    async def test_a_server_that_keeps_silent_is_left_in_time(self) -> None:
        async def silent(request: web.Request) -> web.Response:
            await asyncio.Event().wait()
            raise AssertionError

        async with web_server({"/": silent}) as port, session() as tested:
            with pytest.raises(Unavailable, match="in time"):
                async with tested.get(f"https://web.example:{port}/", timeout_s=0.2):
                    pass

    @pytest.mark.parametrize(
        "answer",
        [b"", b"220 smtp.example ESMTP\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"\x00" * 99],
    )
    async def test_what_is_not_http_or_breaks_off_is_unavailable(self, answer: bytes) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, session(allow_http=True) as tested:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Unavailable) as caught:
                await read(tested, f"http://web.example:{port}/")
        assert caught.value.__cause__ is None, "aiohttp's errors show the request's headers"

    async def test_a_name_that_does_not_exist_is_unavailable(self) -> None:
        resolver = TableResolver()
        resolver.set("web.example", [])
        async with session(resolver) as tested:
            with pytest.raises(Unavailable, match="no address"):
                await read(tested, "https://web.example/")

    async def test_an_error_of_the_reader_passes_as_it_is(self) -> None:
        async with web_server({"/": answering(b"x" * 2_000)}) as port, session() as tested:
            with pytest.raises(TooLarge):
                await read(tested, f"https://web.example:{port}/")


async def test_cookies_are_not_kept() -> None:
    seen: list[web.Request] = []
    handler = answering(headers={"Set-Cookie": "id=7; Path=/"}, seen=seen)
    async with web_server({"/": handler}) as port, session() as tested:
        for _ in range(2):
            await read(tested, f"https://web.example:{port}/")
    assert [dict(request.cookies) for request in seen] == [{}, {}]


async def test_proxies_and_netrc_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look the name up by itself, and connect to what it finds."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    async with web_server({"/": answering(b"direct")}) as port, session() as tested:
        assert await read(tested, f"https://web.example:{port}/") == b"direct"
