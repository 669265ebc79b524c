"""A file as the source of documents."""

import os
import time
from pathlib import Path

import pytest

from worker.adapters.snapshot.cache_directory import StateDirectory
from worker.adapters.snapshot.file_source import Document, FileSource, Unchanged, is_compiled_file
from worker.adapters.snapshot.problems import Refusal, RefusedDocument
from worker.errors import Unavailable

HOUR_S = 3_600


def _document(tmp_path: Path, content: str = "{}") -> Path:
    path = tmp_path / "snapshot.json"
    path.write_text(content)
    return path


def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.time()
    monkeypatch.setattr("time.time", lambda: now_s + HOUR_S)


async def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FileSource(_document(tmp_path))
    _later(monkeypatch)
    first = await source.fetch(None, tmp_path)
    assert isinstance(first, Document)
    assert await source.fetch(first.tag, tmp_path) == Unchanged()


async def test_a_file_of_the_same_size_and_time_but_replaced_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _document(tmp_path, "{}")
    source = FileSource(path)
    _later(monkeypatch)
    first = await source.fetch(None, tmp_path)
    assert isinstance(first, Document)
    replacement = tmp_path / "other"
    replacement.write_text("[]")
    os.utime(replacement, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    replacement.replace(path)
    assert isinstance(await source.fetch(first.tag, tmp_path), Document)


async def test_a_file_just_written_has_no_tag_as_it_may_change_within_the_same_tick(tmp_path: Path) -> None:
    found = await FileSource(_document(tmp_path)).fetch(None, tmp_path)
    assert found == Document(tmp_path / "snapshot.json", None)


async def test_a_file_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"nothing\.json: No such file"):
        await FileSource(tmp_path / "nothing.json").fetch(None, tmp_path)


async def test_a_file_larger_than_allowed_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(RefusedDocument) as caught:
        await FileSource(_document(tmp_path, "x" * 101), max_bytes=100).fetch(None, tmp_path)
    assert caught.value.refusal is Refusal.TOO_LARGE


def test_own_files_beside_the_document_are_no_change_of_it(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path, "x")
    unfinished = state.unfinished()
    unfinished.touch()
    assert is_compiled_file(str(unfinished))
    assert is_compiled_file(str(state.install(unfinished, 1, "0" * 64)))
    assert not is_compiled_file(str(tmp_path / "snapshot.json"))
    assert not is_compiled_file(str(tmp_path / "..data"))
