"""Which limits a mailbox has: its own, else its provider's, else the installation's."""

from dataclasses import dataclass

from worker.delivery.mailbox_states import MailboxLimits
from worker.domain.providers import provider_of
from worker.domain.snapshot import Mailbox

_DEFAULT_CONNECTIONS = 2
_DEFAULT_CONCURRENCY = 64
_DEFAULT_RECIPIENT_LIMIT = 50
_DEFAULT_EASE_S = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the delivery: a letter's age in seconds, connections, and letters in transmission at a time.

    `mailbox_…` are for mailboxes that say no number, and whose providers say none: connections, letters a minute and
    recipients a day; None: no limit. `mailbox_ease_s`: for how long one goes on slowly after a suspension.
    `recipient_limit`: letters from one account to one address (`domain.recipient_limit`); 0: no limit.
    """

    max_age_s: float
    relay_connections: int
    mailbox_connections: int = _DEFAULT_CONNECTIONS
    mailbox_per_minute: int | None = None
    mailbox_per_day: int | None = None
    mailbox_ease_s: float = _DEFAULT_EASE_S
    concurrency: int = _DEFAULT_CONCURRENCY
    recipient_limit: int = _DEFAULT_RECIPIENT_LIMIT

    def of(self, mailbox: Mailbox) -> MailboxLimits:
        """The limits of one mailbox."""
        own, provider = mailbox.limits, provider_of(mailbox.smtp.host)
        return MailboxLimits(
            connections=own.connections or provider.connections or self.mailbox_connections,
            per_minute=own.per_minute or provider.per_minute or self.mailbox_per_minute,
            per_day=own.per_day or provider.per_day or self.mailbox_per_day,
            ease_s=self.mailbox_ease_s,
        )
