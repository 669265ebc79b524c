"""`sendas run`: runs the worker."""

import asyncio
import importlib.util
from collections.abc import Callable

import structlog

from worker.cli.configured import configured
from worker.domain.hosts import is_domain
from worker.process import Worker

log = structlog.get_logger(__name__)


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
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Worker(settings).run())
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop if installed (`sendas[fast]`), else asyncio's own."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
