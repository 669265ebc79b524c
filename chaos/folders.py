"""Reading Sent folders as a mail program would."""

import imaplib
from email.parser import BytesHeaderParser

from chaos.account import Copy
from chaos.customers import PASSWORD, Customer

_TIMEOUT_S = 60


def read_sent(imap_port: int, customer: Customer) -> list[Copy]:
    """All letters in the mailbox's Sent folder; blocks."""
    with imaplib.IMAP4("127.0.0.1", imap_port, timeout=_TIMEOUT_S) as client:
        client.login(customer.address, PASSWORD)
        _, [count] = client.select("Sent", readonly=True)
        if not int(count or 0):
            return []
        _, parts = client.fetch("1:*", "(BODY.PEEK[])")
        return [_copy(part[1]) for part in parts if isinstance(part, tuple)]


def _copy(wire: bytes) -> Copy:
    return Copy(str(BytesHeaderParser().parsebytes(wire)["Message-ID"] or "").strip(), wire)
