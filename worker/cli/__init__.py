"""The command `sendas`: one file per command group, imported only when it is asked for."""

import sys

from cyclopts import App, CycloptsError

from worker import __version__
from worker.cli.output import say
from worker.errors import ConfigurationError, SendasError

app = App(
    name="sendas",
    version=__version__,
    help="Send a product's letters as its customers, through each customer's own mailbox.\n\n"
    "Settings are read from variables SENDAS_…. Exit status: 0 done, 1 it did not succeed, 2 wrong usage or settings.",
    result_action="return_value",
)
# By name and not by import: a broker's, a database's and a mail client's library would cost every command a second.
for _target in (
    "run:run",
    "topology:group",
    "publish:publish",
    "deliver:deliver",
    "explain:explain",
    "classify:classify",
    "config:group",
    "seal:seal",
    "ledger:group",
    "schemas:schemas",
):
    app.command(f"worker.cli.{_target}", name=_target.partition(":")[0])


def main() -> None:
    """Run the command line; ends the process with 0 (done), 1 (it did not succeed) or 2 (wrong usage or settings)."""
    sys.exit(status(sys.argv[1:]))


def status(arguments: list[str]) -> int:
    """Run one command line and give its exit status."""
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain(" ".join(str(error).split()), 2)
    except ConfigurationError as error:
        return _complain(str(error), 2)
    except SendasError as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 1)
    finally:
        _forget_logging()
    return result if isinstance(result, int) else 0


def _forget_logging() -> None:
    """What a command set up for its process must not outlive it where several run in one."""
    if "structlog" in sys.modules:
        sys.modules["structlog"].reset_defaults()


def _complain(text: str, exit_status: int) -> int:
    say(f"sendas: {text}")
    return exit_status
