"""The `sendas` command: one file per command group, imported only when needed."""

import sys

from cyclopts import App, CycloptsError

from worker import __version__
from worker.cli.common import say
from worker.errors import ConfigurationError, SendasError

app = App(
    name="sendas",
    version=__version__,
    help="Send a product's letters as its customers, through each customer's own mailbox.\n\n"
    "Settings are read from variables SENDAS_…. Exit status: 0 done, 1 it did not succeed, 2 wrong usage or settings.",
    result_action="return_value",
)
# By name, not by import: loading broker, database and mail client libraries would cost every command a second.
# Each has its help text, whose first paragraph appears in the list of commands.
for _target, _help in (
    (
        "run:run",
        "Work until SIGTERM: take events from the broker, send letters, publish results.\n\n"
        "Needs a broker with the topology applied, a ledger and a configuration snapshot; waits for what is away.",
    ),
    ("ready:ready", "Say whether the worker of this host or pod is ready, and else what it waits for."),
    ("topology:group", "Declare or check the exchanges and queues on the broker."),
    ("publish:publish", "Publish events from files as the product would, confirmed by the broker."),
    (
        "deliver:deliver",
        "Send one event's letters at once, without a broker, and print the results; or only print the letters.\n\n"
        "Nothing is tried again later, and nothing is remembered: done twice, it sends twice. With `--print` "
        "nothing is sent, and no server is needed.",
    ),
    ("explain:explain", "Say which mailbox an event's letters would leave from, and why. Sends nothing."),
    ("classify:classify", "Say what a mail server's reply means, and what the worker would do."),
    (
        "providers:providers",
        "Say what is known of mail providers: servers, limits, habits, and their own pages for people.",
    ),
    ("config:group", "Check a configuration snapshot."),
    ("seal:seal", 'Seal a secret read from standard input for a snapshot\'s `{"sealed": …}`, or make a key.'),
    ("dead_letters:group", "Messages that nobody could handle: list, show, replay, discard, export, import."),
    ("mailbox:group", "Mailboxes: check one, see which are suspended and why, let them send again."),
    ("ledger:group", "The memory of what was sent: bring its tables up to date, or ask it."),
    ("console:group", "The web console: find a letter and its story, dead letters, mailboxes."),
    ("history:group", "What became of letters: keep every published result, show one event's, search."),
    ("schemas:schemas", "Write the contract's schemas, or check that they are what the models generate."),
):
    app.command(f"worker.cli.{_target}", name=_target.partition(":")[0].replace("_", "-"), help=_help)


def main() -> None:
    """Run the command line; exits with 0 (done), 1 (failed) or 2 (wrong usage or settings)."""
    sys.exit(status(sys.argv[1:]))


def status(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
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
    """Reset what a command set up for its process, where several run in one."""
    if "structlog" in sys.modules:
        sys.modules["structlog"].reset_defaults()


def _complain(text: str, exit_status: int) -> int:
    say(f"sendas: {text}")
    return exit_status
