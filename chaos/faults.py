"""Counting the faults that happened."""

from collections import Counter


class Faults:
    """How often each kind happened; nothing is counted that did not come to happen. `is_on` until the healing."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.is_on = False

    def happened(self, kind: str, times: int = 1) -> None:
        """Count a fault."""
        self.counts[kind] += times
