"""A command as a process whose time and memory are measured.

Linux counts the memory of whoever starts a process as that process's own peak, so a small one starts it.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LAUNCHER = """
import json, resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as report:
    json.dump([status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss], report)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """How a command ended: its exit status (negative: the signal), standard output, seconds, and peak memory in MB."""

    status: int
    output: bytes
    seconds: float
    max_rss_mb: float


class MeasuredProcess:
    """Starts a command at once; its standard output goes into a file in `directory`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        self._output = directory / "output"
        self._report = directory / "report.json"
        self._began_s = time.monotonic()
        with self._output.open("wb") as output:
            self._launcher = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(self._report), *arguments],
                stdout=output,
                env={**os.environ, **environment},
            )

    def send_signal(self, number: int) -> None:
        """Send a signal to the command itself."""
        pid = self._launcher.pid
        os.kill(int(Path(f"/proc/{pid}/task/{pid}/children").read_text()), number)

    async def end(self, timeout_s: float) -> Measured:
        """Wait for its end."""
        await asyncio.wait_for(asyncio.to_thread(self._launcher.wait), timeout_s)
        seconds = time.monotonic() - self._began_s
        status, max_rss_kb = json.loads(self._report.read_text())
        return Measured(status, self._output.read_bytes(), seconds, max_rss_kb / 1024)
