"""Prometheus: a private server that scrapes given targets and answers queries."""

import json
import urllib.error
import urllib.parse
import urllib.request
from asyncio import to_thread
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child, ServerError


class Prometheus:
    """A private Prometheus. `targets` maps job names to ports to scrape; `rules` are its rule files."""

    def __init__(
        self,
        directory: Path,
        targets: Mapping[str, Sequence[int]],
        *,
        rules: Sequence[Path] = (),
        interval_s: float = 1.0,
    ) -> None:
        directory.mkdir(parents=True)
        [self.port] = free_ports(1)
        configuration = directory / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(_configuration(targets, rules, interval_s)))
        self._child = Child(
            "prometheus",
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=warn",
            ],
            log=directory / "prometheus.log",
            cwd=directory,
        )

    async def start(self) -> None:
        """Start, or restart with the same data and port."""
        await self._child.start(self._is_ready)

    async def _is_ready(self) -> bool:
        return await greets(self.port, b"HTTP/1.0 200", hello=b"GET /-/ready HTTP/1.0\r\n\r\n")

    async def stop(self) -> None:
        """Shut down cleanly."""
        await self._child.stop()

    async def get(self, path: str, **parameters: str | float) -> Any:
        """`data` of a response of its HTTP API. Raises ServerError with its error text if it refuses."""
        return await to_thread(self._get, path, parameters)

    def _get(self, path: str, parameters: Mapping[str, str | float]) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ServerError(f"prometheus: {parameters}: {error.read().decode()[:500]}") from None

    async def query(self, expression: str, **parameters: str | float) -> list[Any]:
        """The result of an instant query, at `time` or now."""
        return list((await self.get("query", query=expression, **parameters))["result"])

    async def query_range(self, expression: str, start: float, end: float, step_s: float) -> list[Any]:
        """The result of a range query."""
        answer = await self.get("query_range", query=expression, start=start, end=end, step=step_s)
        return list(answer["result"])


def _configuration(targets: Mapping[str, Sequence[int]], rules: Sequence[Path], interval_s: float) -> dict[str, object]:
    interval = f"{round(interval_s * 1_000)}ms"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            for job, ports in targets.items()
        ],
    }
