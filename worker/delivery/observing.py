"""What the delivery tells of its work as numbers; the telemetry implements it."""

from datetime import datetime
from typing import Protocol

from worker.delivery.case import Case
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason


class Observer(Protocol):
    """Counts and times. Nothing of a tenant is in them."""

    def settled(self, queue: str, event_type: EventType | None, outcome: str) -> None:
        """A message was dealt with; `outcome` is `done`, `split`, `sent_away`, `invalid` or `failed`."""

    def attempted(self, provider: str, transmission: Transmission) -> None:
        """An SMTP transaction ended."""

    def delivered(self, case: Case, recipients: int, at: datetime) -> None:
        """A mailbox's server accepted a letter for this many recipients."""

    def ended(self, outcome: Outcome, reason: Reason, recipients: int) -> None:
        """A letter was not accepted for this many recipients: not yet, never, or nobody knows."""

    def copied(self, provider: str, outcome: CopyOutcome) -> None:
        """A copy came to its end."""

    def timed(self, stage: str, seconds: float) -> None:
        """A stage took this long."""

    def buried(self, reason: Reason) -> None:
        """A message went to the dead queue."""
