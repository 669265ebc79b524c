"""In-memory mailbox state shared by workers; passes the same contract suite as the databases."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from worker.delivery.ports import Clock
from worker.delivery.sent_copy.autosave_detection import SentPlace
from worker.delivery.token_rotation import Rotation
from worker.domain.sent_autosave import SentHabit, after_look


class MemoryRefreshTokens:
    """Implements `RefreshTokens`; workers share tokens by sharing an instance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turns: dict[bytes, tuple[str, datetime]] = {}
        self._newest: dict[bytes, Rotation] = {}
        self._untold: dict[bytes, Rotation] = {}

    async def take_turn(self, grant: bytes, holder: str, for_s: float) -> bool:
        """See `RefreshTokens`."""
        now = self._clock.now()
        other, until = self._turns.get(grant, (holder, now))
        if other != holder and until > now:
            return False
        self._turns[grant] = (holder, now + timedelta(seconds=for_s))
        return True

    async def end_turn(self, grant: bytes, holder: str) -> None:
        """See `RefreshTokens`."""
        if grant in self._turns and self._turns[grant][0] == holder:
            del self._turns[grant]

    async def newest(self, grant: bytes) -> Rotation | None:
        """See `RefreshTokens`."""
        return self._newest.get(grant)

    async def keep(self, rotation: Rotation) -> None:
        """See `RefreshTokens`."""
        self._newest[rotation.grant] = self._untold[rotation.grant] = rotation

    async def untold(self, limit: int) -> Sequence[Rotation]:
        """See `RefreshTokens`."""
        return sorted(self._untold.values(), key=lambda rotation: rotation.rotated_at)[:limit]

    async def told(self, rotation: Rotation) -> None:
        """See `RefreshTokens`."""
        if self._untold.get(rotation.grant) == rotation:
            del self._untold[rotation.grant]


class MemorySentHabits:
    """Implements `SentHabits`; workers share habits by sharing an instance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._habits: dict[SentPlace, SentHabit] = {}

    async def saves(self, place: SentPlace) -> bool | None:
        """See `SentHabits`."""
        habit = self._habits.get(place)
        return None if habit is None else habit.saves(self._clock.now())

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """See `SentHabits`."""
        self._habits[place] = after_look(self._habits.get(place), was_there=was_there, at=self._clock.now())
