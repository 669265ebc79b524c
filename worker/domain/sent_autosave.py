"""What a mailbox's provider does with letters that leave over SMTP, learned from what its Sent folder showed.

For providers of whom it is not known whether they save to Sent by themselves. A few letters in a row that agree make a
habit, and it is believed for a day: people turn the saving on and off, and servers are replaced.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

_LETTERS = 3
_BELIEVED_FOR = timedelta(days=1)
_LONGEST_STREAK = 1_000


@dataclass(frozen=True, slots=True)
class SentHabit:
    """`streak`: how many letters in a row were in Sent by themselves (positive), or were not (negative)."""

    streak: int
    seen_at: datetime

    def saves(self, now: datetime) -> bool | None:
        """Whether the provider saves to Sent; None when that is not known, or not known for certain any more."""
        if abs(self.streak) < _LETTERS or now - self.seen_at >= _BELIEVED_FOR:
            return None
        return self.streak > 0


def after_look(habit: SentHabit | None, *, was_there: bool, at: datetime) -> SentHabit:
    """The habit after one more look; one letter that contradicts it is enough to learn it anew."""
    step = 1 if was_there else -1
    before = habit.streak if habit is not None and habit.streak * step > 0 else 0
    return SentHabit(max(-_LONGEST_STREAK, min(before + step, _LONGEST_STREAK)), at)
