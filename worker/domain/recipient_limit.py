"""How many letters one address gets from one account: the guard against two robots that answer each other for ever.

The limit applies to the current and the previous five minutes together. A letter counts in the five minutes in which it
first reached a worker, not in those in which it leaves: letters that arrived over hours, and waited together for a
server or a suspended mailbox, all leave. It counts once, however many attempts it takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from worker.domain.identity import counted_address

SLOT_S = 300
KEPT_SLOTS = 12
"""An hour. Earlier letters no longer count: no robot waits that long for an answer."""

_LETTER_BYTES = 8
_SLOT_BYTES = 4
_PAIR_BYTES = _SLOT_BYTES + _LETTER_BYTES


def slot_of(at: datetime) -> int:
    """The number of the five minutes that contain this moment, counted since 1970."""
    return int(at.timestamp() // SLOT_S)


@dataclass(frozen=True, slots=True)
class RecipientLimit:
    """The limit for one letter: at most `letters` to each of `addresses`, which are digests by position.

    `came_at`: when a worker first saw the letter.
    """

    letters: int
    came_at: datetime
    addresses: dict[int, str]


def recipient_limit(letters: int, account_id: str, came_at: datetime, addresses: dict[int, str]) -> RecipientLimit:
    """The limit for one account's letter; `addresses` by position, in wire form."""
    return RecipientLimit(letters, came_at, {p: counted_address(account_id, each) for p, each in addresses.items()})


@dataclass(frozen=True, slots=True)
class Letters:
    """The recent letters to one address: pairs of slot and the letter's digest."""

    of_slots: frozenset[tuple[int, bytes]] = frozenset()

    def admit(self, letter: bytes, came_at: datetime, limit: int, now: datetime) -> "tuple[Letters, bool]":
        """Whether the letter may leave, and the letters including it if it may; drops those too old to count."""
        oldest = slot_of(now) - KEPT_SLOTS
        kept = frozenset(pair for pair in self.of_slots if pair[0] >= oldest)
        slot = slot_of(came_at)
        if slot < oldest or any(known == letter for _, known in kept):
            return Letters(kept), True
        if self._most(slot, kept) >= limit:
            return Letters(kept), False
        return Letters(kept | {(slot, letter)}), True

    @staticmethod
    def _most(slot: int, kept: Iterable[tuple[int, bytes]]) -> int:
        """The letters of the slot and of the one before or after, whichever has more."""
        numbers = {slot - 1: 0, slot: 0, slot + 1: 0}
        for each, _ in kept:
            if each in numbers:
                numbers[each] += 1
        return numbers[slot] + max(numbers[slot - 1], numbers[slot + 1])

    @property
    def newest(self) -> int:
        """The latest slot that has a letter, 0 without any."""
        return max((slot for slot, _ in self.of_slots), default=0)

    def to_bytes(self) -> bytes:
        """Encode for `from_bytes`."""
        return b"".join(slot.to_bytes(_SLOT_BYTES, "big") + letter for slot, letter in sorted(self.of_slots))

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Letters":
        """Decode what `to_bytes` wrote."""
        pairs = (stored[at : at + _PAIR_BYTES] for at in range(0, len(stored), _PAIR_BYTES))
        return cls(frozenset((int.from_bytes(pair[:_SLOT_BYTES], "big"), pair[_SLOT_BYTES:]) for pair in pairs))
