"""Cooldown for names that did not answer, so that they do not block resolver threads repeatedly."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

ANSWER_WITHIN_S = 2.0
"""A look-up that takes longer than this to fail counts as silence; an immediate refusal blocks nothing."""

FIRST_S, LONGEST_S = 15.0, 300.0
"""Cooldown before the next look-up of a name; doubles with each further silence, up to the longest."""

_MAX_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class _Silence:
    until_s: float
    lasts_s: float


class SilentNames:
    """At most 10,000 names; beyond that the oldest entries are evicted."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._silences: OrderedDict[str, _Silence] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        """Whether the name is still in its cooldown."""
        silence = self._silences.get(name)
        return silence is not None and self._monotonic() < silence.until_s

    def failed(self, name: str, took_s: float) -> None:
        """Record a look-up that temporarily got no answer."""
        if took_s < ANSWER_WITHIN_S:
            return
        before = self._silences.pop(name, None)
        lasts_s = FIRST_S if before is None else min(before.lasts_s * 2, LONGEST_S)
        self._silences[name] = _Silence(self._monotonic() + lasts_s, lasts_s)
        if len(self._silences) > _MAX_NAMES:
            self._silences.popitem(last=False)

    def answered(self, name: str) -> None:
        """Record an answer: addresses, or that the name does not exist."""
        self._silences.pop(name, None)
