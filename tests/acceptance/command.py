"""The installed command `sendas` as a process: started, heard line by line, told to stop."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SENDAS = Path(sys.executable).with_name("sendas")
PATIENCE_S = 60.0

_A_FEW = asyncio.Semaphore(3)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    output: str
    errors: str


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """No setting of the caller's own gets through."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SENDAS_")}
    return {**inherited, "MALLOC_MMAP_THRESHOLD_": "1048576", **settings}  # as in the image


async def sendas(*arguments: str | Path, settings: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end; a few at a time, however many are asked for at once."""
    async with _A_FEW:
        return await _sendas(*arguments, settings=settings or {})


async def _sendas(*arguments: str | Path, settings: Mapping[str, str]) -> Ended:
    process = await asyncio.create_subprocess_exec(
        SENDAS,
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(settings),
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, errors = await process.communicate()
    except BaseException:
        await _killed(process)
        raise
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


class RunningWorker:
    """A `sendas run` and what it has said so far, one JSON object a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._news = asyncio.Condition()
        self.lines: list[str] = []
        self.port: int | None = None

    async def listen(self) -> None:
        """Take what it says, until it ends."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            async with self._news:
                self.lines.append(line.decode().rstrip())
                self._news.notify_all()

    async def says(self, event: str) -> Any:
        """Wait until it has logged the event; gives its fields."""
        found: list[Any] = []

        def is_said() -> bool:
            found[:] = [said for said in self.said() if said.get("event") == event]
            return bool(found)

        await self._wait(is_said, f"the worker never said {event}")
        return found[0]

    async def _wait(self, is_there: Callable[[], bool], complaint: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S), self._news:
                await self._news.wait_for(is_there)
        except TimeoutError:
            raise AssertionError(complaint + ":\n" + "\n".join(self.lines[-30:])) from None

    def said(self) -> list[Any]:
        """Everything it has logged."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    @property
    def has_ended(self) -> bool:
        """True when it does not run any more."""
        return self._process.returncode is not None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; gives the exit status."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()

    async def stop(self) -> None:
        """Tell it to stop, as an orchestrator would; fails unless it ends with 0."""
        self.send(signal.SIGTERM)
        status = await self.ended()
        assert status == 0, "\n".join(self.lines[-30:])


@asynccontextmanager
async def running_worker(
    settings: Mapping[str, str],
    *,
    until: str = "worker.started",
    command: tuple[str, ...] = ("run",),
    starting: str = "worker.starting",
) -> AsyncIterator[RunningWorker]:
    """A worker, or another command that goes on until SIGTERM, while the context lasts, which begins when it has logged
    `until`.
    """
    process = await asyncio.create_subprocess_exec(
        SENDAS,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(settings),
        limit=2**20,
    )
    worker = RunningWorker(process)
    listening = asyncio.create_task(worker.listen())
    try:
        worker.port = (await worker.says(starting))["http_port"]
        await worker.says(until)
        yield worker
    finally:
        await _killed(process)
        await listening


async def _killed(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
