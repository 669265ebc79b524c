"""Documents from a real HTTP server on loopback."""

import asyncio
import gzip
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from stack import client_context
from tests.documents import a_document
from tests.doubles.resolver import TableResolver
from tests.integration.web_server import answering, trusting_context, web_server
from worker.adapters.network.egress import EgressGuard
from worker.adapters.network.http import guarded_connector
from worker.adapters.snapshot.file_source import Document, Unchanged
from worker.adapters.snapshot.http_source import HttpSource
from worker.adapters.snapshot.problems import RefusedDocument
from worker.adapters.snapshot.refresher import Refresh, Schedule, SnapshotRefresher
from worker.domain.egress import EgressPolicy
from worker.errors import ConfigurationError, EgressDenied, Unavailable

ROOT = Path(__file__).parents[2]
BODY = json.dumps(a_document()).encode()


class _Clock:
    time = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Server:
    """Answers `/snapshot.json` as the test says, and remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.answer: Handler = _whole
        application = web.Application()
        application.router.add_get("/{name}", self._handle)
        self.server = TestServer(application, host="127.0.0.1")

    @property
    def url(self) -> str:
        return str(self.server.make_url("/snapshot.json?key=hunter2"))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answer(request)


async def _whole(request: web.Request) -> web.StreamResponse:
    if request.headers.get("If-None-Match") == '"1842"':
        return web.Response(status=304)
    return web.Response(body=BODY, headers={"ETag": '"1842"'})


def _status(status: int, **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


@pytest.fixture
async def server() -> AsyncIterator[_Server]:
    made = _Server()
    await made.server.start_server()
    yield made
    await made.server.close()


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., HttpSource]]:
    """Makes sources that are closed afterwards, and that do not wait long between attempts."""
    sources: list[HttpSource] = []

    def made(url: str, **settings: Any) -> HttpSource:
        sources.append(HttpSource(url, **{"max_wait_s": 0.01, **settings}))
        return sources[-1]

    yield made
    for source in sources:
        await source.close()


Make = Callable[..., HttpSource]


async def test_a_document_is_streamed_to_the_file_and_known_again_by_its_tag(
    server: _Server, make: Make, tmp_path: Path
) -> None:
    source = make(server.url)
    found = await source.fetch(None, tmp_path / "download")
    assert found == Document(tmp_path / "download", '"1842"', is_temporary=True)
    assert (tmp_path / "download").read_bytes() == BODY
    assert await source.fetch('"1842"', tmp_path / "download") == Unchanged()
    assert [request.headers.get("If-None-Match") for request in server.requests] == [None, '"1842"']


async def test_the_token_is_sent_and_read_anew_from_its_file_each_time(
    server: _Server, make: Make, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    source = make(server.url, token=token)
    await source.fetch(None, tmp_path / "download")
    token.write_text("second\n")
    await source.fetch(None, tmp_path / "download")
    await make(server.url, token=SecretStr("third")).fetch(None, tmp_path / "download")
    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == ["Bearer first", "Bearer second", "Bearer third"]


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", "ключ".encode(), b"\xff"])
async def test_a_token_file_that_holds_no_token_is_named(
    server: _Server, make: Make, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(Unavailable, match="token"):
        await make(server.url, token=tmp_path / "token").fetch(None, tmp_path / "download")
    assert server.requests == []


@pytest.mark.parametrize("status", [401, 403, 404, 204, 206, 304])
async def test_an_answer_that_is_no_document_is_not_asked_for_again_at_once(
    server: _Server, make: Make, tmp_path: Path, status: int
) -> None:
    server.answer = _status(status)
    with pytest.raises(Unavailable, match=rf"snapshot\.json: the answer is {status}"):
        await make(server.url).fetch(None, tmp_path / "download")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_refused_so_that_the_token_reaches_no_other_host(
    server: _Server, make: Make, tmp_path: Path, status: int
) -> None:
    server.answer = _status(status, Location="/elsewhere.json")
    with pytest.raises(Unavailable, match="redirect"):
        await make(server.url, token=SecretStr("t")).fetch(None, tmp_path / "download")
    assert [request.path for request in server.requests] == ["/snapshot.json"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_failure_that_may_pass_is_tried_three_times(
    server: _Server, make: Make, tmp_path: Path, status: int
) -> None:
    server.answer = _status(status)
    with pytest.raises(Unavailable, match=f"the answer is {status}") as caught:
        await make(server.url).fetch(None, tmp_path / "download")
    assert len(server.requests) == 3
    assert "hunter2" not in str(caught.value)


async def test_the_second_attempt_may_succeed(server: _Server, make: Make, tmp_path: Path) -> None:
    async def fail_once(request: web.Request) -> web.StreamResponse:
        return await (_whole if len(server.requests) > 1 else _status(500))(request)

    server.answer = fail_once
    assert isinstance(await make(server.url).fetch(None, tmp_path / "download"), Document)


async def test_an_answer_that_never_comes_is_given_up(server: _Server, make: Make, tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await ended.wait()
        return web.Response()

    server.answer = hang
    with pytest.raises(Unavailable, match="no answer in time"):
        await make(server.url, idle_timeout_s=0.05, attempts=1).fetch(None, tmp_path / "download")
    ended.set()


async def test_an_answer_that_is_cut_off_is_no_document(server: _Server, make: Make, tmp_path: Path) -> None:
    async def cut_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
        await response.prepare(request)
        await response.write(BODY[:100])
        assert request.transport is not None
        request.transport.abort()
        return response

    server.answer = cut_off
    with pytest.raises(Unavailable, match=r"cut off|connection fails"):
        await make(server.url, attempts=2).fetch(None, tmp_path / "download")
    assert len(server.requests) == 2


async def test_a_document_larger_than_announced_or_allowed_is_refused(
    server: _Server, make: Make, tmp_path: Path
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(1_000):
            await response.write(b" " * 65_536)
        return response

    for answer in (_whole, endless):
        server.answer = answer
        with pytest.raises(RefusedDocument):
            await make(server.url, max_bytes=200).fetch(None, tmp_path / "download")
    assert (tmp_path / "download").stat().st_size <= 200


async def test_a_compressed_document_is_read_and_its_bound_is_that_of_the_plain_one(
    server: _Server, make: Make, tmp_path: Path
) -> None:
    content = BODY

    async def compressed(request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(content), headers={"Content-Encoding": "gzip"})

    server.answer = compressed
    await make(server.url).fetch(None, tmp_path / "download")
    assert (tmp_path / "download").read_bytes() == BODY
    content = b" " * 20_000_000
    with pytest.raises(RefusedDocument):
        await make(server.url, max_bytes=1_000_000).fetch(None, tmp_path / "download")


async def test_nobody_listening_is_unavailable(make: Make, tmp_path: Path, unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match="cannot connect"):
        await make(f"http://127.0.0.1:{unused_tcp_port}/s.json").fetch(None, tmp_path / "download")


async def test_connections_are_opened_by_the_connector_that_was_given(
    server: _Server, make: Make, tmp_path: Path
) -> None:
    class Refusing(aiohttp.TCPConnector):
        async def connect(self, *arguments: Any, **settings: Any) -> Any:
            raise aiohttp.ClientConnectionError("vetted and refused")

    source = make(server.url, connector=Refusing())
    with pytest.raises(Unavailable):
        await source.fetch(None, tmp_path / "download")
    assert server.requests == []


async def test_a_host_that_the_egress_guard_denies_is_unavailable_and_not_tried_again(
    server: _Server, make: Make, tmp_path: Path
) -> None:
    attempts = 0

    class Guarded(aiohttp.TCPConnector):
        async def connect(self, *arguments: Any, **settings: Any) -> Any:
            nonlocal attempts
            attempts += 1
            raise EgressDenied("169.254.169.254 is not allowed")

    with pytest.raises(Unavailable, match="is not allowed"):
        await make(server.url, connector=Guarded()).fetch(None, tmp_path / "download")
    assert attempts == 1


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200"])
async def test_a_snapshots_name_that_resolves_to_a_metadata_service_is_refused(
    make: Make, tmp_path: Path, address: str
) -> None:
    """If somebody changes the name's record, then the worker's token does not go to the cloud's metadata service."""
    resolver = TableResolver()
    resolver.set("product.example", [address])
    guard = EgressGuard(EgressPolicy(is_operators=True), resolver)
    connector = guarded_connector(guard, client_context(), frozenset())
    with pytest.raises(Unavailable, match="is not allowed"):
        await make("http://product.example:8080/s.json", connector=connector).fetch(None, tmp_path / "download")
    assert resolver.asked == ["product.example"], "it will not pass by itself"


async def test_a_snapshot_in_the_operators_own_network_is_fetched_from_the_vetted_address(
    server: _Server, make: Make, tmp_path: Path
) -> None:
    resolver = TableResolver()
    resolver.set("product.example", ["127.0.0.1"], ["169.254.169.254"])
    guard = EgressGuard(EgressPolicy(is_operators=True), resolver)
    connector = guarded_connector(guard, client_context(), frozenset())
    url = server.url.replace("127.0.0.1", "product.example")
    await make(url, connector=connector).fetch(None, tmp_path / "download")
    assert len(server.requests) == 1


async def test_what_is_wrong_with_the_certificate_of_a_snapshots_server_is_said(make: Make, tmp_path: Path) -> None:
    """If nobody whom the worker trusts issued it, then the log says so, and not only that TLS failed."""
    resolver = TableResolver()
    resolver.set("web.example", ["127.0.0.1"])
    guard = EgressGuard(EgressPolicy(is_operators=True), resolver)
    async with web_server({"/s.json": answering(BODY)}) as port:
        url = f"https://web.example:{port}/s.json"
        trusting = make(url, connector=guarded_connector(guard, trusting_context(), frozenset()))
        await trusting.fetch(None, tmp_path / "download")
        source = make(url, connector=guarded_connector(guard, client_context(), frozenset()))
        with pytest.raises(Unavailable, match="the server's certificate is not accepted: unable to get local issuer"):
            await source.fetch(None, tmp_path / "download")


async def test_a_keeper_counts_not_modified_as_fresh_and_a_refused_document_as_refused_until_there_is_another(
    server: _Server, make: Make, tmp_path: Path
) -> None:
    documents = {"etag": '"1"', "body": BODY}

    async def current(request: web.Request) -> web.StreamResponse:
        if request.headers.get("If-None-Match") == documents["etag"]:
            return web.Response(status=304)
        return web.Response(body=documents["body"], headers={"ETag": str(documents["etag"])})

    server.answer = current
    clock, looks = _Clock(), list[Refresh]()
    schedule = Schedule(interval_s=3_600, first_interval_s=3_600, min_pause_s=0)
    keeper = SnapshotRefresher(make(server.url), tmp_path / "state", clock, looks.append, schedule)
    await keeper.start()
    await keeper.wait_until_ready()
    served = keeper.directory
    clock.time += timedelta(minutes=5)
    assert keeper.age_s == 300
    await keeper.refresh()
    assert keeper.age_s == 0
    documents.update(etag='"2"', body=b"{}")
    clock.time += timedelta(minutes=5)
    await keeper.refresh()
    await keeper.refresh()
    documents.update(etag='"3"', body=BODY)
    await keeper.refresh()
    outcomes = [look.outcome for look in looks]
    assert outcomes == ["renewed", "unchanged", "invalid", "invalid", "unchanged"]
    assert looks[2].message == looks[3].message
    assert keeper.age_s == 0
    assert keeper.directory is served
    assert [path.suffix for path in (tmp_path / "state").iterdir()] == [".snapshot"]
    await keeper.close()


@pytest.mark.parametrize("url", ["ftp://a.example/s", "http:///s", "snapshot.json", "https://user:pw@a.example/s"])
def test_a_url_that_cannot_be_used_is_a_configuration_error_without_the_url(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpSource(url)
    assert "pw" not in str(caught.value).replace("password", "")


def test_the_name_of_a_source_holds_no_secret() -> None:
    assert HttpSource("https://a.example/s.json?key=hunter2#x").name == "https://a.example/s.json"


async def test_commands_fetch_the_snapshot_in_use_with_its_token(server: _Server) -> None:
    """If no file is named, as in a pod, then a command asks the worker's source as the worker does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await _whole(request) if request.headers.get("Authorization") == "Bearer opensesame" else _no(401)

    server.answer = answer
    checked = await _config_check(server.url, SENDAS_SNAPSHOT_TOKEN="opensesame")
    assert checked == (0, "version 1842: 1 accounts, 0 left out\n", "")
    status, out, err = await _config_check(server.url)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "the answer is 401" in err
    assert "hunter2" not in err


def _no(status: int) -> web.Response:
    return web.Response(status=status)


async def _config_check(url: str, **settings: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker", "config", "check",
        env={**os.environ, "PYTHONPATH": str(ROOT), "SENDAS_SNAPSHOT_URL": url, **settings},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
