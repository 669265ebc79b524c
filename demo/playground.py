"""`make dev`: the demo's installation, left running for events of one's own."""

import asyncio
import os
import shlex
from pathlib import Path

from rich.console import Console

from demo.console import RunningConsole, running_console
from demo.display import result_line
from demo.installation import CUSTOMERS, PASSWORD, SENDAS, Installation, installation
from demo.results import collected
from demo.scenes import Json
from stack import private_directory

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".dev"  # in the repository, so that what is to be edited and sourced has a short and fixed path


async def serve(console: Console) -> None:
    """Run until this task is cancelled, and tell of each result."""
    HOME.mkdir(exist_ok=True)
    environment = HOME / "env"
    with private_directory() as directory:
        console.print("Starting RabbitMQ, Postfix, Dovecot, a file server and the worker with its console …")
        home = installation(directory, HOME / "snapshot.json", management=True, has_history=True)
        async with home as installed:
            await installed.sendas("topology", "apply")
            environment.write_text(_exports(installed))
            try:
                await installed.start_worker()
                async with running_console(installed) as pages:
                    _show_places(console, installed, pages)
                    async with collected(installed.stack.rabbitmq.amqp_url, lambda result: _show(console, result)):
                        await asyncio.Event().wait()
            finally:
                environment.unlink()


def _exports(installed: Installation) -> str:
    variables = {
        **installed.settings,
        "SENDAS_HTTP_PORT": "0",  # a second worker, should somebody start one, takes a free port
        "DEMO_IMAPS_PORT": str(installed.mail_program.port),
        "DEMO_PASSWORD": PASSWORD,
        "PATH": f"{SENDAS.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _show_places(console: Console, installed: Installation, pages: RunningConsole) -> None:
    broker, mail = installed.stack.rabbitmq.first, installed.stack.mail
    console.print(
        f"""
The console: {pages.url} (user {pages.person}, password {pages.password}): each letter's story, dead letters, mailboxes

In another shell, in {ROOT}:
  . .dev/env
  sendas publish demo/events/comment.json        again: the same event, so no second letter; give it another id
  sendas publish demo/events/task.json
  sendas explain --snapshot .dev/snapshot.json --event demo/events/task.json
  sendas mailbox check --snapshot .dev/snapshot.json acme acme-support
  python -m demo.inboxes {CUSTOMERS[0]}   also {", ".join(CUSTOMERS[1:])}

Accounts and mailboxes: .dev/snapshot.json; change it, with a higher version, and the worker follows.
Metrics and health: http://127.0.0.1:{installed.http_port}/metrics, /readyz, /livez
RabbitMQ: http://127.0.0.1:{broker.management_port}/ (user sendas, password sendas)
A mail program of your own: IMAP on 127.0.0.1:{mail.dovecot.imap_port}, the address as user, password {PASSWORD}
The worker's log: {installed.worker_log}

Ctrl-C stops everything. Results as they come:
""",
        markup=False,
        soft_wrap=True,
    )


def _show(console: Console, result: Json) -> None:
    console.print(result_line(result), markup=False, highlight=False, soft_wrap=True)
