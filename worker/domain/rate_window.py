"""Rates: how much was sent lately, counted so that no stretch of time ever holds more than its limit.

A token bucket lets twice its limit through in one unlucky minute, which a provider punishes. So what was let through
is counted in short slots, and a slot counts until all of it is out of the window, and two slots longer: one because
it began in the middle of a slot, one because the server counts a letter moments after it was let through.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

Counts = tuple[tuple[int, int], ...]
"""Pairs of a slot's number and how much was let through in it, in the order of time."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of `span_s` seconds, counted in slots of `slot_s`."""

    span_s: int
    slot_s: int

    @property
    def _slots(self) -> int:
        return -(-self.span_s // self.slot_s) + 2

    def _slot(self, at: datetime) -> int:
        return int(at.timestamp() // self.slot_s)

    def recent(self, counts: Counts, now: datetime) -> Counts:
        """What still counts."""
        oldest = self._slot(now) - self._slots + 1
        return tuple(pair for pair in counts if pair[0] >= oldest)

    def free_at(self, counts: Counts, now: datetime, limit: int, wanted: int) -> datetime | None:
        """When `wanted` may be let through, None: now. More than the limit is let through alone."""
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
        """The counts with `number` more (or, when negative, fewer) in this moment's slot."""
        slot = self._slot(now)
        by_slot = dict(self.recent(counts, now))
        by_slot[slot] = max(by_slot.get(slot, 0) + number, 0)
        return tuple(sorted((each, count) for each, count in by_slot.items() if count))


MINUTE = Window(60, 3)
DAY = Window(24 * 3_600, 1_800)


def counts_of(text: str) -> Counts:
    """Counts as `text_of` writes them."""
    return tuple((int(slot), int(number)) for slot, _, number in (pair.partition(":") for pair in text.split()))


def text_of(counts: Iterable[tuple[int, int]]) -> str:
    """Counts as a short text."""
    return " ".join(f"{slot}:{number}" for slot, number in counts)
