"""`python -m stack [SERVICE…]`: starts servers (default: all), prints their addresses, waits for Ctrl-C."""

import asyncio
import signal
import sys
import time
from collections.abc import Collection

from stack import SERVICES, Mailbox, ServerError, Stack, private_directory

PASSWORD = "sendas"
MAILBOXES = (
    Mailbox("support@acme.example", PASSWORD),
    Mailbox("ivan@acme.example", PASSWORD, sent_folder="Отправленные", special_use=False),
    Mailbox("client@customer.example", PASSWORD),
)


async def serve(services: Collection[str]) -> None:
    """Run the services until this task is cancelled."""
    began = time.monotonic()
    with private_directory() as directory:
        async with Stack.start(directory, services, mailboxes=MAILBOXES, management=True) as stack:
            for name, value in locations(stack, services).items():
                print(f"{name:14}{value}")
            took_s = time.monotonic() - began
            print(f"\nStarted in {took_s:.1f} s in {directory}. Ctrl-C stops everything.", flush=True)
            await asyncio.Event().wait()


def locations(stack: Stack, services: Collection[str]) -> dict[str, str]:
    """Print every server's address and how to sign in."""
    found = {}
    if "rabbitmq" in services:
        found["RabbitMQ"] = stack.rabbitmq.amqp_url
        port = stack.rabbitmq.first.management_port
        found["  management"] = f"http://127.0.0.1:{port}/ (user sendas, password sendas)"
    if "postgresql" in services:
        found["PostgreSQL"] = stack.postgresql.url
    if "mail" in services:
        dovecot, postfix = stack.mail.dovecot, stack.mail.postfix
        found["SMTP"] = f"localhost:{postfix.submission_port} STARTTLS, localhost:{postfix.smtps_port} TLS"
        found["  relay"] = f"localhost:{postfix.relay_port} plain text, no sign-in"
        found["IMAP"] = f"localhost:{dovecot.imaps_port} TLS, localhost:{dovecot.imap_port} plain text"
        found["Mailboxes"] = ", ".join(mailbox.address for mailbox in MAILBOXES) + f" (password {PASSWORD})"
        found["CA to trust"] = str(stack.authority.ca_file)
    return found


async def main(services: Collection[str]) -> int:
    """Return the exit code: 0 after a signal, 2 if the servers cannot be started."""
    if unknown := set(services) - SERVICES:
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(SERVICES))}", file=sys.stderr)
        return 2
    task = asyncio.create_task(serve(services or SERVICES))

    def end() -> None:
        # Once: a second Ctrl-C must not interrupt the shutdown.
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    try:
        await task
    except asyncio.CancelledError:
        return 0
    except ServerError as error:
        print(error, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
