"""`sendas mailbox`: one customer's mailbox. Each command is imported only when it is asked for."""

from cyclopts import App

group = App(name="mailbox", help="Mailboxes: check one, see which are suspended and why, let them send again.")
group.command(
    "worker.cli.mailbox_check:check",
    name="check",
    help="Check that a mailbox can send: names, connection, TLS, sign-in, sender, Sent folder, SPF, DKIM, DMARC.",
)
group.command(
    "worker.cli.mailbox_suspensions:suspended",
    name="suspended",
    help="List the mailboxes nothing is sent from, and why.",
)
group.command(
    "worker.cli.mailbox_suspensions:resume",
    name="resume",
    help="Let a suspended mailbox send again, slowly at first; its settings stay as they are.",
)
