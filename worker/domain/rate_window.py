"""Rate limits: counts recent permits so that no interval ever holds more than its limit.

A token bucket can permit twice its limit within an unlucky minute, which a provider punishes. So permits are counted in
short slots, and a slot counts until all of it has left the window, and two slots longer: one because the window began
in the middle of a slot, one because the server counts a letter moments after its permit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

Counts = tuple[tuple[int, int], ...]
"""Pairs of a slot's number and the permits in it, in order of time."""


@dataclass(frozen=True, slots=True)
class Window:
    """An interval of `span_s` seconds, counted in slots of `slot_s`."""

    span_s: int
    slot_s: int

    @property
    def _slots(self) -> int:
        return -(-self.span_s // self.slot_s) + 2

    def _slot(self, at: datetime) -> int:
        return int(at.timestamp() // self.slot_s)

    def recent(self, counts: Counts, now: datetime) -> Counts:
        """The slots that still count."""
        oldest = self._slot(now) - self._slots + 1
        return tuple(pair for pair in counts if pair[0] >= oldest)

    def free_at(self, counts: Counts, now: datetime, limit: int, wanted: int) -> datetime | None:
        """When to permit `wanted`; None: now. A number above the limit is permitted alone."""
        counts = self.recent(counts, now)
        total = sum(number for _, number in counts)
        free_at = None
        for slot, number in counts:
            if total + wanted <= limit:
                return free_at
            total -= number
            free_at = datetime.fromtimestamp((slot + self._slots) * self.slot_s, UTC)
        return free_at

    def added(self, counts: Counts, now: datetime, number: int) -> Counts:
        """The counts with `number` more (or, when negative, fewer) in the current slot."""
        slot = self._slot(now)
        by_slot = dict(self.recent(counts, now))
        by_slot[slot] = max(by_slot.get(slot, 0) + number, 0)
        return tuple(sorted((each, count) for each, count in by_slot.items() if count))


MINUTE = Window(60, 3)
DAY = Window(24 * 3_600, 1_800)


def counts_of(text: str) -> Counts:
    """Parse counts that `text_of` wrote."""
    return tuple((int(slot), int(number)) for slot, _, number in (pair.partition(":") for pair in text.split()))


def text_of(counts: Iterable[tuple[int, int]]) -> str:
    """Counts as a short text."""
    return " ".join(f"{slot}:{number}" for slot, number in counts)
