"""What a person's mail program would do, by the standard library alone."""

import imaplib
import re
import smtplib
from email.message import EmailMessage

from stack import Mailbox, MailServer

TIMEOUT_S = 20


def letter(sender: str, recipient: str, subject: str) -> EmailMessage:
    """A small letter."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message.set_content("Мастер приедет завтра.\n")
    return message


def submission(server: MailServer) -> smtplib.SMTP:
    """A connection to the submission port, after STARTTLS and before a sign-in."""
    client = smtplib.SMTP("localhost", server.postfix.submission_port, timeout=TIMEOUT_S)
    client.starttls(context=server.authority.client_context())
    return client


def smtps(server: MailServer) -> smtplib.SMTP:
    """A connection that is TLS from its start, before a sign-in."""
    context = server.authority.client_context()
    return smtplib.SMTP_SSL("localhost", server.postfix.smtps_port, timeout=TIMEOUT_S, context=context)


def imap(server: MailServer, mailbox: Mailbox) -> imaplib.IMAP4:
    """A signed-in IMAP connection."""
    context = server.authority.client_context()
    client = imaplib.IMAP4_SSL("localhost", server.dovecot.imaps_port, timeout=TIMEOUT_S, ssl_context=context)
    # LOGIN of imaplib takes ASCII only.
    client.authenticate("PLAIN", lambda _: f"\0{mailbox.address}\0{mailbox.password}".encode())
    return client


def wait_for_letters(server: MailServer, mailbox: Mailbox, count: int = 1) -> list[bytes]:
    """Read the INBOX as soon as it holds `count` letters; the server says so by IDLE (RFC 2177)."""
    with imap(server, mailbox) as client:
        _, [existing] = client.select("INBOX", readonly=True)
        if int(existing or 0) < count:
            client.send(b"x1 IDLE\r\n")
            while True:
                line = client.readline()
                found = re.match(rb"\* (\d+) EXISTS", line)
                if found and int(found[1]) >= count:
                    break
            client.send(b"DONE\r\n")
            while not client.readline().startswith(b"x1 OK"):
                pass
        _, parts = client.fetch(f"1:{count}", "(RFC822)")
        return [part[1] for part in parts if isinstance(part, tuple)]


def folders(server: MailServer, mailbox: Mailbox) -> list[bytes]:
    """LIST of all folders, with their flags, as the server sent it."""
    with imap(server, mailbox) as client:
        _, lines = client.list()
        return [line for line in lines if isinstance(line, bytes)]
