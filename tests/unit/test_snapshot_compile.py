"""Compiling a document into the state directory, and what is served from it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.documents import a_document, account_document, write
from worker.adapters.snapshot import compiler as compiler
from worker.adapters.snapshot.cache_directory import StateDirectory, is_undamaged
from worker.adapters.snapshot.compiler import InUse, Report, Task, compile_document, run
from worker.adapters.snapshot.directory import CompiledDirectory, load_directory
from worker.adapters.snapshot.parser import read_document
from worker.adapters.snapshot.problems import Problem, Refusal, RefusedDocument
from worker.errors import InvalidSnapshot


def _compiled(tmp_path: Path, document: Any, in_use: InUse | None = None) -> CompiledDirectory:
    path = compile_document(
        write(tmp_path / "snapshot.json", document), StateDirectory(tmp_path / "state", "x"), in_use
    )
    assert path is not None
    return CompiledDirectory(path)


def _refused(tmp_path: Path, document: Any, in_use: InUse | None = None) -> RefusedDocument:
    with pytest.raises(RefusedDocument) as caught:
        _compiled(tmp_path, document, in_use)
    state = tmp_path / "state"
    assert [path for path in state.glob("*") if path.suffix != ".snapshot"] == []  # nothing unfinished stays behind
    return caught.value


def _in_use(directory: CompiledDirectory) -> InUse:
    return InUse(version=directory.version, generated_at=directory.generated_at, digest=directory.digest)


def test_one_bad_account_is_left_out_whole_and_named_and_the_others_are_served(tmp_path: Path) -> None:
    bad = account_document("bad")
    bad["mailboxes"].append({**bad["mailboxes"][0], "id": "second", "smtp": {**bad["mailboxes"][0]["smtp"], "port": 0}})
    directory = _compiled(tmp_path, a_document(account_document("good"), bad, account_document("also-good")))
    assert directory.account_ids() == ["also-good", "good"]
    assert directory.account("bad") is None
    assert directory.is_left_out("bad")
    assert (directory.accounts, directory.left_out) == (3, 1)
    message = "should be greater than or equal to 1"
    assert directory.problems() == [Problem("bad", "mailboxes[1].smtp.port", message)]


@pytest.mark.parametrize("is_second_valid", [True, False])
def test_an_id_that_stands_twice_leaves_both_out_as_nobody_can_tell_which_is_right(
    tmp_path: Path, is_second_valid: bool
) -> None:
    second = account_document("twin") if is_second_valid else {"id": "twin"}
    directory = _compiled(tmp_path, a_document(account_document("twin"), account_document("acme"), second))
    assert directory.account_ids() == ["acme"]
    assert directory.is_left_out("twin")
    assert directory.left_out == 1
    if is_second_valid:
        assert directory.problems() == [Problem("twin", "id", "stands more than once, again at accounts[2]")]


@pytest.mark.parametrize("nameless", [None, 5, [], {}, {"id": 5}, {"id": ""}, {"id": "a\nb"}, {"id": "\ud800"}])
def test_a_bad_account_without_a_usable_id_is_counted_and_named_by_its_position(tmp_path: Path, nameless: Any) -> None:
    document = json.dumps(a_document(account_document("acme"), nameless))
    directory = _compiled(tmp_path, document)
    assert directory.account_ids() == ["acme"]
    assert directory.left_out == 1
    problem = directory.problems()[0]
    assert problem.account_id is None
    assert problem.path.startswith("accounts[1]")


def test_an_account_nested_too_deeply_costs_only_itself(tmp_path: Path) -> None:
    deep = '{"id":"deep","x":' + "[" * 5_000 + "]" * 5_000 + "}"
    text = json.dumps(a_document(account_document("acme"))).replace('"accounts": [', f'"accounts": [{deep}, ')
    directory = _compiled(tmp_path, text)
    assert directory.account_ids() == ["acme"]
    assert "nested too deeply" in str(directory.problems()[0])


def test_unknown_extra_fields_are_ignored_everywhere(tmp_path: Path) -> None:
    directory = _compiled(tmp_path, a_document(account_document(colour="red"), colour="red", more={"x": [1]}))
    assert directory.left_out == 0


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert _compiled(tmp_path, b"\xef\xbb\xbf" + json.dumps(a_document()).encode()).left_out == 0


@pytest.mark.parametrize(
    ("document", "refusal", "message"),
    [
        (b"\xff\xfe{}", Refusal.UNREADABLE, "not UTF-8"),
        (json.dumps(a_document())[:-40], Refusal.UNREADABLE, "at character"),
        (a_document(schema="sendas.snapshot/v2"), Refusal.WRONG_SCHEMA, "sendas.snapshot/v1"),
        (a_document(version=-1), Refusal.INVALID, "version: should be greater than or equal to 0"),
        (a_document(version=2**63), Refusal.INVALID, "version: should be less than"),
        (a_document(platform={}), Refusal.INVALID, "platform.relay: is missing"),
        (a_document(generated_at="2026-11-23T09:00:00"), Refusal.INVALID, "generated_at"),
        ({"accounts": []}, Refusal.INVALID, "schema: is missing; version: is missing"),
    ],
)
def test_a_document_that_is_wrong_as_a_whole_is_refused_with_where_and_why(
    tmp_path: Path, document: Any, refusal: Refusal, message: str
) -> None:
    refused = _refused(tmp_path, document)
    assert refused.refusal is refusal
    assert message in str(refused)


def test_a_document_older_than_the_one_in_use_is_refused(tmp_path: Path) -> None:
    in_use = _in_use(_compiled(tmp_path, a_document(version=5)))
    assert _refused(tmp_path, a_document(version=4), in_use).refusal is Refusal.OLDER


def test_an_older_document_that_another_worker_compiled_once_is_refused_too(tmp_path: Path) -> None:
    _compiled(tmp_path, a_document(version=4))
    in_use = _in_use(_compiled(tmp_path, a_document(version=5)))
    assert _refused(tmp_path, a_document(version=4), in_use).refusal is Refusal.OLDER


def test_the_same_version_with_other_contents_is_taken_unless_it_was_made_earlier(tmp_path: Path) -> None:
    at_nine = "2026-11-23T09:00:00Z"
    in_use = _in_use(_compiled(tmp_path, a_document(generated_at=at_nine)))
    edited = a_document(account_document("new"), generated_at=at_nine)
    assert _compiled(tmp_path, edited, in_use).account_ids() == ["new"]
    stale = a_document(account_document("old"), generated_at="2026-11-23T08:59:59Z")
    assert _refused(tmp_path, stale, in_use).refusal is Refusal.OLDER


def test_the_document_in_use_is_not_compiled_again(tmp_path: Path) -> None:
    document = write(tmp_path / "snapshot.json", a_document())
    in_use = _in_use(_compiled(tmp_path, a_document()))
    assert compile_document(document, StateDirectory(tmp_path / "state", "x"), in_use) is None


def test_a_document_that_another_worker_compiled_is_used_as_it_is_unless_damaged(tmp_path: Path) -> None:
    first = _compiled(tmp_path, a_document()).path
    made_at = first.stat().st_ino
    assert _compiled(tmp_path, a_document()).path.stat().st_ino == made_at
    _flip_a_byte(first)
    again = _compiled(tmp_path, a_document())
    assert is_undamaged(again.path)
    assert again.account("acme") is not None


def test_a_document_that_is_written_to_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> Any:
        yield from read_document(*arguments)
        write(tmp_path / "snapshot.json", a_document(version=9_999))

    monkeypatch.setattr(compiler, "read_document", interrupted)
    refused = _refused(tmp_path, a_document())
    assert "changed while it was read" in str(refused)
    assert list((tmp_path / "state").glob("*.snapshot")) == []


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedDocument, match="regular file"):
        compile_document(tmp_path / "pipe", StateDirectory(tmp_path / "state", "x"))


def test_a_state_directory_that_cannot_be_written_is_a_failure_and_no_fault_of_the_document(tmp_path: Path) -> None:
    document = write(tmp_path / "snapshot.json", a_document())
    report = run(
        Task(
            document=document, state_directory=document / "s", source="x", unfinished=document / "s" / "u", in_use=None
        )
    )
    assert report == Report(failure="Not a directory")


def test_a_damaged_file_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    directory = _compiled(tmp_path, a_document(*(account_document(f"a{i}") for i in range(300))))
    assert directory.account("a0") is not None
    path = directory.path
    with path.open("r+b") as file:
        file.seek(16_384)
        file.write(b"\xff" * (path.stat().st_size - 16_384))
    damaged = CompiledDirectory.__new__(CompiledDirectory)
    with pytest.raises(InvalidSnapshot, match="not a compiled snapshot"):
        damaged.__init__(path)  # type: ignore[misc]
    assert directory.account("a299") is None
    assert directory.is_left_out("a299")
    assert directory.is_damaged


def test_the_parsed_accounts_that_are_kept_are_bounded_by_their_size(tmp_path: Path) -> None:
    path = _compiled(tmp_path, a_document(*(account_document(f"a{i}") for i in range(20)))).path
    size = len(json.dumps(account_document("a1")))
    directory = CompiledDirectory(path, cached_chars=3 * size)
    first = directory.account("a0")
    assert directory.account("a0") is first
    for number in range(1, 20):
        directory.account(f"a{number}")
    assert directory.account("a0") is not first
    assert directory.account("a0") == first


def test_a_directory_serves_on_after_its_file_is_removed(tmp_path: Path) -> None:
    directory = _compiled(tmp_path, a_document(*(account_document(f"a{i}") for i in range(100))))
    directory.path.unlink()
    assert all(directory.account(f"a{i}") is not None for i in range(100))


def test_what_is_superseded_is_removed_and_what_is_another_sources_or_newer_stays(tmp_path: Path) -> None:
    state, other = StateDirectory(tmp_path / "state", "x"), StateDirectory(tmp_path / "state", "y")
    document = tmp_path / "snapshot.json"
    old, used, new = [compile_document(write(document, a_document(version=v)), state) for v in (1, 2, 3)]
    foreign = compile_document(write(document, a_document(version=1)), other)
    abandoned = state.unfinished()
    abandoned.touch()
    os.utime(abandoned, (1, 1))
    busy = state.unfinished()
    busy.touch()
    assert used is not None
    state.clean(used)
    assert set((tmp_path / "state").iterdir()) == {used, new, foreign, busy}
    assert old is not None
    assert state.candidates() == [new, used]


def test_what_another_release_compiled_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDirectory(tmp_path / "state", "x")
    _compiled(tmp_path, a_document())
    assert len(state.candidates()) == 1
    monkeypatch.setattr("worker.adapters.snapshot.cache_directory.compiler_id", lambda _: "00000000")
    assert StateDirectory(tmp_path / "state", "x").candidates() == []


def test_a_command_loads_a_document_at_once_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    directory = load_directory(write(tmp_path / "snapshot.json", a_document()))
    assert directory.account("acme") is not None
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), ("[]", "'{' is expected")])
def test_a_command_is_told_which_document_cannot_be_loaded_and_why(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "snapshot.json"
    if content is not None:
        write(path, content)
    with pytest.raises(InvalidSnapshot, match=message) as caught:
        load_directory(path)
    assert str(path) in str(caught.value)


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
