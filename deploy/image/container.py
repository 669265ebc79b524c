"""A process of the image: read-only root, the image's own user, process 1 of its own namespace."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deploy.image.building import Image
from stack import ServerError

ENTER = Path(__file__).with_name("enter.py")


@dataclass(frozen=True)
class Container:
    """How the image's commands are run: settings, and files of this machine by their paths inside."""

    image: Image
    root: Path
    settings: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)

    async def start(self, log: Path) -> "Running":
        """Start the image's entry point with its default command; what it writes goes to the end of a file."""
        with log.open("ab") as file:
            return await self._start([*self.image.config["Entrypoint"], *self.image.config["Cmd"]], file)

    async def run(self, *arguments: str) -> str:
        """Run the entry point to its end, and return what it printed. Raises ServerError when it fails."""
        return await self.execute([*self.image.config["Entrypoint"], *arguments])

    async def execute(self, argv: Sequence[str]) -> str:
        """Run another command of the image, as its health check is. Raises ServerError when it fails."""
        return await (await self._start(argv, asyncio.subprocess.PIPE)).finished()

    async def _start(self, argv: Sequence[str], output: int | IO[bytes]) -> "Running":
        uid, gid = self.image.user
        spec = {
            "root": str(self.root),
            "argv": list(argv),
            "env": {**self.image.env, "HOME": "/", **self.settings},
            "directory": self.image.config["WorkingDir"],
            "uid": uid,
            "gid": gid,
            "volumes": list(self.image.config["Volumes"]),
            "files": {"/etc/hosts": "/etc/hosts", "/etc/resolv.conf": "/etc/resolv.conf", **self.files},
        }
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--"),
            *(sys.executable, "-I", str(ENTER), json.dumps(spec)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return Running(process)


class Running:
    """A process of the image that was started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def has_ended(self) -> bool:
        """True when it does not run any more."""
        return self._process.returncode is not None

    @property
    def pid(self) -> int:
        """The process's number on this machine (inside it is 1), once it has shown that it runs."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def status(self, name: str) -> str:
        """One line of the process's status, proc(5)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    async def finished(self) -> str:
        """What it printed, once it has ended. Raises ServerError when it did not end with 0."""
        output, _ = await self._process.communicate()
        text = output.decode(errors="replace") if output else ""
        if self._process.returncode:
            raise ServerError(f"ended with {self._process.returncode}\n{text}")
        return text

    def terminate(self) -> None:
        """Send SIGTERM, as a cluster does."""
        os.kill(self.pid, signal.SIGTERM)

    async def ended(self, *, timeout_s: float) -> int:
        """The exit status. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()  # and with it, by --kill-child, the process inside
            await self._process.wait()
