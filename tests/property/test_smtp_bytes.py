"""Bytes from and to the server: replies however they are cut, contents whatever is in them."""

import asyncio
from itertools import pairwise

import pytest
from aiosmtplib import SMTPResponse, SMTPResponseException
from aiosmtplib.errors import SMTPException
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters.smtp.errors import reply_of
from worker.adapters.smtp.protocol import PairedProtocol
from worker.adapters.smtp.transaction import is_canonical, stuffed_pieces

lines = st.binary(max_size=12).map(lambda line: line.replace(b"\r", b"x").replace(b"\n", b"x"))
dotted = st.one_of(lines, lines.map(b".".__add__), st.just(b"."), st.just(b""))
contents = st.lists(dotted, min_size=1, max_size=12).map(lambda parts: b"".join(part + b"\r\n" for part in parts))


def unstuffed(content: bytes) -> bytes:
    """What a server makes of it, line by line (RFC 5321 section 4.5.2)."""
    split = content.split(b"\r\n")
    assert b"." not in split
    return b"\r\n".join(line.removeprefix(b".") for line in split)


@given(wire=contents, piece_bytes=st.integers(1, 40))
async def test_stuffing_is_undone_by_the_server_however_the_letter_is_cut(wire: bytes, piece_bytes: int) -> None:
    pieces = list(stuffed_pieces(wire, piece_bytes))
    assert await is_canonical(wire, piece_bytes)
    assert unstuffed(b"".join(pieces)) == wire
    assert all(len(piece) <= 2 * piece_bytes for piece in pieces)


@given(wire=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x"])).map(b"".join), piece_bytes=st.integers(1, 9))
async def test_only_letters_without_bare_line_ends_are_canonical(wire: bytes, piece_bytes: int) -> None:
    rest = wire.replace(b"\r\n", b"")
    is_right = wire.endswith(b"\r\n") and b"\r" not in rest and b"\n" not in rest
    assert await is_canonical(wire, piece_bytes) == is_right


class _Silence(asyncio.Transport):
    """Takes everything and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def write(self, data: object) -> None: ...


async def replies_to(data: bytes, cuts: list[int], commands: int) -> list[SMTPResponse | SMTPException]:
    """What the protocol makes of these bytes, cut at these places, as answers to so many pipelined commands."""
    protocol = PairedProtocol({})
    protocol.connection_made(_Silence())
    protocol.data_received(b"220 ready\r\n")
    await protocol.next_reply(1)
    protocol.pipeline([b"NOOP"] * commands)
    for start, end in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]):
        protocol.data_received(data[start:end])
    protocol.eof_received()
    found: list[SMTPResponse | SMTPException] = []
    for _ in range(commands):
        try:
            found.append(await protocol.next_reply(1))
        except SMTPException as error:
            found.append(error)
    return found


texts = st.text(st.characters(min_codepoint=33, max_codepoint=1_000), min_size=1, max_size=10)
reply = st.tuples(st.integers(200, 599), st.lists(texts, min_size=1, max_size=4))


@given(expected=st.lists(reply, min_size=1, max_size=4), cuts=st.lists(st.integers(0, 400), max_size=8))
async def test_replies_are_paired_with_commands_however_they_are_cut(
    expected: list[tuple[int, list[str]]], cuts: list[int]
) -> None:
    data = b"".join(
        "".join(f"{code}{' ' if n == len(parts) - 1 else '-'}{part}\r\n" for n, part in enumerate(parts)).encode()
        for code, parts in expected
    )
    found = await replies_to(data, cuts, len(expected))
    assert found == [SMTPResponse(code, "\n".join(part.strip() for part in parts)) for code, parts in expected]


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=6))
async def test_any_bytes_are_a_reply_or_an_error_of_the_library(data: bytes, cuts: list[int]) -> None:
    for outcome in await replies_to(data, cuts, 2):
        if isinstance(outcome, SMTPResponse):
            made = reply_of(outcome)
            assert 200 <= made.code <= 599
            assert made.text.isprintable()
            assert made.enhanced is None or made.enhanced[0] == str(made.code)[0]


@pytest.mark.parametrize(
    "flood",
    [b"250-" + b"x" * 70 + b"\r\n", b"250-\r\n", b"x" * 4096, b"250 " + b"x" * 4096],
    ids=["lines", "empty lines", "no line end", "one long line"],
)
@pytest.mark.parametrize("is_owed", [True, False], ids=["as a reply", "out of turn"])
async def test_a_flood_is_cut_off_before_it_fills_the_memory(flood: bytes, is_owed: bool) -> None:
    """If a server never ends its reply, no more than some tens of kilobytes are kept of it."""
    transport = _Silence()
    protocol = PairedProtocol({})
    protocol.connection_made(transport)
    protocol.data_received(b"220 ready\r\n")
    await protocol.next_reply(1)
    if is_owed:
        protocol.pipeline([b"NOOP"])
    fed = 0
    while not transport.is_aborted:
        protocol.data_received(flood)
        fed += len(flood)
        assert fed < 100_000
    assert len(protocol._buffer) <= 65_536
    with pytest.raises(SMTPResponseException):
        await protocol.next_reply(1)
