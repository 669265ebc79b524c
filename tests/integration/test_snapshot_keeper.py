"""The keeper with real files, a real child process and a real HTTP server."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.documents import a_document, account_document, write
from worker.adapters.child_process import environment
from worker.adapters.snapshot import compiler_process
from worker.adapters.snapshot.cache_directory import StateDirectory
from worker.adapters.snapshot.compiler import Task
from worker.adapters.snapshot.compiler_process import CompilationFailed, compile_in_child
from worker.adapters.snapshot.file_source import Document, FileSource, Source, Unchanged
from worker.adapters.snapshot.refresher import Refresh, RefreshOutcome, Schedule, SnapshotRefresher
from worker.delivery.ports import SnapshotService
from worker.errors import Unavailable

ONLY_WHEN_ASKED = Schedule(interval_s=3_600, first_interval_s=3_600, min_pause_s=0)


@dataclass
class _Clock:
    time: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@dataclass
class _Looks:
    """Remembers the looks, and wakes who waits for one."""

    seen: list[Refresh] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, look: Refresh) -> None:
        self.seen.append(look)
        self.changed.set()

    async def until(self, condition: Callable[[Refresh], bool]) -> Refresh:
        """The first look from now on or so far that meets the condition; each is returned once at most."""
        async with asyncio.timeout(30):
            while True:
                while self.seen:
                    look = self.seen.pop(0)
                    if condition(look):
                        return look
                self.changed.clear()
                await self.changed.wait()

    async def next(self) -> Refresh:
        return await self.until(lambda _: True)


class _OneThatIsAsked:
    """A source of a file's contents that counts, and can be held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fetches = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.error: Exception | None = None
        self.asked = asyncio.Event()

    @property
    def name(self) -> str:
        return self.path.as_uri()

    async def fetch(self, tag: str | None, unfinished: Path) -> Document | Unchanged:
        self.fetches += 1
        self.asked.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return Document(self.path, None)

    async def changes(self) -> AsyncIterator[None]:
        return
        yield

    async def close(self) -> None:
        pass


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A valid document of version 1842, alone in its directory."""
    (tmp_path / "mounted").mkdir()
    return write(tmp_path / "mounted" / "snapshot.json", a_document())


@dataclass
class _Kept:
    """Makes keepers over one state directory, and closes them."""

    state: Path
    clock: _Clock = field(default_factory=_Clock)
    keepers: list[SnapshotRefresher] = field(default_factory=list)

    async def start(
        self, source: Source, schedule: Schedule = ONLY_WHEN_ASKED, clock: _Clock | None = None
    ) -> tuple[SnapshotRefresher, _Looks]:
        looks = _Looks()
        keeper = SnapshotRefresher(source, self.state, clock or self.clock, looks, schedule)
        self.keepers.append(keeper)
        await keeper.start()
        return keeper, looks


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[_Kept]:
    made = _Kept(tmp_path / "state")
    yield made
    for keeper in made.keepers:
        await keeper.close()


async def test_the_first_snapshot_is_awaited_and_then_served(kept: _Kept, document: Path) -> None:
    source = _OneThatIsAsked(document)
    source.go_on.clear()
    keeper, looks = await kept.start(source)
    service: SnapshotService = keeper  # the port's type, which mypy holds it to
    assert not keeper.is_ready
    assert (keeper.version, keeper.age_s, keeper.left_out) == (None, None, 0)
    with pytest.raises(Unavailable):
        _ = service.directory
    source.go_on.set()
    async with asyncio.timeout(30):
        await keeper.wait_until_ready()
    assert (await looks.next()).outcome is RefreshOutcome.RENEWED
    assert keeper.directory.account("acme") is not None
    assert (keeper.version, keeper.age_s) == (1842, 0)


async def test_after_a_restart_the_last_good_one_is_served_at_once_with_its_age(kept: _Kept, document: Path) -> None:
    _, looks = await kept.start(FileSource(document))
    await looks.next()
    await asyncio.to_thread(document.unlink)
    later = _Clock(kept.clock.time + timedelta(minutes=7))
    keeper, looks = await kept.start(FileSource(document), clock=later)
    assert keeper.is_ready
    assert keeper.version == 1842
    assert keeper.age_s == 420
    assert (await looks.next()).outcome is RefreshOutcome.UNAVAILABLE
    assert keeper.age_s == 420


async def test_the_last_good_one_of_another_source_is_not_served(kept: _Kept, document: Path, tmp_path: Path) -> None:
    _, looks = await kept.start(FileSource(document))
    await looks.next()
    keeper, looks = await kept.start(FileSource(tmp_path / "elsewhere.json"))
    assert not keeper.is_ready


async def test_a_damaged_last_good_one_is_not_served_but_compiled_again(kept: _Kept, document: Path) -> None:
    keeper, looks = await kept.start(FileSource(document))
    await looks.next()
    content = bytearray(keeper.directory.path.read_bytes())
    content[len(content) // 2] ^= 1
    keeper.directory.path.write_bytes(content)
    source = _OneThatIsAsked(document)
    source.go_on.clear()
    keeper, looks = await kept.start(source)
    assert not keeper.is_ready
    source.go_on.set()
    assert (await looks.next()).outcome is RefreshOutcome.RENEWED


async def test_a_refused_document_leaves_the_last_good_one_in_use_and_says_why(kept: _Kept, document: Path) -> None:
    source = _OneThatIsAsked(document)
    keeper, looks = await kept.start(source)
    await looks.next()
    before = keeper.directory
    kept.clock.time += timedelta(seconds=30)
    for content, outcome in [
        ("{", RefreshOutcome.UNREADABLE),
        (a_document(version=1), RefreshOutcome.OLDER),
        (a_document(schema="x"), RefreshOutcome.WRONG_SCHEMA),
        (a_document(platform=None), RefreshOutcome.INVALID),
    ]:
        write(document, content)
        await keeper.refresh()
        look = await looks.next()
        assert look.outcome is outcome
        assert look.message
        assert look.version == 1842
        assert keeper.directory is before
        assert keeper.age_s == 30


async def test_left_out_accounts_are_counted_and_named_to_the_observer(kept: _Kept, document: Path) -> None:
    write(document, a_document(account_document("good"), account_document("bad", plan="gold")))
    keeper, looks = await kept.start(FileSource(document))
    look = await looks.next()
    assert (look.outcome, look.accounts, look.left_out) == (RefreshOutcome.RENEWED, 2, 1)
    assert [str(problem) for problem in look.problems] == ["account bad: plan: should be 'free', 'paid' or 'premium'"]
    assert keeper.left_out == 1


async def test_a_hundred_concurrent_refreshes_share_one_look(kept: _Kept, document: Path) -> None:
    source = _OneThatIsAsked(document)
    keeper, looks = await kept.start(source)
    await looks.next()
    await asyncio.gather(*(keeper.refresh() for _ in range(100)))
    assert source.fetches == 2


async def test_who_asks_during_a_look_gets_one_that_begins_later(kept: _Kept, document: Path) -> None:
    source = _OneThatIsAsked(document)
    keeper, looks = await kept.start(source)
    await looks.next()
    source.go_on.clear()
    source.asked.clear()
    first = asyncio.create_task(keeper.refresh())
    await source.asked.wait()
    during = [asyncio.create_task(keeper.refresh()) for _ in range(10)]
    await asyncio.sleep(0)
    source.go_on.set()
    await asyncio.gather(first, *during)
    assert source.fetches == 3


async def test_one_caller_that_gives_up_takes_the_look_from_nobody_else(kept: _Kept, document: Path) -> None:
    keeper, looks = await kept.start(_OneThatIsAsked(document))
    await looks.next()
    impatient, patient = [asyncio.create_task(keeper.refresh()) for _ in range(2)]
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert not patient.cancelled()


@pytest.mark.parametrize("error", [Unavailable("no answer"), OSError(28, "No space left on device"), KeyError("x")])
async def test_refresh_never_raises_whatever_happens(kept: _Kept, document: Path, error: Exception) -> None:
    source = _OneThatIsAsked(document)
    keeper, looks = await kept.start(source)
    await looks.next()
    source.error = error
    await keeper.refresh()
    assert (await looks.next()).outcome in (RefreshOutcome.UNAVAILABLE, RefreshOutcome.FAILED)
    source.error = None
    await keeper.refresh()
    assert (await looks.next()).outcome is RefreshOutcome.UNCHANGED


async def test_refresh_returns_when_the_keeper_closes_meanwhile_or_is_closed(kept: _Kept, document: Path) -> None:
    source = _OneThatIsAsked(document)
    keeper, looks = await kept.start(source)
    await looks.next()
    source.go_on.clear()
    source.asked.clear()
    waiting = [asyncio.create_task(keeper.refresh()) for _ in range(2)]
    await source.asked.wait()
    waiting.append(asyncio.create_task(keeper.refresh()))
    await asyncio.sleep(0)
    await keeper.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
        await keeper.refresh()
    assert keeper.directory.account("acme") is not None


async def test_the_source_is_asked_again_on_the_interval(kept: _Kept, document: Path) -> None:
    schedule = Schedule(interval_s=0.01, first_interval_s=0.01, min_pause_s=0)
    _, looks = await kept.start(_OneThatIsAsked(document), schedule)
    for _ in range(3):
        await looks.next()


async def test_a_symlink_swap_as_kubernetes_does_it_is_seen(kept: _Kept, tmp_path: Path) -> None:
    mount = tmp_path / "volume"
    for number in (1, 2):
        (mount / f"..{number}").mkdir(parents=True)
        write(mount / f"..{number}" / "snapshot.json", a_document(version=number))
    (mount / "..data").symlink_to("..1")
    (mount / "snapshot.json").symlink_to("..data/snapshot.json")
    _, looks = await kept.start(FileSource(mount / "snapshot.json"), Schedule(interval_s=3_600, min_pause_s=0))
    assert (await looks.next()).version == 1
    await _touched_until_seen(mount, looks)
    (mount / "..data_tmp").symlink_to("..2")
    (mount / "..data_tmp").rename(mount / "..data")
    assert (await looks.until(lambda look: look.outcome is RefreshOutcome.RENEWED)).version == 2


async def test_a_half_written_file_is_refused_and_read_again_when_it_is_complete(kept: _Kept, document: Path) -> None:
    keeper, looks = await kept.start(FileSource(document), Schedule(interval_s=3_600, min_pause_s=0))
    await looks.next()
    await _touched_until_seen(document.parent, looks)
    text = json.dumps(a_document(version=1843))
    write(document, text[:100])
    await looks.until(lambda look: look.outcome is RefreshOutcome.UNREADABLE)
    assert keeper.version == 1842
    write(document, text)
    assert (await looks.until(lambda look: look.outcome is RefreshOutcome.RENEWED)).version == 1843


async def _touched_until_seen(directory: Path, looks: _Looks) -> None:
    """Return when the directory is being watched, which begins in a thread of its own at some time."""
    async with asyncio.timeout(30):
        while not looks.seen:
            (directory / "unrelated").touch()
            looks.changed.clear()
            try:
                async with asyncio.timeout(0.5):
                    await looks.changed.wait()
            except TimeoutError:
                continue


async def test_the_event_loop_turns_while_a_document_is_compiled(kept: _Kept, document: Path) -> None:
    write(document, a_document(*(account_document(f"a{i}") for i in range(1_500))))
    keeper, looks = await kept.start(FileSource(document))
    turns, busiest_s, before_s = 0, 0.0, time.thread_time()
    while not looks.seen:
        await asyncio.sleep(0.001)
        turns += 1
        # What this thread itself computes between two turns: unlike the time that passes, it does not depend on
        # what else the machine is busy with.
        now_s = time.thread_time()
        busiest_s, before_s = max(busiest_s, now_s - before_s), now_s
    assert turns > 50
    assert busiest_s < 0.05
    assert keeper.directory.accounts == 1_500


async def test_a_killed_compiler_is_a_failure_that_passes(
    kept: _Kept, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import json, os, sys; open(json.loads(sys.argv[1])['unfinished'], 'w'); os.kill(os.getpid(), 9)"
    monkeypatch.setattr(compiler_process, "_COMMAND", (sys.executable, "-c", program))
    keeper, looks = await kept.start(FileSource(document))
    look = await looks.next()
    assert (look.outcome, look.message) == (RefreshOutcome.FAILED, "the compiler ended with status -9")
    assert list(kept.state.iterdir()) == []
    monkeypatch.undo()
    await keeper.refresh()
    assert (await looks.next()).outcome is RefreshOutcome.RENEWED


async def test_what_a_crashed_compiler_says_is_repeated_only_by_its_kind(
    tmp_path: Path, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler_process, "_COMMAND", (sys.executable, "-c", "raise MemoryError('hunter2')"))
    with pytest.raises(CompilationFailed) as caught:
        await compile_in_child(document, StateDirectory(tmp_path / "state", "x"), None, 30)
    assert str(caught.value) == "the compiler ended with status 1 MemoryError"


@pytest.mark.parametrize("how", ["timeout", "close"])
async def test_the_child_is_ended_when_it_takes_too_long_or_the_keeper_closes(
    kept: _Kept, document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    pid_file = tmp_path / "pid"
    program = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    monkeypatch.setattr(compiler_process, "_COMMAND", (sys.executable, "-c", program))
    timeout_s = 2.0 if how == "timeout" else 600.0
    keeper, looks = await kept.start(FileSource(document), Schedule(compile_timeout_s=timeout_s))
    if how == "timeout":
        assert (await looks.next()).message == "the compiler took longer than 2 s"
    else:
        while not (pid_file.exists() and pid_file.read_text()):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        await keeper.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_the_child_does_not_see_the_workers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDAS_SOMETHING", "secret")
    monkeypatch.setenv("MAILBOX_PASSWORD", "secret")
    assert "secret" not in environment().values()


def test_a_full_disk_is_reported_and_nothing_is_left_behind(tmp_path: Path, document: Path) -> None:
    write(document, a_document(*(account_document(f"a{i}") for i in range(500))))
    state = StateDirectory(tmp_path / "state", "x")
    unfinished = state.unfinished()
    task = Task(document=document, state_directory=state.path, source="x", unfinished=unfinished, in_use=None)
    limited = ["/bin/sh", "-c", 'ulimit -f 100; exec "$@"', "sh", *compiler_process._COMMAND, task.model_dump_json()]
    done = subprocess.run(limited, capture_output=True, check=True, env=environment(), timeout=60)
    report = json.loads(done.stdout)
    assert report["path"] is None
    assert report["failure"]
    assert list((tmp_path / "state").iterdir()) == []


async def test_workers_that_share_a_state_directory_do_each_other_no_harm(kept: _Kept, document: Path) -> None:
    started = [await kept.start(_OneThatIsAsked(document)) for _ in range(3)]
    for _, looks in started:
        assert (await looks.next()).version == 1842
    write(document, a_document(version=1843))
    await asyncio.gather(*(keeper.refresh() for keeper, _ in started))
    for keeper, _ in started:
        assert keeper.version == 1843
        assert keeper.directory.account("acme") is not None
    assert len(list(kept.state.iterdir())) == 1
