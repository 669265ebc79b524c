"""How many letters one address gets from one account: the guard against two robots that answer each other for ever.

At most so many in what the current and the former five minutes have together. A letter belongs to the five minutes in
which it came to a worker first, not to those in which it leaves: letters that came over hours, and waited together for
a server or a suspended mailbox, all leave. It counts once, however often it is tried.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from worker.domain.identity import counted_address

SLOT_S = 300
KEPT_SLOTS = 12
"""An hour. Letters that came before are not counted any more: no robot waits that long for an answer."""

_LETTER_BYTES = 8
_SLOT_BYTES = 4
_PAIR_BYTES = _SLOT_BYTES + _LETTER_BYTES


def slot_of(at: datetime) -> int:
    """The number of the five minutes that a moment belongs to, counted since 1970."""
    return int(at.timestamp() // SLOT_S)


@dataclass(frozen=True, slots=True)
class RecipientLimit:
    """What is asked for a letter: at most `letters` to each of `addresses`, which are digests by position.

    `came_at`: when a worker saw the letter first.
    """

    letters: int
    came_at: datetime
    addresses: dict[int, str]


def recipient_limit(letters: int, account_id: str, came_at: datetime, addresses: dict[int, str]) -> RecipientLimit:
    """The limit for one account's letter; `addresses` by position, as they stand on the wire."""
    return RecipientLimit(letters, came_at, {p: counted_address(account_id, each) for p, each in addresses.items()})


@dataclass(frozen=True, slots=True)
class Letters:
    """The letters to one address that were let through lately: pairs of slot and the letter's digest."""

    of_slots: frozenset[tuple[int, bytes]] = frozenset()

    def admit(self, letter: bytes, came_at: datetime, limit: int, now: datetime) -> "tuple[Letters, bool]":
        """Whether the letter may leave, and the letters with it if it does; those too old to count are left out."""
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
        """As `from_bytes` reads them."""
        return b"".join(slot.to_bytes(_SLOT_BYTES, "big") + letter for slot, letter in sorted(self.of_slots))

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Letters":
        """The letters that `to_bytes` wrote."""
        pairs = (stored[at : at + _PAIR_BYTES] for at in range(0, len(stored), _PAIR_BYTES))
        return cls(frozenset((int.from_bytes(pair[:_SLOT_BYTES], "big"), pair[_SLOT_BYTES:]) for pair in pairs))
