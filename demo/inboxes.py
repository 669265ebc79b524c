"""Mailboxes as a person's mail program sees them: over IMAP, by the standard library alone.

`python -m demo.inboxes ADDRESS` shows one of a running `make dev`.
"""

import email
import email.policy
import imaplib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from stack import client_context

TIMEOUT_S = 20


@dataclass(frozen=True)
class MailProgram:
    """Reads mailboxes on one IMAP server; every mailbox of the demo has the same password."""

    port: int
    ca_file: Path
    password: str

    def read(self, address: str, folder: str, *, at_least: int = 0) -> list[bytes]:
        """The letters of a folder, as soon as there are `at_least` so many."""
        with self._signed_in(address) as client:
            _, [existing] = client.select(folder, readonly=True)
            count = int(existing or 0)
            if count < at_least:
                count = _wait_for(client, lambda number: number >= at_least)
            if not count:
                return []
            _, parts = client.fetch(f"1:{count}", "(BODY.PEEK[])")
            return [part[1] for part in parts if isinstance(part, tuple)]

    def _signed_in(self, address: str) -> imaplib.IMAP4:
        context = client_context(self.ca_file)
        client = imaplib.IMAP4_SSL("localhost", self.port, timeout=TIMEOUT_S, ssl_context=context)
        client.login(address, self.password)
        return client


def _wait_for(client: imaplib.IMAP4, is_enough: Callable[[int], bool]) -> int:
    """Let the server tell by IDLE (RFC 2177) how many letters there are, until it is enough. Raises TimeoutError."""
    client.send(b"wait IDLE\r\n")
    count = 0
    while not is_enough(count):
        if found := re.match(rb"\* (\d+) EXISTS", client.readline()):
            count = int(found[1])
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"wait OK"):
        pass
    return count


def opened(raw: bytes) -> EmailMessage:
    """A letter, parsed."""
    return email.message_from_bytes(raw, policy=email.policy.default)


def attachment_names(letter: EmailMessage) -> list[str]:
    """The names of what is attached."""
    return [part.get_filename() or "?" for part in letter.iter_attachments()]


def html_of(letter: EmailMessage) -> str:
    """The HTML that the reader sees; empty when there is none."""
    part = letter.get_body(("html",))
    return str(part.get_content()) if part is not None else ""


def main(addresses: list[str]) -> int:
    """Print the inboxes; returns the exit status."""
    try:
        program = MailProgram(
            int(os.environ["DEMO_IMAPS_PORT"]), Path(os.environ["SENDAS_TLS_CA_FILE"]), os.environ["DEMO_PASSWORD"]
        )
    except KeyError:
        print("start `make dev` first, and then in this shell: . .dev/env", file=sys.stderr)
        return 2
    for address in addresses:
        letters = program.read(address, "INBOX")
        print(f"{address}: {len(letters)} letters")
        for letter in map(opened, letters):
            print("-" * 80)
            for name in ("From", "Reply-To", "To", "Subject", "Message-ID"):
                if letter[name]:
                    print(f"{name}: {letter[name]}")
            print(f"Attachments: {', '.join(attachment_names(letter)) or 'none'}\n\n{html_of(letter)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
