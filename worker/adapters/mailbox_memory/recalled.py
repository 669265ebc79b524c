"""Habits of Sent folders, recalled for some minutes: a database need not be asked, and told, with every letter."""

from collections import OrderedDict

from worker.delivery.ports import Clock
from worker.delivery.sent_copy.autosave_detection import SentHabits, SentPlace

_RECALLED_FOR_S = 600.0
_MAX_PLACES = 50_000


class RecalledSentHabits:
    """Implements `SentHabits` over another one; what contradicts or is not known yet passes at once."""

    def __init__(self, inner: SentHabits, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._known: OrderedDict[SentPlace, tuple[bool, float]] = OrderedDict()

    async def saves(self, place: SentPlace) -> bool | None:
        """See `SentHabits`."""
        recalled = self._recalled(place)
        if recalled is not None:
            return recalled
        known = await self._inner.saves(place)
        if known is not None:
            self._known[place] = (known, self._clock.monotonic() + _RECALLED_FOR_S)
            self._known.move_to_end(place)
            if len(self._known) > _MAX_PLACES:
                self._known.popitem(last=False)
        return known

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """See `SentHabits`. While it is known already, one more letter that agrees says nothing new."""
        if self._recalled(place) is was_there:
            return
        await self._inner.saw(place, was_there=was_there)
        self._known.pop(place, None)

    def _recalled(self, place: SentPlace) -> bool | None:
        known, until = self._known.get(place, (None, 0.0))
        return known if self._clock.monotonic() < until else None
