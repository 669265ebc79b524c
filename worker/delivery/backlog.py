"""A backlog does not wait in the worker: each of its letters has a turn, about when those before it will be through.

A turn stays with its letter until it has come, because the delay queues only know a few waiting times and bring a
letter back early, several times over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.delivery.ports import Clock
from worker.domain.vocabulary import Reason

_FIRST_GUESS_S = 0.5
_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Closed:
    """A letter is not let in for now.

    `wait_s` None: until somebody acts. `reason` None: there is only no room, and `turn` is the letter's; `lane` names
    the backlog in which that is, where it is not the mailbox's own.
    """

    wait_s: float | None
    reason: Reason | None = None
    turn: datetime | None = None
    lane: str | None = None


class Backlog:
    """The turns of letters that find no room among `capacity` at a time. `pace_s`: the least time between two turns.

    How long one takes is learned from those that are through, and from those that are not: where nothing ever ends,
    their age tells it.
    """

    def __init__(self, clock: Clock, capacity: int, lane: str | None = None) -> None:
        self._clock = clock
        self._capacity = capacity
        self._lane = lane
        self._learned_s = _FIRST_GUESS_S
        self._in_hand = 0
        self._began_total_s = 0.0
        self._ends = self._held_until = clock.now()
        self.pace_s = 0.0

    @property
    def is_over(self) -> bool:
        """True when forgetting the backlog would forget nothing."""
        return not self._in_hand and self._ends <= self._clock.now()

    @property
    def service_s(self) -> float:
        """How long a letter takes, in seconds."""
        if not self._in_hand:
            return self._learned_s
        return max(self._learned_s, self._clock.monotonic() - self._began_total_s / self._in_hand)

    def began(self) -> float:
        """A letter is in hand; gives the moment, for `ended`."""
        began_s = self._clock.monotonic()
        self._in_hand += 1
        self._began_total_s += began_s
        return began_s

    def ended(self, began_s: float, *, is_served: bool) -> None:
        """A letter is through; `is_served` False: it was kept from being sent, so nothing is learned from it."""
        self._in_hand -= 1
        self._began_total_s = self._began_total_s - began_s if self._in_hand else 0.0
        if is_served:
            self._learned_s += _SMOOTHING * (self._clock.monotonic() - began_s - self._learned_s)

    def hold(self, until: datetime) -> None:
        """Have no turn before then."""
        self._held_until = until

    @property
    def is_held(self) -> bool:
        return self._held_until > self._clock.now()

    def wait_for_turn(self, turn: datetime | None, waiting: int = 0) -> Closed:
        """The answer to a letter for which there is no room; one whose turn has not come keeps it.

        `waiting`: how many wait in the worker, before it.
        """
        now = self._clock.now()
        if turn is None or turn <= now:
            turn = self._reserve(now, waiting)
        return Closed((turn - now).total_seconds(), turn=turn, lane=self._lane)

    def _reserve(self, now: datetime, waiting: int) -> datetime:
        """The next turn: each one takes as long as letters took lately."""
        each_s = self.service_s / self._capacity
        turn = max(self._ends, self._held_until, now + timedelta(seconds=each_s * waiting))
        self._ends = turn + timedelta(seconds=max(each_s, self.pace_s))
        return turn
