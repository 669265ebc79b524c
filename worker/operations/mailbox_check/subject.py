"""What is checked: a mailbox, on whose behalf, and what the check may do."""

from dataclasses import dataclass

from worker.delivery.ports import Route
from worker.domain.providers import Provider, provider_of
from worker.domain.snapshot import Auth, ImapServer, Mailbox


@dataclass(frozen=True, slots=True)
class Subject:
    """A mailbox to check. `key` is the identity of the request, from which the test letter's Message-ID follows.

    `is_trusted`: the mailbox is the snapshot's or an operator's own, so that secrets in variables and files may be
    opened for it. `test_to`: where a test letter goes; None: none is sent, for the reason `why_no_test` if there is
    one to tell.
    """

    account_id: str
    mailbox: Mailbox
    key: str
    is_trusted: bool
    test_to: str | None = None
    why_no_test: str = "no test letter was asked for"

    @property
    def provider(self) -> Provider:
        """Whose SMTP server it is."""
        return provider_of(self.mailbox.smtp.host)

    @property
    def route(self) -> Route:
        """The way its letters take."""
        return Route(self.account_id, self.mailbox.id, self.mailbox.smtp, max_connections=1)

    @property
    def imap(self) -> ImapServer | None:
        """The server of its Sent folder."""
        return self.mailbox.sent_copy.imap

    @property
    def imap_auth(self) -> Auth:
        """How to sign in there."""
        imap = self.imap
        return (imap.auth if imap is not None else None) or self.mailbox.smtp.auth

    @property
    def is_test_to_itself(self) -> bool:
        """Whether the test letter comes back to the mailbox, where it can be read."""
        return self.test_to is not None and self.test_to.lower() == self.mailbox.address.lower()
