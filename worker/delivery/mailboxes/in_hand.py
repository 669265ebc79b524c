"""The letters or copies that a worker has in hand, shared fairly: beyond its share an account waits outside.

An account's turns are its own: however its servers delay its letters, they return no more often than letters of this
account get through, and delay no other account's.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from types import TracebackType

from worker.delivery.mailboxes.backlog import Backlog, Backlogged
from worker.delivery.places import Exhausted, Holder, Places
from worker.delivery.ports import Clock
from worker.domain.identity import lane_token

_MAX_BACKLOGS = 10_000
_LOOKED_AT = 4

WaitForTurn = Callable[[datetime | None], Backlogged]
"""Assigns a letter, with this turn if any, a turn in a mailbox's backlog."""


class InHand:
    """The places of one stage, and the backlogs of accounts that want more than their share."""

    def __init__(self, places: Places, clock: Clock) -> None:
        self.places = places
        self._clock = clock
        self._backlogs: OrderedDict[str, tuple[Holder, Backlog]] = OrderedDict()  # by token, most recently used last

    def acquire(
        self, holder: Holder, turn: datetime | None, of_mailbox: WaitForTurn | None = None
    ) -> "PlaceInHand | Backlogged":
        """A place, to be `release`d, or the letter's turn in a backlog. `turn`: the one it has so far.

        Where only the mailbox's share is used up, the turn is in the mailbox's backlog, if it has one here.
        """
        exhausted = self.places.take(holder)
        if exhausted is None:
            return PlaceInHand(self.places, holder, self.backlog(holder))
        if exhausted is Exhausted.MAILBOX and of_mailbox is not None:
            return of_mailbox(turn)
        return self.wait_for_turn(holder, turn)

    def wait_for_turn(self, holder: Holder, turn: datetime | None) -> Backlogged:
        """The denial of a letter whose account has no room left."""
        return self.backlog(holder).wait_for_turn(turn)

    def next_turn(self, lane: str, turn: datetime) -> datetime | None:
        """When a letter in an account's backlog may return; None: let it in, or there is no such backlog."""
        holder, backlog = self._backlogs.get(lane, (None, None))
        if holder is None or backlog is None or self.places.exhausted(holder) is None:
            return None
        return backlog.wait_for_turn(turn).not_before

    def backlog(self, holder: Holder) -> Backlog:
        """The backlog of the holder's account."""
        token = lane_token(holder.account_id, "")
        found = self._backlogs.get(token)
        if found is None:
            capacity = self.places.most_of_account
            found = self._backlogs[token] = Holder(holder.account_id), Backlog(self._clock, capacity, token)
            self._forget_some()
        self._backlogs.move_to_end(token)
        return found[1]

    def _forget_some(self) -> None:
        """Drop a few of the least recently used for each new one, beyond the maximum, whatever state they hold."""
        for _ in range(min(_LOOKED_AT, len(self._backlogs) - 1)):
            token, (_, backlog) = next(iter(self._backlogs.items()))
            if not backlog.is_over and len(self._backlogs) <= _MAX_BACKLOGS:
                return
            if backlog.is_over:
                del self._backlogs[token]
            else:
                self._backlogs.move_to_end(token)

    def __len__(self) -> int:
        return len(self._backlogs)


class PlaceInHand:
    """One letter's use of a place. A class, because a generator costs several times as much."""

    __slots__ = ("_backlog", "_began_s", "_holder", "_places")

    def __init__(self, places: Places, holder: Holder, backlog: Backlog) -> None:
        self._places = places
        self._holder = holder
        self._backlog = backlog
        self._began_s = backlog.began()

    def __enter__(self) -> None:
        """Nothing to do: the place is taken already."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self, *, is_served: bool = True) -> None:
        """Free the place for another letter. `is_served` False: the letter was denied after it had the place.

        A thousand letters, each denied within moments by a full mailbox, must not make the account look fast.
        """
        self._backlog.ended(self._began_s, is_served=is_served)
        self._places.give_back(self._holder)
