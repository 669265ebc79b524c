"""Inputs that make careless code slow, whatever its language is."""

from fuzz.foreign.entry import Entry, Make, repeated

_MARKS = "\u0300\u0316".encode()  # in the wrong order, so that normalising has to sort the whole run
_UNITS: tuple[bytes, ...] = (
    *(b" ", b"\t", b"\n", b"\r\n", b"\0", b"\xff", b"a", b"0", b"9"),
    *(b"(", b")", b"[", b"{", b"<", b"&", b"%", b'"', b"'", b"\\", b",", b".", b";", b":", b"=", b"@", b"-", b"/"),
    *(b"a ", b" \n", b"\n ", b"a.", b"a,", b"a;b=", b"<a ", b"<!--", b"&#", b"&amp", b'\\"', b"()", b"[]", b"{}"),
    *(b"{1}\r\n", b"%{d}", b"=?utf-8?b?", b"&-", b"xn--", b"1.1.1 ", b"\n5.1.1 ", b"aA", b"A0 OK\r\n", b"* OK x\r\n"),
    *(_MARKS, b"a" + _MARKS, "ﷺ".encode(), "ü".encode(), "\u200b".encode(), "\u2028".encode(), "가".encode()),
)
# Of inputs of many megabytes, those that stand for the others.
_FEW: tuple[bytes, ...] = (b" ", b"a", b"\n", b"<", b'\\"', b"a,", b"[", b"{}", b"0", _MARKS, "ü".encode(), b"a b\n")


def adversaries(entry: Entry) -> tuple[tuple[str, Make], ...]:
    """All shapes that an entry is fed, by their names."""
    if entry.has_only_own_shapes:
        return entry.shapes
    if entry.is_huge:
        return (*map(repeated, _FEW), *entry.shapes)
    return (*map(repeated, _UNITS), *(repeated(unit, b"x", b"y") for unit in _UNITS), *entry.shapes)
