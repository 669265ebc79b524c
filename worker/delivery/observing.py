"""What the delivery tells of its work as numbers; the telemetry implements it."""

from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from worker.delivery.case import Case
from worker.domain.classification import Classification
from worker.domain.objectives import Promptness
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason


class Stage(StrEnum):
    """The parts of a letter's way whose times are told apart; a closed list, for metrics.

    `queue`: from the event's time until a worker has it first. `lane`: for a place in the mailbox's lane. `files`: for
    the download of those that are attached. The five of SMTP are measured by its adapter. `copy_queue`: from the letter
    until a worker has the copy's order first.
    """

    QUEUE = "queue"
    RESOLVE = "resolve"
    LANE = "lane"
    FILES = "files"
    COMPOSE = "compose"
    CONNECT = "connect"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    DATA = "data"
    COPY_QUEUE = "copy_queue"
    APPEND = "append"
    PUBLISH = "publish"


SETTLED = ("done", "split", "sent_away", "admitted", "invalid", "failed")
"""What can become of a message."""

CHECKED = ("good", "bad")
"""What the check of a mailbox can find: its letters leave, or a step that they need failed."""


class Observer(Protocol):
    """Counts and times. Nothing of a tenant is in them."""

    def settled(self, queue: str, event_type: EventType | None, outcome: str) -> None:
        """A message was dealt with; `outcome` is one of `SETTLED`."""

    def attempted(self, provider: str, transmission: Transmission) -> None:
        """An SMTP transaction ended."""

    def delivered(self, case: Case, recipients: int, at: datetime) -> None:
        """A mailbox's server accepted a letter for this many recipients."""

    def ended(self, case: Case, outcome: Outcome, why: Classification, recipients: int) -> None:
        """A letter was not accepted for this many recipients: not yet, never, or nobody knows."""

    def lost(self, recipients: int) -> None:
        """No letter will leave for this many recipients by itself: an operator has to act."""

    def repeated(self, outcome: Outcome, recipients: int) -> None:
        """The event came again, and what was done already was told again in the same words."""

    def copied(self, provider: str, outcome: CopyOutcome, seconds: float, promptness: Promptness | None) -> None:
        """A copy came to its end, so long after its letter; `promptness` None: none was wanted."""

    def copy_deferred(self, reason: Reason) -> None:
        """A copy was put off, for the first time or for another reason than before."""

    def checked(self, outcome: str, seconds: float) -> None:
        """A mailbox was checked, which took so long; `outcome` is one of `CHECKED`."""

    def timed(self, stage: Stage, seconds: float) -> None:
        """A stage took this long."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Times the stage that the context is, whatever its end."""

    def buried(self, reason: Reason) -> None:
        """A message went to the dead queue."""
