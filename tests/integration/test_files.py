"""Downloads that go wrong, and who gets the file server's token."""

import asyncio
import gzip
import zlib

import pytest
from aiohttp import web
from pydantic import SecretStr

from tests.integration.web_server import answering, session, web_server
from worker.adapters.network.files import FileServerToken, HttpFileStore
from worker.domain.events.models import File
from worker.errors import ConfigurationError, FileUnavailable


def file(url: str) -> File:
    # Unchecked: the store must not rely on the event's model having refused a link.
    link = "https://product.example/d/1"
    return File.model_construct(name="a.pdf", content_type="application/pdf", size=5, url=url, link=link)


async def failure(store: HttpFileStore, url: str, max_bytes: int = 1_000_000) -> FileUnavailable:
    with pytest.raises(FileUnavailable) as caught:
        await store.fetch(file(url), max_bytes)
    return caught.value


async def test_an_endless_download_is_cut_at_the_bound() -> None:
    """No Content-Length to warn of it; and the server learns that nobody reads on."""
    left = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
                await asyncio.sleep(0)  # a write to a connection that is gone returns at once: let the end of it in
        finally:
            left.set()

    async with web_server({"/": endless}) as port, session() as guarded:
        error = await failure(HttpFileStore(guarded), f"https://web.example:{port}/")
        await asyncio.wait_for(left.wait(), 10)
    assert error.is_permanent
    assert "1000000 bytes" in str(error)


async def test_a_slow_download_ends_in_time_and_may_be_tried_again() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5"})
        await response.prepare(request)
        await response.write(b"ab")
        await asyncio.Event().wait()
        raise AssertionError

    async with web_server({"/": slow}) as port, session() as guarded:
        error = await failure(HttpFileStore(guarded, timeout_s=0.2), f"https://web.example:{port}/")
    assert not error.is_permanent


async def test_too_large_by_its_own_header_is_not_downloaded_at_all() -> None:
    async def announced(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000001"})
        await response.prepare(request)
        await asyncio.Event().wait()
        raise AssertionError

    async with web_server({"/": announced}) as port, session() as guarded:
        assert (await failure(HttpFileStore(guarded), f"https://web.example:{port}/")).is_permanent


async def test_a_compressed_body_counts_by_what_it_becomes() -> None:
    async def bomb(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=b"\0" * 30_000_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with web_server({"/": bomb}) as port, session() as guarded:
        assert (await failure(HttpFileStore(guarded), f"https://web.example:{port}/")).is_permanent


async def test_bombs_in_layers_and_in_other_codings_are_cut_too() -> None:
    layers = gzip.compress(gzip.compress(b"\0" * 30_000_000))
    for coding, body in (("gzip", gzip.compress(b"\0" * 30_000_000)), ("deflate", zlib.compress(b"\0" * 30_000_000))):
        headers = {"Content-Encoding": coding}
        async with web_server({"/": answering(body, headers=headers)}) as port, session() as guarded:
            assert (await failure(HttpFileStore(guarded), f"https://web.example:{port}/")).is_permanent
    async with web_server({"/": answering(layers, headers={"Content-Encoding": "gzip"})}) as port, session() as guarded:
        content = await HttpFileStore(guarded).fetch(file(f"https://web.example:{port}/"), 1_000_000)
        assert len(content) < 100_000, "only one layer is the transport's"


async def test_a_drip_of_single_bytes_ends_in_time() -> None:
    """If a server sends a byte now and then, then no single wait is long, and the whole is."""
    left = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0)
        finally:
            left.set()

    async with web_server({"/": drip}) as port, session() as guarded:
        error = await failure(HttpFileStore(guarded, timeout_s=0.2), f"https://web.example:{port}/", 10**12)
        await asyncio.wait_for(left.wait(), 10)
    assert not error.is_permanent


@pytest.mark.parametrize(
    ("expected", "given", "is_refused"),
    [
        ("application/pdf", "text/html; charset=utf-8", True),
        ("image/png", "TEXT/HTML", True),
        ("text/html", "text/html", False),
        ("application/octet-stream", "text/html", False),
        ("application/pdf", "application/octet-stream", False),
        ("application/pdf", "binary/whatever", False),
    ],
)
async def test_a_page_is_no_file(expected: str, given: str, is_refused: bool) -> None:
    """If a link has expired, then a sign-in page with status 200 must not go out as the estimate."""
    headers = {"Content-Type": given}
    async with web_server({"/": answering(b"hello", headers=headers)}) as port, session() as guarded:
        wanted = file(f"https://web.example:{port}/").model_copy(update={"content_type": expected})
        if not is_refused:
            assert await HttpFileStore(guarded).fetch(wanted, 100) == b"hello"
            return
        with pytest.raises(FileUnavailable, match="page") as caught:
            await HttpFileStore(guarded).fetch(wanted, 100)
        assert caught.value.is_permanent


@pytest.mark.parametrize(
    ("status", "is_permanent"),
    [
        *((403, True), (404, True), (410, True)),
        *((401, False), (408, False), (429, False), (500, False), (502, False)),
        *((204, False), (206, False), (304, False)),
    ],
)
async def test_the_status_says_whether_to_try_again(status: int, is_permanent: bool) -> None:
    async with web_server({"/": answering(status=status)}) as port, session() as guarded:
        error = await failure(HttpFileStore(guarded), f"https://web.example:{port}/?signature=canary")
    assert error.is_permanent is is_permanent
    assert "canary" not in str(error), "a signed link is as good as the file"


@pytest.mark.parametrize("url", ["http://web.example/", "https://10.0.0.1/", "https://127.0.0.1:22/", "nonsense"])
async def test_a_url_that_policy_forbids_stays_forbidden(url: str) -> None:
    async with session(allow="127.0.0.1:443") as guarded:
        assert (await failure(HttpFileStore(guarded), url)).is_permanent


async def test_http_only_where_it_is_set() -> None:
    async with web_server({"/": answering(b"hello")}, is_plain=True) as port, session(allow_http=True) as guarded:
        assert await HttpFileStore(guarded).fetch(file(f"http://web.example:{port}/"), 100) == b"hello"


class TestToken:
    async def test_it_goes_to_its_own_origin_only(self) -> None:
        seen: list[web.Request] = []
        handlers = {"/": answering(b"hello", seen=seen)}
        async with web_server(handlers) as port, web_server(handlers) as other_port, session() as guarded:
            token = FileServerToken(f"https://web.example:{port}", SecretStr("canary"))
            store = HttpFileStore(guarded, token=token)
            for host in (f"web.example:{port}", f"other.example:{port}", f"web.example:{other_port}"):
                await store.fetch(file(f"https://{host}/"), 100)
        assert [request.headers.get("Authorization") for request in seen] == ["Bearer canary", None, None]
        assert "canary" not in repr(token)

    @pytest.mark.parametrize(
        "url",
        [
            "https://files.example.evil.example/",
            "https://evil.example/files.example",
            "https://files.example@evil.example/",
            "https://files.example:444/",
            "http://files.example/",
            "nonsense",
            "https://[",
        ],
    )
    def test_lookalikes_are_other_origins(self, url: str) -> None:
        assert not FileServerToken("https://files.example", SecretStr("t")).is_for(url)

    @pytest.mark.parametrize("origin", ["files.example", "http://files.example", "https://", ""])
    def test_an_origin_that_is_none_is_a_configuration_error(self, origin: str) -> None:
        with pytest.raises(ConfigurationError):
            FileServerToken(origin, SecretStr("t"))
