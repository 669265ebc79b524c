"""`sendas history consume`: the process that stores the history."""

import asyncio

from worker.cli.configured import configured
from worker.history_process import HistoryProcess


def consume() -> int:
    """Keep published results until SIGTERM."""
    asyncio.run(HistoryProcess(configured()).run())
    return 0
