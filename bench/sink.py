"""Postfix's smtp-sink: accepts letters, counts them and forgets them. It is written in C and hardly costs anything."""

from pathlib import Path

from bench.counting import last_number
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child

_BACKLOG = 1_024


class Sink:
    """A mail server in plain text without sign-in, with PIPELINING and 8BITMIME."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        [self.port] = free_ports(1)
        self._log = directory / "sink.log"
        address = f"127.0.0.1:{self.port}"
        program = ["smtp-sink", "-u", "nobody", "-c", "-m", str(_BACKLOG), address, str(_BACKLOG)]
        # /usr/sbin is not on everybody's path.
        self._child = Child("smtp-sink", program, log=self._log, cwd=directory, env={"PATH": "/usr/sbin:/usr/bin:/bin"})

    def accepted(self) -> int:
        """How many letters it has accepted since its start."""
        return last_number(self._log)

    async def start(self) -> None:
        """Start."""
        await self._child.start(self._is_ready)

    async def _is_ready(self) -> bool:
        return await greets(self.port, b"220 ")

    async def stop(self) -> None:
        """Stop."""
        await self._child.stop()
