"""A server as a supervised child process: started, probed until ready, stopped with its own children."""

import asyncio
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_POLL_INTERVAL_S = 0.02
_LOG_TAIL_LINES = 25


class ServerError(Exception):
    """A server or one of its tools failed; the text ends with the last lines of its log."""


class Child:
    """One server process, leader of its own session and process group.

    Its own group shields it from a terminal's Ctrl-C, so that `stop` ends servers in order. If this process is killed
    outright, the kernel sends the child its end signal (PR_SET_PDEATHSIG). That is tied to the thread that started the
    child: start children from the main thread only.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        end_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self._argv = [*setpriv(end_signal, user), *argv]
        self._log = log
        self._cwd = cwd
        # Identifies children that create sessions of their own, as Erlang's do.
        self._mark = f"STACK_CHILD={secrets.token_hex(8)}"
        inherited = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        self._env = {**inherited, **(env or {}), "STACK_CHILD": self._mark.partition("=")[2]}
        self._end_signal = end_signal
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, also the process group's id; None before the start and after the end."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs, and before the start."""
        return self._process.returncode if self._process else None

    async def start(self, is_ready: Callable[[], Awaitable[bool]], *, timeout_s: float = 60) -> None:
        """Start the process; returns when `is_ready` does.

        Raises ServerError if the process exits first, or after `timeout_s`.
        """
        if self._process is not None:
            raise ServerError(f"{self.name} runs already")
        with self._log.open("ab") as log:
            self._process = await spawned(
                *self._argv,
                mark=self._mark,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self._cwd,
                env=self._env,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(timeout_s):
                await self._wait_until(is_ready)
        except TimeoutError:
            await self.kill()
            raise ServerError(f"{self.name} was not ready after {timeout_s:g} s\n{self.log_tail()}") from None
        except BaseException:
            await self.kill()
            raise

    async def _wait_until(self, is_ready: Callable[[], Awaitable[bool]]) -> None:
        process = self._running()
        while not await is_ready():
            if process.returncode is not None:
                raise ServerError(f"{self.name} ended with {process.returncode}\n{self.log_tail()}")
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def stop(self, *, timeout_s: float = 15) -> None:
        """Stop the process in its own way, then kill what is left of its group; no effect if it is not running."""
        if self._process is None:
            return
        if self._process.returncode is None:
            # Not Process.send_signal: it may reap the child before the event loop's watcher does.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGCONT)
                os.kill(self._process.pid, self._end_signal)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """Kill the process and its group at once, like a power cut; no effect if it is not running."""
        if (process := self._process) is None:
            return
        await end_group(process.pid, self._mark)
        await process.wait()  # another task may be killing it too
        self._process = None

    def suspend(self) -> None:
        """Freeze the whole group: connections stay open and nothing answers."""
        os.killpg(self._running().pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a suspended group."""
        os.killpg(self._running().pid, signal.SIGCONT)

    def log_tail(self) -> str:
        """The last lines the server wrote."""
        return tail(self._log)

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise ServerError(f"{self.name} does not run")
        return self._process


def setpriv(end_signal: signal.Signals, user: str | None) -> list[str]:
    """Prefix a command so that it receives `end_signal` when its parent dies, and runs as `user`."""
    identity = ["--reuid", user, "--regid", user, "--init-groups"] if user else []
    return ["setpriv", "--pdeathsig", end_signal.name.removeprefix("SIG"), *identity, "--"]


def tail(log: Path) -> str:
    """The last lines of a log file, headed by its path."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"--- {log}", *lines[-_LOG_TAIL_LINES:]])


async def spawned(*argv: str, mark: str | None = None, **options: Any) -> asyncio.subprocess.Process:
    """Start a process. If cancelled midway, everything started has ended by the time it raises."""
    starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*argv, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        await end_group(process.pid, mark)
        await process.wait()
        raise


async def end_group(group: int, mark: str | None = None) -> None:
    """Kill every member of a group (see `_members`), and return when none is alive."""
    while members := _members(group, mark):
        for member in members:
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        await asyncio.sleep(_POLL_INTERVAL_S)


def _members(group: int, mark: str | None) -> list[int]:
    """Living processes of a group, and those that left it but carry the mark in their environment.

    Excludes zombies: in a container, nothing may reap them.
    """
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # proc(5): the name in parentheses may contain spaces; state, parent and group follow it.
            state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            is_marked = mark is not None and mark.encode() in (entry / "environ").read_bytes()
            is_member = int(pgrp) == group or is_marked
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if is_member and state != "Z":
            members.append(int(entry.name))
    return members
