"""Every function that takes foreign bytes, with an input that repeats itself up to the whole size that is allowed.

The first byte chooses the entry of the registry, the second and third how long the beginning and the repeated piece
are; what is left over is the end. What takes longer than is allowed, or more than in proportion, is a failure.
"""

from fuzz.foreign.entry import Runs, repeated
from fuzz.foreign.measuring import complaint, took_s
from fuzz.foreign.registry import ENTRIES
from fuzz.target import Target

# Watched by the fuzzer, and on a machine that does other things too, a function takes several times as long.
_HOLD_S = 0.5
_SMALL_BYTES = 4 * 1024
_SUSPICIOUS_S = 0.002  # a small input that takes less is worth no measurement of large ones
_MAX_PIECE_BYTES = 64
_SELECTED = tuple(entry for entry in ENTRIES if entry.runs in (Runs.IN_LOOP, Runs.IN_STEPS) and not entry.is_huge)


def check(data: bytes) -> None:
    """No input of any shape takes longer than is allowed."""
    if len(data) < 4:
        return
    entry = _SELECTED[data[0] % len(_SELECTED)]
    before, unit = data[1] % _MAX_PIECE_BYTES, data[2] % _MAX_PIECE_BYTES + 1
    rest = data[3:]
    pieces = rest[before : before + unit], rest[:before], rest[before + unit :][:_MAX_PIECE_BYTES]
    if not pieces[0]:
        return
    _, make = repeated(*pieces)
    if took_s(entry, make(min(_SMALL_BYTES, entry.max_bytes))) > _SUSPICIOUS_S:
        said = complaint(entry, make, hold_s=_HOLD_S)
        assert said is None, f"{entry.name}: {said}"


TARGET = Target(
    check,
    tokens=(
        *(b" \n", b"5.1.1 ", b"hunter2", b"( STORAGE 1 1", b"\xcc\x80\xcc\x96", b"%{d}", b"<a ", b"&amp", b"SEARCH 1"),
        *(b'* LIST () "/" a\r\n', b"BODY[] {1", b"exceeded ", b"v=spf1 ", b"xn--", b'{"a":', b"<a@", b"0-9,"),
    ),
    max_input_bytes=256,
)
