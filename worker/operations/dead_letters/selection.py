"""Which dead letters an operator means, and how many there are of what."""

import re
from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

from worker.operations.dead_letters.letter import DeadLetter

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGO = re.compile(r"(\d{1,6})([smhd])")
_LONGEST_LISTS = 1_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters; all that are set must match. `since` and `until` are moments of death, the latter excluded."""

    type: str | None = None
    reason: str | None = None
    account: str | None = None
    mailbox: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    event_id: str | None = None
    replay_id: str | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        pairs = (
            (self.type, letter.event_type),
            (self.reason, letter.reason),
            (self.account, letter.account_id),
            (self.mailbox, letter.mailbox_id),
            (self.event_id, letter.event_id),
            (self.replay_id, letter.replay_id),
        )
        if any(wanted is not None and wanted != found for wanted, found in pairs):
            return False
        return self._has_time(letter.dead_at) and self._has_text(letter)

    def _has_time(self, dead_at: datetime | None) -> bool:
        if dead_at is None:
            return self.since is None and self.until is None
        return (self.since is None or dead_at >= self.since) and (self.until is None or dead_at < self.until)

    def _has_text(self, letter: DeadLetter) -> bool:
        if self.text is None:
            return True
        wanted = self.text.casefold()
        return any(
            wanted in text.casefold()
            for text in (letter.event_id, letter.task_id, letter.detail, *letter.addresses)
            if text
        )

    def words(self) -> dict[str, str]:
        """The filters that are set, as an audit tells them."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in values.items()
            if value is not None
        }


def moment(text: str, now: datetime) -> datetime:
    """A moment as an operator writes it: ISO 8601 (UTC unless it says otherwise), or how long ago (`90m`, `2h`, `3d`).

    Raises:
        ValueError: it is neither.
    """
    if match := _AGO.fullmatch(text.strip()):
        return now - timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
    try:
        given = datetime.fromisoformat(text.strip())
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a time such as 2026-11-23T10:00:00Z, or how long ago, such as 2h") from None


@dataclass(slots=True)
class Census:
    """Counts of letters. Accounts and types beyond the first thousand count as `other`: memory stays bounded."""

    total: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    by_account: Counter[str] = field(default_factory=Counter)
    by_type: Counter[str] = field(default_factory=Counter)
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(self, letter: DeadLetter) -> None:
        """Count one letter."""
        self.total += 1
        _count(self.by_reason, letter.reason)
        _count(self.by_account, letter.account_id or "unknown")
        _count(self.by_type, letter.event_type or "unknown")
        if letter.dead_at is not None:
            self.oldest = min(self.oldest or letter.dead_at, letter.dead_at)
            self.newest = max(self.newest or letter.dead_at, letter.dead_at)


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < _LONGEST_LISTS else "other"] += 1
