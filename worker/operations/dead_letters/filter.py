"""Selects dead letters by filters, and counts them by facet."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

from worker.domain.vocabulary import Reason
from worker.operations.dead_letters.death import UNKNOWN
from worker.operations.dead_letters.letter import DeadLetter

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGO = re.compile(r"(\d{1,6})([smhd])")
_LONGEST_LISTS = 1_000
OTHER = "other"

FACETS: Mapping[str, Callable[[DeadLetter], str | None]] = {
    "reason": lambda letter: letter.reason,
    "account": lambda letter: letter.account_id or UNKNOWN,
    "type": lambda letter: letter.event_type or UNKNOWN,
    "mailbox": lambda letter: letter.mailbox_id or UNKNOWN,
    "queue": lambda letter: letter.queue or UNKNOWN,
    "worker_error": lambda letter: letter.detail if letter.reason == Reason.INTERNAL_ERROR else None,
}
"""Facets: what letters are counted by and can be filtered on; `unknown` for a letter that lacks the value."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters; a letter must match all that are set. `since` and `until` bound the time of death, `until` exclusive.

    `digest` is a prefix, `digests` are complete digests picked by hand; `position` is the place in the queue, from 1.
    `accounts` are those that the viewer may see; None means all.
    """

    type: str | None = None
    reason: str | None = None
    account: str | None = None
    mailbox: str | None = None
    queue: str | None = None
    worker_error: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    event_id: str | None = None
    replay_id: str | None = None
    digest: str | None = None
    position: int | None = None
    digests: frozenset[str] | None = None
    accounts: frozenset[str] | None = None

    def facets(self) -> dict[str, str]:
        """The filters that set one value of a facet."""
        values = {name: getattr(self, name) for name in FACETS}
        return {name: value for name, value in values.items() if value is not None}

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the letter matches."""
        pairs = (
            (self.event_id, letter.event_id),
            (self.replay_id, letter.replay_id),
            (self.position, letter.position),
        )
        if any(wanted is not None and wanted != found for wanted, found in pairs):
            return False
        if any(FACETS[name](letter) != wanted for name, wanted in self.facets().items()):
            return False
        if self.accounts is not None and letter.account_id not in self.accounts:
            return False
        if self.digests is not None and letter.digest not in self.digests:
            return False
        return letter.digest.startswith(self.digest or "") and self._has_time(letter.dead_at) and self._has_text(letter)

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
        """The filters that are set, in the form the audit event records them."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: _word(value) for name, value in values.items() if value is not None}


def _word(value: object) -> str:
    match value:
        case datetime():
            return value.isoformat()
        case frozenset():
            return ", ".join(sorted(value))
        case _:
            return str(value)


def moment(text: str, now: datetime) -> datetime:
    """Parse a time: ISO 8601 (UTC unless it names a zone), or an age (`90m`, `2h`, `3d`).

    Raises:
        ValueError: the text is neither.
    """
    if match := _AGO.fullmatch(text.strip()):
        return now - timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
    try:
        given = datetime.fromisoformat(text.strip())
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a time such as 2026-11-23T10:00:00Z, or how long ago, such as 2h") from None


@dataclass(slots=True)
class FacetCounts:
    """Counts letters by facet. Values beyond a facet's first thousand count as `other`, which bounds memory."""

    total: int = 0
    counts: Mapping[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in FACETS})
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(self, letter: DeadLetter) -> None:
        """Count a letter."""
        self.total += 1
        for name, value_of in FACETS.items():
            if (value := value_of(letter)) is not None:
                _count(self.counts[name], value)
        if letter.dead_at is not None:
            self.oldest = min(self.oldest or letter.dead_at, letter.dead_at)
            self.newest = max(self.newest or letter.dead_at, letter.dead_at)

    def times(self) -> str:
        """The range of times of death, as text; empty when no letter has one."""
        if self.oldest is None or self.newest is None:
            return ""
        return f", from {self.oldest.isoformat()} to {self.newest.isoformat()}"


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < _LONGEST_LISTS else OTHER] += 1
