"""`python -m demo`: letters through every rule, shown and checked; `--dev` leaves it all running instead.

`--keep DIRECTORY` leaves the worker's log at DEBUG, its metrics, all results and the dead letters there, to be read.
"""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

from rich.console import Console

from demo.playground import serve
from demo.report import make_console
from demo.story import tell
from stack import ServerError


async def _until_told(work: Coroutine[object, object, int | None]) -> int | None:
    """Do the work; a signal ends it in good order. Raises CancelledError then."""
    task = asyncio.create_task(work)

    def end() -> None:
        # Once: a second Ctrl-C must not interrupt the stopping.
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return await task


def main(arguments: list[str]) -> int:
    """Returns the exit status: 0 done, 1 otherwise than expected, 2 wrong usage or no servers, 130 interrupted."""
    is_kept = len(arguments) == 2 and arguments[0] == "--keep"
    if arguments not in ([], ["--dev"]) and not is_kept:
        print("usage: python -m demo [--dev | --keep DIRECTORY]", file=sys.stderr)
        return 2
    is_dev = arguments == ["--dev"]
    keep = Path(arguments[1]) if is_kept else None
    console: Console = make_console()
    try:
        return asyncio.run(_until_told(serve(console) if is_dev else tell(console, keep))) or 0
    except (asyncio.CancelledError, KeyboardInterrupt):
        console.print("stopped; nothing is left running")
        return 0 if is_dev else 130
    except ServerError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
