"""An entry of the registry: a function, what reaches it, and where it runs."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any

Make = Callable[[int], bytes]
"""Makes an input of about that many bytes."""


class Runs(Enum):
    """Where a function runs, and so what may not take long: all of it, or the longest time that it holds the rest."""

    IN_LOOP = "in the event loop, in one go"
    IN_STEPS = "in the event loop, and lets others have their turn"
    ASIDE = "in a thread: what counts is for how long it holds the interpreter"
    ELSEWHERE = "in a process of its own, or in an operator's tool"


@dataclass(frozen=True, slots=True)
class Entry:
    """`covers` are the functions that it stands for (`module:name`, without `worker.`).

    `function` takes the input as bytes, and raises what the function under test raises; `errors` are those that it may
    raise. `max_bytes` is the largest input that reaches it. `shapes` are inputs of its own language, besides those
    that every function is fed (`adversaries`). `is_huge`: of those only the ones that stand for others, and with
    `has_only_own_shapes` none.
    """

    covers: tuple[str, ...]
    function: Callable[[bytes], object] | Callable[[bytes], Coroutine[Any, Any, object]]
    max_bytes: int
    runs: Runs = Runs.IN_LOOP
    errors: tuple[type[Exception], ...] = ()
    shapes: tuple[tuple[str, Make], ...] = ()
    is_huge: bool = False
    has_only_own_shapes: bool = False

    @property
    def name(self) -> str:
        """The first function's."""
        return self.covers[0]


def repeated(unit: bytes, before: bytes = b"", after: bytes = b"") -> tuple[str, Make]:
    """A shape: a unit repeated, between a beginning and an end."""

    def make(size: int) -> bytes:
        return before + unit * max((size - len(before) - len(after)) // len(unit), 0) + after

    return f"{before[:24]!r} {unit[:24]!r}… {after[:24]!r}", make


def shapes(*units: bytes, before: bytes = b"", after: bytes = b"") -> tuple[tuple[str, Make], ...]:
    """A shape for each unit, with the same beginning and end."""
    return tuple(repeated(unit, before, after) for unit in units)
