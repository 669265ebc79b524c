"""The system's clocks."""

import time
from datetime import UTC, datetime


class SystemClock:
    """`delivery.ports.Clock` over the operating system's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
