"""The command `sendas`: one file per command group."""

import sys

import structlog
from cyclopts import App, CycloptsError

from worker import __version__
from worker.cli import classify, config, dead_letters, deliver, explain, ledger, publish, run, schemas, seal, topology
from worker.cli.output import say
from worker.errors import ConfigurationError, SendasError

app = App(
    name="sendas",
    version=__version__,
    help="Send a product's letters as its customers, through each customer's own mailbox.",
    result_action="return_value",
)
for group in (classify, config, dead_letters, deliver, explain, ledger, publish, run, schemas, seal, topology):
    group.register(app)


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
        structlog.reset_defaults()
    return result if isinstance(result, int) else 0


def _complain(text: str, exit_status: int) -> int:
    say(f"sendas: {text}")
    return exit_status
