"""`sendas console`: the web console, and password hashes for its people file."""

import asyncio
import getpass
import importlib.util
import sys

from cyclopts import App

from worker.cli.common import print_line
from worker.cli.configured import configured
from worker.console_settings import load_console_settings
from worker.errors import ConfigurationError

group = App(name="console", help="The web console for operators and support.")

_LEAST_CHARS = 12


@group.default
def serve() -> int:
    """Serve the console until SIGTERM: find a letter and its story, dead letters, mailboxes.

    Needs the worker's settings and a people file (SENDAS_CONSOLE_PEOPLE_FILE). On loopback unless told otherwise.
    """
    _require_libraries()
    from worker.console.serving import serve as serve_console  # imported here because it needs the extra's libraries

    asyncio.run(serve_console(configured(), load_console_settings()))
    return 0


@group.command
def password() -> int:
    """Read a password, from the terminal or standard input, and print its hash for the people file."""
    _require_libraries()
    from worker.console.auth.passwords import hashed

    given = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(given) < _LEAST_CHARS:
        raise ConfigurationError(f"a password has at least {_LEAST_CHARS} characters")
    print_line(hashed(given))
    return 0


def _require_libraries() -> None:
    if importlib.util.find_spec("starlette") is None:
        raise ConfigurationError("the console's libraries are not installed: pip install 'sendas[console]'")
