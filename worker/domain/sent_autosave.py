"""Whether a mailbox's provider saves letters sent over SMTP, learned from its Sent folder.

For providers not known to save to Sent by themselves or not to. A few consecutive letters that agree make a habit,
which is trusted for a day: people turn the saving on and off, and servers are replaced.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

_LETTERS = 3
_BELIEVED_FOR = timedelta(days=1)
_LONGEST_STREAK = 1_000


@dataclass(frozen=True, slots=True)
class SentHabit:
    """`streak`: how many consecutive letters were in Sent by themselves (positive), or were not (negative)."""

    streak: int
    seen_at: datetime

    def saves(self, now: datetime) -> bool | None:
        """True when the provider saves to Sent; None when that is unknown, or no longer certain."""
        if abs(self.streak) < _LETTERS or now - self.seen_at >= _BELIEVED_FOR:
            return None
        return self.streak > 0


def after_look(habit: SentHabit | None, *, was_there: bool, at: datetime) -> SentHabit:
    """The habit after one more lookup; a single letter that contradicts it restarts the learning."""
    step = 1 if was_there else -1
    before = habit.streak if habit is not None and habit.streak * step > 0 else 0
    return SentHabit(max(-_LONGEST_STREAK, min(before + step, _LONGEST_STREAK)), at)
