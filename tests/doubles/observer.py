"""An observer that writes down what it is told."""

from collections import Counter
from datetime import datetime

from worker.delivery.case import Case
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason


class RecordingObserver:
    """Implements `delivery.observing.Observer`: `counts` by what was told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def settled(self, queue: str, event_type: EventType | None, outcome: str) -> None:
        self.counts[f"settled {outcome}"] += 1

    def attempted(self, provider: str, transmission: Transmission) -> None:
        self.counts["attempted"] += 1

    def delivered(self, case: Case, recipients: int, at: datetime) -> None:
        self.counts["delivered"] += recipients

    def ended(self, outcome: Outcome, reason: Reason, recipients: int) -> None:
        self.counts[f"{outcome} {reason}"] += recipients

    def copied(self, provider: str, outcome: CopyOutcome) -> None:
        self.counts[f"copied {outcome}"] += 1

    def timed(self, stage: str, seconds: float) -> None:
        self.counts[f"timed {stage}"] += 1

    def buried(self, reason: Reason) -> None:
        self.counts[f"buried {reason}"] += 1
