"""Print the way of one happy letter through `worker.delivery` and `worker.domain`: its modules, and the hops between.

    python -m tools.trace_letter [--calls]

Delivers letters over the test world (`tests/delivery_world.py`) until caches are warm, then follows one more with
`sys.setprofile`, from the event's arrival to the results that are to be published. The Sent copy, a stage of its own,
is left out. A hop is a call from one module of the two packages into another; what the standard library, a library or
an adapter calls counts as called by the module that it was called from.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from tests.builders import a_comment_event
from tests.delivery_world import DeliveryWorld, an_arrival
from worker.domain.vocabulary import ResultType

_PACKAGES = ("worker.delivery.", "worker.domain.")
_WARM_UP = 3


@dataclass
class Trace:
    """The calls into the two packages, in their order: module and function, and the module that called."""

    calls: list[tuple[str, str, str]] = field(default_factory=list)
    _seen: set[FrameType] = field(default_factory=set)  # a coroutine that goes on is "called" once more

    def profile(self, frame: FrameType, event: str, _arg: object) -> None:
        """To be given to `sys.setprofile`."""
        name = frame.f_code.co_qualname
        if event != "call" or not _is_ours(frame) or "<" in name or frame in self._seen:
            return
        self._seen.add(frame)
        self.calls.append((_caller(frame), _module(frame), name))

    @property
    def modules(self) -> Counter[str]:
        """How many calls went into each module."""
        return Counter(module for _, module, _ in self.calls)

    @property
    def hops(self) -> Counter[tuple[str, str]]:
        """How many calls went from one module to another."""
        return Counter((caller, module) for caller, module, _ in self.calls if caller and caller != module)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_ours(frame: FrameType) -> bool:
    return _module(frame).startswith(_PACKAGES)


def _caller(frame: FrameType) -> str:
    """The module of the nearest caller in the two packages; empty where an event came in."""
    outer = frame.f_back
    while outer is not None and not _is_ours(outer):
        outer = outer.f_back
    return _module(outer) if outer is not None else ""


@contextmanager
def _profiled(trace: Trace) -> Iterator[None]:
    sys.setprofile(trace.profile)
    try:
        yield
    finally:
        sys.setprofile(None)


async def _traced() -> Trace:
    world = DeliveryWorld()
    for number in range(_WARM_UP):
        await world.deliver(a_comment_event(f"evt-warm-{number}"))
    arrival = an_arrival(a_comment_event("evt-traced"))
    handle, trace = world.delivery.pipeline.handle, Trace()
    with _profiled(trace):
        publications = await handle(arrival)
    if not any(publication.type == ResultType.MAIL_SENT for publication in publications):
        raise RuntimeError("the letter was not sent: this is not the happy path")
    return trace


def _print(trace: Trace, *, with_calls: bool) -> None:
    if with_calls:
        for caller, module, name in trace.calls:
            print(f"{caller or '(the broker)':40} {module}.{name}")
        print()
    for module, calls in trace.modules.most_common():
        print(f"{calls:5}  {module}")
    functions = len({(module, name) for _, module, name in trace.calls})
    print(f"\n{len(trace.modules)} modules, {functions} functions, {trace.hops.total()} hops between modules")


def main(arguments: Sequence[str] | None = None) -> None:
    """Trace one letter, and print what was found."""
    parser = argparse.ArgumentParser(description="Follow one happy letter through worker.delivery and worker.domain.")
    parser.add_argument("--calls", action="store_true", help="also print each call, with the module that it came from")
    options = parser.parse_args(arguments)
    _print(asyncio.run(_traced()), with_calls=options.calls)


if __name__ == "__main__":
    main()
