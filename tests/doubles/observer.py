"""An observer that records what it receives."""

from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from worker.delivery.context import EventContext
from worker.delivery.instrumentation import Stage
from worker.domain.failure.classify import Classification
from worker.domain.slo import Promptness
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason


class RecordingObserver:
    """Implements `delivery.instrumentation.Observer`: `counts` by observation."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def settled(self, queue: str, event_type: EventType | None, outcome: str) -> None:
        self.counts[f"settled {outcome}"] += 1

    def attempted(self, provider: str, transmission: Transmission) -> None:
        self.counts["attempted"] += 1

    def delivered(self, context: EventContext, recipients: int, at: datetime) -> None:
        self.counts["delivered"] += recipients

    def ended(self, context: EventContext, outcome: Outcome, why: Classification, recipients: int) -> None:
        self.counts[f"{outcome} {why.reason}"] += recipients

    def lost(self, recipients: int) -> None:
        self.counts["lost"] += recipients

    def repeated(self, outcome: Outcome, recipients: int) -> None:
        self.counts[f"repeated {outcome}"] += recipients

    def copied(self, provider: str, outcome: CopyOutcome, seconds: float, promptness: Promptness | None) -> None:
        self.counts[f"copied {outcome}"] += 1
        if promptness is not None:
            self.counts[f"copy {promptness}"] += 1

    def copy_deferred(self, reason: Reason) -> None:
        self.counts[f"copy deferred {reason}"] += 1

    def checked(self, outcome: str, seconds: float) -> None:
        self.counts[f"checked {outcome}"] += 1

    def timed(self, stage: Stage, seconds: float) -> None:
        self.counts[f"timed {stage}"] += 1

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        self.timed(stage, 0)
        return nullcontext()

    def buried(self, reason: Reason) -> None:
        self.counts[f"buried {reason}"] += 1
