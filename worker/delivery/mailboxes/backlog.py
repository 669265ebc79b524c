"""A mailbox's backlog waits outside the worker: each letter gets a turn, about when those before it will be done.

A letter keeps its turn until it is due, because the delay queues offer only a few waiting times and return a letter
early, several times over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.delivery.ports import Clock
from worker.domain.vocabulary import Reason

_FIRST_GUESS_S = 0.5
_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Suspended:
    """Denied: the mailbox is suspended until an administrator or operator acts."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class CoolingDown:
    """Denied: the mailbox sends nothing for `wait_s` seconds, for this reason."""

    reason: Reason
    wait_s: float


@dataclass(frozen=True, slots=True)
class Backlogged:
    """Denied: the letter waits in a backlog for `wait_s` seconds, until `not_before`.

    `backlog` is the backlog's token in headers; None where no letter of the backlog waits outside the worker.
    """

    wait_s: float
    not_before: datetime
    backlog: str | None = None


@dataclass(frozen=True, slots=True)
class AtCapacity(Backlogged):
    """The mailbox, or its account, has its maximum of letters in hand."""


@dataclass(frozen=True, slots=True)
class RateLimited(Backlogged):
    """The mailbox has reached its per-minute limit."""


@dataclass(frozen=True, slots=True)
class StaleSettings(Backlogged):
    """Another worker has seen newer settings of the mailbox: this worker needs a newer snapshot first."""


Denied = Suspended | CoolingDown | Backlogged
"""Why a letter may not leave now."""


class Backlog:
    """Assigns turns to letters beyond `capacity` at a time. `pace_s`: the least time between two turns.

    It estimates a letter's duration from finished letters and, where none finishes, from the age of those in hand.
    """

    def __init__(self, clock: Clock, capacity: int, token: str | None = None) -> None:
        self._clock = clock
        self._capacity = capacity
        self.token = token
        self._learned_s = _FIRST_GUESS_S
        self._in_hand = 0
        self._began_total_s = 0.0
        self._ends = self._held_until = clock.now()
        self.pace_s = 0.0

    @property
    def is_over(self) -> bool:
        """True when the backlog holds no state worth keeping."""
        return not self._in_hand and self._ends <= self._clock.now()

    @property
    def service_s(self) -> float:
        """Estimated duration of a letter in seconds."""
        if not self._in_hand:
            return self._learned_s
        return max(self._learned_s, self._clock.monotonic() - self._began_total_s / self._in_hand)

    def began(self) -> float:
        """Count a letter as in hand; returns its start, for `ended`."""
        began_s = self._clock.monotonic()
        self._in_hand += 1
        self._began_total_s += began_s
        return began_s

    def ended(self, began_s: float, *, is_served: bool = True) -> None:
        """Count a letter as done; `is_served` False: it was denied on its way, so its duration predicts nothing."""
        self._in_hand -= 1
        self._began_total_s = self._began_total_s - began_s if self._in_hand else 0.0
        if is_served:
            self._learned_s += _SMOOTHING * (self._clock.monotonic() - began_s - self._learned_s)

    def hold(self, until: datetime) -> None:
        """Assign no turn before then."""
        self._held_until = until

    @property
    def is_held(self) -> bool:
        return self._held_until > self._clock.now()

    def wait_for_turn(self, turn: datetime | None, waiting: int = 0) -> AtCapacity | RateLimited:
        """The denial of a letter that finds no room; a letter whose turn is still ahead keeps it.

        `waiting`: how many wait in the worker before it.
        """
        now = self._clock.now()
        if turn is None or turn <= now:
            turn = self._reserve(now, waiting)
        denied = RateLimited if self.is_held else AtCapacity
        return denied((turn - now).total_seconds(), turn, self.token)

    def _reserve(self, now: datetime, waiting: int) -> datetime:
        """Reserve the next turn, spaced by the estimated duration of a letter."""
        each_s = self.service_s / self._capacity
        turn = max(self._ends, self._held_until, now + timedelta(seconds=each_s * waiting))
        self._ends = turn + timedelta(seconds=max(each_s, self.pace_s))
        return turn
