"""`sendas mailbox`: one file per command, imported only when it is asked for."""

from cyclopts import App

group = App(name="mailbox", help="Mailboxes of customers.")
group.command(
    "worker.cli.mailbox_check:check",
    name="check",
    help="Check that a mailbox can send: names, connection, TLS, sign-in, sender, Sent folder, SPF, DKIM, DMARC.",
)
