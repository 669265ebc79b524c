"""The workers of a run: real processes, ended and frozen by force, and started again as Kubernetes would."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child, ServerError
from stack.tool import run

_ROOT = Path(__file__).parents[1]
_COMMAND = (sys.executable, "-m", "worker")
_LOOK_S = 0.5
_GRACE_S = 20.0
_READINESS = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {**settings, "PYTHONPATH": str(_ROOT), "HOME": os.environ.get("HOME", "/")}


async def sendas(settings: Mapping[str, str], *arguments: str) -> str:
    """Run a command of the product to its end; returns what it printed. Raises ServerError when it fails."""
    return await run([*_COMMAND, *arguments], env=_environment(settings))


class Worker:
    """One worker process, with a directory of its own."""

    def __init__(self, number: int, directory: Path, settings: Mapping[str, str]) -> None:
        directory.mkdir()
        [http_port] = free_ports(1)
        own = {"SENDAS_STATE_DIR": str(directory), "SENDAS_HTTP_PORT": str(http_port), "SENDAS_HTTP_HOST": "127.0.0.1"}
        self.http_port = http_port
        self.log = directory / "worker.log"
        self.ends: list[int] = []
        """Exit codes of the times when it ended by itself."""
        self._child = Child(
            f"worker {number}",
            [*_COMMAND, "run"],
            log=self.log,
            cwd=_ROOT,
            env=_environment({**settings, **own}),
        )
        self._is_wanted = False
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Start; whether it is ready is its own affair."""
        async with self._lock:
            self._is_wanted = True
            await self._child.start(_at_once)

    async def is_ready(self) -> bool:
        """Whether it takes events, as its own probe says."""
        return await greets(self.http_port, b"HTTP/1.1 200", hello=_READINESS)

    async def kill(self) -> None:
        """SIGKILL."""
        async with self._lock:
            self._is_wanted = False
            await self._child.kill()

    async def stop(self) -> None:
        """SIGTERM, and time to finish what is in flight."""
        async with self._lock:
            self._is_wanted = False
            await self._child.stop(timeout_s=_GRACE_S)

    def freeze(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay open."""
        with suppress(ProcessLookupError, ServerError):  # it may have ended by itself
            self._child.suspend()

    def thaw(self) -> None:
        """SIGCONT: it goes on as if no time had passed."""
        with suppress(ProcessLookupError, ServerError):  # it may have ended by itself
            self._child.resume()

    async def keep(self) -> None:
        """Start it again whenever it ends by itself, and remember that it did; until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            async with self._lock:
                if self._is_wanted and (code := self._child.exit_code) is not None:
                    self.ends.append(code)
                    await self._child.kill()
                    await self._child.start(_at_once)


async def _at_once() -> bool:
    return True
