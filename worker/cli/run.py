"""`sendas run`: the worker itself."""

import asyncio
import ctypes
import importlib.util
from collections.abc import Callable

import structlog

from worker.cli.configured import configured
from worker.domain.hosts import is_domain
from worker.running import Worker

log = structlog.get_logger(__name__)

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_LARGE_BLOCK_BYTES = 1024 * 1024


def run() -> int:
    """Work until SIGTERM: take events from the broker, send letters, publish results.

    Needs a broker with the topology applied, a ledger and a configuration snapshot; waits for those that are away.
    """
    settings = configured()
    if not is_domain(settings.local_hostname):
        log.warning(
            "settings.local_hostname_no_domain",
            name=settings.local_hostname,
            problem="mail servers may refuse this name in EHLO: set SENDAS_LOCAL_HOSTNAME to a public host name",
        )
    _give_back_large_blocks()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Worker(settings).run())
    return 0


def _give_back_large_blocks() -> None:
    """Have the memory of large letters given back as soon as it is free.

    Left alone, glibc learns from the first one to keep such blocks, tens of megabytes in each thread. Other libraries
    of C have no such switch, and no need of it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed (`sendas[fast]`), else asyncio's own."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
