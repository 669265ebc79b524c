"""A mailbox's limits: its own, else its provider's, else the installation's; and how a worker's places are shared."""

from dataclasses import dataclass

from worker.delivery.mailboxes.state import MailboxLimits
from worker.delivery.places import USUAL, FairShares
from worker.domain.providers import provider_of
from worker.domain.snapshot.model import Mailbox

IN_HAND_FACTOR = 2
"""Messages in hand per letter in transmission, so that the next ones are here when a place becomes free."""

_DEFAULT_CONNECTIONS = 2
_MOST_CONNECTIONS = 20
_DEFAULT_CONCURRENCY = 64
_DEFAULT_FILES_CONCURRENCY = 32
_DEFAULT_FILES_TIMEOUT_S = 120.0
_DEFAULT_RECIPIENT_LIMIT = 50
_DEFAULT_EASE_S = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the delivery: a letter's age in seconds, connections, and letters in transmission at a time.

    `mailbox_…` apply to mailboxes that set no number and whose providers set none: connections, letters a minute and
    recipients a day; None: no limit. `mailbox_connections_max`: the most connections any mailbox gets, whatever it asks
    for. `mailbox_ramp_up_s`: how long a mailbox sends slowly after a suspension. `files_concurrency`: letters whose
    files the worker holds at a time; `files_timeout_s`: for downloading all files of one letter. `shares`: the fraction
    of all these places that one account or mailbox may hold. `recipient_limit`: letters from one account to one address
    (`domain.recipient_limit`); 0: no limit.
    """

    max_age_s: float
    relay_connections: int
    mailbox_connections: int = _DEFAULT_CONNECTIONS
    mailbox_connections_max: int = _MOST_CONNECTIONS
    mailbox_per_minute: int | None = None
    mailbox_per_day: int | None = None
    mailbox_ramp_up_s: float = _DEFAULT_EASE_S
    concurrency: int = _DEFAULT_CONCURRENCY
    recipient_limit: int = _DEFAULT_RECIPIENT_LIMIT
    files_concurrency: int = _DEFAULT_FILES_CONCURRENCY
    files_timeout_s: float = _DEFAULT_FILES_TIMEOUT_S
    shares: FairShares = USUAL

    @property
    def in_hand(self) -> int:
        """Letters that the worker holds at a time, in transmission or not."""
        return IN_HAND_FACTOR * self.concurrency

    def of(self, mailbox: Mailbox) -> MailboxLimits:
        """The limits of one mailbox."""
        own, provider = mailbox.limits, provider_of(mailbox.smtp.host)
        connections = own.connections or provider.connections or self.mailbox_connections
        return MailboxLimits(
            connections=min(connections, self.mailbox_connections_max),
            per_minute=own.per_minute or provider.per_minute or self.mailbox_per_minute,
            per_day=own.per_day or provider.per_day or self.mailbox_per_day,
            ease_s=self.mailbox_ramp_up_s,
        )


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """How long a copy is retried, in seconds; the largest copy that travels through the broker; and how many the worker
    handles at a time.
    """

    max_age_s: float
    max_bytes: int
    in_hand: int = 32
