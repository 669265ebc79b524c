"""What a run of the demo leaves to be read, where it is told to: all that leaves a worker, at its most talkative."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from demo.installation import Installation
from demo.scenes import Json


class Keeping:
    """A directory for the worker's log, its metrics, all results, and the dead letters with their headers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.results: list[Json] = []
        directory.mkdir(parents=True, exist_ok=True)

    async def keep_metrics(self, installed: Installation) -> None:
        """What the running worker says of itself in numbers."""
        url = f"http://127.0.0.1:{installed.http_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            (self._directory / "metrics.txt").write_text(await response.text())

    def keep_the_rest(self, installed: Installation, dead: Sequence[str]) -> None:
        """What is whole when the worker has ended."""
        shutil.copy(installed.worker_log, self._directory / "worker.log")
        lines = [json.dumps(result, ensure_ascii=False) for result in self.results]
        (self._directory / "results.jsonl").write_text("\n".join(lines))
        (self._directory / "dead-letters.txt").write_text("\n".join(dead))
