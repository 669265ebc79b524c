"""Collects the status of this installation's workers from their health ports."""

import asyncio
import math
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 3.0
_MOST_BYTES = 8 * 1024 * 1024
_MOST_WORKERS = 200
_MOST_PROBLEMS = 20
_MOST_CHARS = 300


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker: `problems` from its `/readyz`, None when it does not answer."""

    name: str
    problems: Sequence[str] | None
    in_flight: int = 0
    oldest_s: float = 0.0

    @property
    def is_ready(self) -> bool:
        return self.problems is not None and not self.problems


class WorkerHealthPorts:
    """Queries all workers concurrently. Each address of a name, as of a headless service, is a worker."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls

    async def look(self) -> Sequence[WorkerStatus]:
        """The status of all workers, within some seconds; empty when there are no addresses."""
        if not self._urls:
            return ()
        resolved = await asyncio.gather(*(_resolved(url) for url in self._urls))
        targets = [target for targets in resolved for target in targets][:_MOST_WORKERS]
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            return await asyncio.gather(*(_look(session, *target) for target in targets))


async def _resolved(url: str) -> list[tuple[str, str]]:
    """A URL for each address of the URL's host, and its display name."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return [(url, parts.netloc)]
    addresses = sorted({str(each[4][0]) for each in found})
    if len(addresses) == 1:
        return [(url, parts.netloc)]
    named = [f"[{address}]" if ":" in address else address for address in addresses]
    return [(f"http://{address}:{port}", f"{host} {address}:{port}") for address in named]


async def _look(session: aiohttp.ClientSession, url: str, name: str) -> WorkerStatus:
    try:
        async with session.get(f"{url}/readyz", allow_redirects=False) as answer:
            is_ready = answer.status == 200
            text = (await answer.content.read(_MOST_BYTES)).decode(errors="replace")
        async with session.get(f"{url}/metrics", allow_redirects=False) as answer:
            metrics = await _whole(answer)
    except (aiohttp.ClientError, OSError, TimeoutError):
        return WorkerStatus(name, None)
    problems = [] if is_ready else [line[:_MOST_CHARS] for line in text.splitlines()[:_MOST_PROBLEMS]] or ["not ready"]
    numbers = await asyncio.to_thread(_numbers, metrics)
    in_flight, oldest_s = (
        numbers.get("sendas_in_flight", 0.0),
        numbers.get("sendas_oldest_unfinished_event_seconds", 0.0),
    )
    return WorkerStatus(name, problems, int(in_flight), oldest_s)


async def _whole(answer: aiohttp.ClientResponse) -> str:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > _MOST_BYTES:
            return ""
        parts.append(part)
    return b"".join(parts).decode(errors="replace")


def _numbers(text: str) -> dict[str, float]:
    """The sums of the two displayed metrics; empty for a page that is not ours."""
    wanted = ("sendas_in_flight", "sendas_oldest_unfinished_event_seconds")
    lines = "\n".join(line for line in text.splitlines() if line.startswith(wanted)) + "\n"
    sums: dict[str, float] = {}
    with suppress(ValueError):
        for family in text_string_to_metric_families(lines):
            for sample in family.samples:
                if math.isfinite(sample.value):
                    sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums
