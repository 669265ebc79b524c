"""What a worker has in hand, letters or copies, shared out: whose share is used up waits for a turn, out of the worker.

An account's turns are its own: whatever its servers do to hold up its letters, they come by no more often than letters
of this account get through, and stand before nobody else's.
"""

from collections import OrderedDict
from datetime import datetime
from types import TracebackType

from worker.delivery.backlog import Backlog, Closed
from worker.delivery.places import Denied, Holder, Places
from worker.delivery.ports import Clock
from worker.domain.identity import lane_token

_MAX_BACKLOGS = 10_000
_LOOKED_AT = 4


class InHand:
    """The places of one stage, and the backlogs of accounts that want more than their share."""

    def __init__(self, places: Places, clock: Clock) -> None:
        self.places = places
        self._clock = clock
        self._backlogs: OrderedDict[str, tuple[Holder, Backlog]] = OrderedDict()  # by token, the latest used last

    def place(self, holder: Holder, turn: datetime | None) -> "HeldInHand":
        """A context that holds a place, or gives why there is none now. `turn`: of the letter.

        What it gives has no turn where only the mailbox's share is used up: that is in the mailbox's own backlog.
        """
        return HeldInHand(self, holder, turn)

    def wait_for_turn(self, holder: Holder, turn: datetime | None) -> Closed:
        """The answer to a letter whose account has no room left for it."""
        return self.backlog(holder).wait_for_turn(turn)

    def next_turn(self, lane: str, turn: datetime) -> datetime | None:
        """When a letter that waits in an account's backlog may come again; None: let it in, or no such backlog."""
        holder, backlog = self._backlogs.get(lane, (None, None))
        if holder is None or backlog is None or self.places.denied(holder) is None:
            return None
        return backlog.wait_for_turn(turn).turn

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
        """A few for each new one: beyond the most that are kept, of those used least recently, whatever they know."""
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


class HeldInHand:
    """The use of a place for one letter. A class, because a generator costs several times as much."""

    __slots__ = ("_backlog", "_began_s", "_holder", "_in_hand", "_turn")

    def __init__(self, in_hand: InHand, holder: Holder, turn: datetime | None) -> None:
        self._in_hand = in_hand
        self._holder = holder
        self._turn = turn
        self._backlog: Backlog | None = None
        self._began_s = 0.0

    def __enter__(self) -> Closed | Denied | None:
        denied = self._in_hand.places.take(self._holder)
        if denied is Denied.ACCOUNT:
            return self._in_hand.wait_for_turn(self._holder, self._turn)
        if denied is None:
            self._backlog = self._in_hand.backlog(self._holder)
            self._began_s = self._backlog.began()
        return denied

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._backlog is not None:
            self._backlog.ended(self._began_s, is_served=True)
            self._in_hand.places.give_back(self._holder)
