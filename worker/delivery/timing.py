"""How long something takes, told at its end, whatever that is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType


class Timed:
    """One stay in a stage, which is a span as well.

    A class, because every letter goes through a dozen of them: a generator would cost twice as much.
    """

    __slots__ = ("_began_s", "_ended", "_monotonic", "_span")

    def __init__(
        self, monotonic: Callable[[], float], span: AbstractContextManager[None], ended: Callable[[float], object]
    ) -> None:
        self._monotonic = monotonic
        self._span = span
        self._ended = ended
        self._began_s = 0.0

    def __enter__(self) -> None:
        self._began_s = self._monotonic()
        self._span.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._span.__exit__(kind, error, trace)
        self._ended(self._monotonic() - self._began_s)
