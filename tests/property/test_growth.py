"""What takes foreign text or bytes costs no more than in proportion to them, and does not hold the event loop.

`fuzz.foreign` has the registry; here every entry of it is fed with what makes careless code slow.
"""

import asyncio
import re
import time
from collections.abc import Callable

import pytest

from fuzz.foreign.adversaries import adversaries
from fuzz.foreign.entry import Entry, Runs, repeated
from fuzz.foreign.inventory import foreign_functions, found_in
from fuzz.foreign.measuring import complaint
from fuzz.foreign.ours import NOT_FOREIGN
from fuzz.foreign.registry import ENTRIES, covered

_SPACES = repeated(b" ")[1]


@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{number}-{entry.name}" for number, entry in enumerate(ENTRIES)])
def test_the_time_is_in_proportion_and_the_event_loop_is_not_held(entry: Entry) -> None:
    """If somebody sends as much as is allowed, of whatever is worst, then the others notice nothing."""
    found = [f"{name}: {said}" for name, make in adversaries(entry) if (said := complaint(entry, make)) is not None]
    assert not found, "\n".join(found)


def test_every_function_that_takes_foreign_bytes_is_known() -> None:
    """If somebody adds one, then it gets an entry in the registry, or a reason why it needs none."""
    functions = set(foreign_functions())
    assert sorted(functions - covered() - set(NOT_FOREIGN)) == [], "neither in fuzz/foreign/registry nor in ours.py"
    assert sorted((covered() | set(NOT_FOREIGN)) - functions) == [], "there is no such function"
    assert sorted(covered() & set(NOT_FOREIGN)) == [], "both in the registry and in ours.py"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def read(text: str) -> str: return text.split()", ["read"]),
        ("def read(text: str) -> str: return _inner(text)\ndef _inner(text): return RE.search(text)", ["read"]),
        (
            "def read(texts: Iterable[str]): return map(_inner, texts)\ndef _inner(text): return text.find('a')",
            ["read"],
        ),
        ("class A:\n  async def read(self, data: bytes): return int(data)", ["A.read"]),
        (
            "class A:\n  def read(self, *, reply: 'Reply'): return self._in(reply)\n  def _in(self, r): r.split()",
            ["A.read"],
        ),
        ("def _check(text: str): RE.match(text)\nT = Annotated[str, AfterValidator(_check)]", ["_check"]),
        ("def _check(text: str): RE.match(text)", []),
        ("def read(count: int): return str(count).split()", []),
        ("def read(text: str) -> int: return len(text)", []),
    ],
)
def test_the_inventory_finds_what_others_can_call(source: str, names: list[str]) -> None:
    assert found_in(source) == names


def _entry(function: Callable[[bytes], object], max_bytes: int, runs: Runs = Runs.IN_LOOP) -> Entry:
    return Entry(("x",), function, max_bytes, runs)


def test_the_measurement_sees_the_square() -> None:
    """If a pattern tries each of many spaces with all that follow, then the growth test fails."""
    pattern = re.compile(rb"[ ]+x")
    assert "more than in proportion" in (complaint(_entry(pattern.search, 12_000), _SPACES, hold_s=60) or "")
    assert complaint(_entry(lambda data: sum(data), 1_000_000), _SPACES, hold_s=60) is None


def _busy(data: bytes) -> None:
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass


async def _busy_in_a_step(data: bytes) -> None:
    await asyncio.sleep(0)
    _busy(data)


async def _busy_in_steps(data: bytes) -> None:
    for _ in range(1_000):
        sum(range(3_000))
        await asyncio.sleep(0)


def _holding(data: bytes) -> None:
    sum(range(20_000_000))  # one call, in which no other thread has a turn


def test_the_measurement_sees_who_holds_the_event_loop() -> None:
    """If a function takes long in one step, then the growth test fails, and not if it lets others have their turn."""
    for function, runs in ((_busy, Runs.IN_LOOP), (_busy_in_a_step, Runs.IN_STEPS), (_holding, Runs.ASIDE)):
        assert "hold the event loop" in (complaint(Entry(("x",), function, 10, runs), _SPACES) or ""), function
    for function, runs in ((_busy_in_steps, Runs.IN_STEPS), (_busy, Runs.ASIDE), (_busy, Runs.ELSEWHERE)):
        assert "hold the event loop" not in (complaint(Entry(("x",), function, 10, runs), _SPACES) or ""), function
