"""What every file store does: the double and the real one pass the same tests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.doubles.files import MemoryFileStore
from tests.integration.web_server import answering, session, web_server
from worker.adapters.network.files import HttpFileStore
from worker.delivery.ports import FileStore
from worker.domain.events.models import File
from worker.errors import FileUnavailable

CONTENT = bytes(range(256)) * 1_000


def file(url: str) -> File:
    return File(name="смета.pdf", content_type="application/pdf", size=len(CONTENT), url=url, link=url)


@dataclass
class Stored:
    """A store, and the files that it has and has not."""

    store: FileStore
    present: File
    missing: File
    out_of_order: File


@pytest.fixture(params=["memory", "http"])
async def stored(request: pytest.FixtureRequest) -> AsyncIterator[Stored]:
    if request.param == "memory":
        store = MemoryFileStore({"https://f.example/a": CONTENT, "https://f.example/c": None})
        yield Stored(store, *(file(f"https://f.example/{name}") for name in "abc"))
        return
    handlers = {"/a": answering(CONTENT), "/c": answering(status=503)}
    async with web_server(handlers) as port, session() as guarded:
        yield Stored(HttpFileStore(guarded), *(file(f"https://web.example:{port}/{name}") for name in "abc"))


async def test_a_file_comes_byte_for_byte(stored: Stored) -> None:
    assert await stored.store.fetch(stored.present, max_bytes=len(CONTENT)) == CONTENT


async def test_a_file_of_one_byte_too_many_is_refused_for_good(stored: Stored) -> None:
    with pytest.raises(FileUnavailable) as caught:
        await stored.store.fetch(stored.present, max_bytes=len(CONTENT) - 1)
    assert caught.value.is_permanent


async def test_a_missing_file_is_missing_for_good(stored: Stored) -> None:
    with pytest.raises(FileUnavailable) as caught:
        await stored.store.fetch(stored.missing, max_bytes=len(CONTENT))
    assert caught.value.is_permanent


async def test_a_server_out_of_order_may_come_back(stored: Stored) -> None:
    with pytest.raises(FileUnavailable) as caught:
        await stored.store.fetch(stored.out_of_order, max_bytes=len(CONTENT))
    assert not caught.value.is_permanent
