"""`python -m stack`: start all the servers, say where they are, and wait for Ctrl-C or SIGTERM."""

import asyncio
import signal
import sys
import time

from stack import Mailbox, ServerError, Stack, private_directory

PASSWORD = "sendas"
MAILBOXES = (
    Mailbox("support@acme.example", PASSWORD),
    Mailbox("ivan@acme.example", PASSWORD, sent_folder="Отправленные", special_use=False),
    Mailbox("client@customer.example", PASSWORD),
)


async def serve() -> None:
    """Run everything until this task is cancelled."""
    began = time.monotonic()
    with private_directory() as directory:
        async with Stack.start(directory, mailboxes=MAILBOXES, management=True) as stack:
            print(describe(stack), flush=True)
            print(
                f"\nStarted in {time.monotonic() - began:.1f} s in {directory}. Ctrl-C stops everything.",
                flush=True,
            )
            await asyncio.Event().wait()


def describe(stack: Stack) -> str:
    """Say where everything is, a line each."""
    dovecot, postfix = stack.mail.dovecot, stack.mail.postfix
    rows = {
        "RabbitMQ": stack.rabbitmq.amqp_url,
        "  management": f"http://127.0.0.1:{stack.rabbitmq.first.management_port}/ (sendas, password sendas)",
        "PostgreSQL": stack.postgresql.url,
        "SMTP": f"localhost:{postfix.submission_port} STARTTLS, localhost:{postfix.smtps_port} TLS, sign-in",
        "  relay": f"localhost:{postfix.relay_port} plain text, no sign-in",
        "IMAP": f"localhost:{dovecot.imaps_port} TLS, localhost:{dovecot.imap_port} plain text",
        "CA to trust": str(stack.authority.ca_file),
        "Mailboxes": ", ".join(mailbox.address for mailbox in stack.mail.mailboxes) + f" (password {PASSWORD})",
    }
    return "\n".join(f"{name:14}{value}" for name, value in rows.items())


async def main() -> int:
    """Return the exit code: 0 after a signal, 2 when the servers cannot be started."""
    task = asyncio.create_task(serve())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return 0
    except ServerError as error:
        print(error, file=sys.stderr)
    return 2


sys.exit(asyncio.run(main()))
