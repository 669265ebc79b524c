"""A letter's bytes as DATA takes them."""

import asyncio
import re
from collections.abc import Iterator

PIECE_BYTES = 65_536
CHECK_BYTES = 1_048_576
_LINE_FEED = 0x0A
# Regular expressions with a literal beginning find it several times faster than the methods of bytes find two bytes.
_LONE_CR = re.compile(rb"\r(?!\n)")
_DOT_LINE = re.compile(rb"\n\.")


async def is_canonical(wire: bytes, piece_bytes: int = CHECK_BYTES) -> bool:
    """True when all lines, the last one too, end in CRLF, and CR and LF stand nowhere else.

    A bare LF or CR before a dot is the end of the letter to some servers, and what follows it their next command
    (SMTP smuggling). Other tasks get their turn every few milliseconds.
    """
    start = 0
    while start < len(wire):
        end = start + piece_bytes
        if wire[end - 1 : end + 1] == b"\r\n":
            end += 1  # never between CR and LF
        piece = wire[start:end]
        if piece.count(b"\n") != piece.count(b"\r") or _LONE_CR.search(piece):
            return False
        start = end
        if start < len(wire):
            await asyncio.sleep(0)
    return wire.endswith(b"\r\n")


def stuffed_pieces(wire: bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Canonical bytes with a dot before each line that begins with one (RFC 5321 section 4.5.2), in pieces.

    A piece has at most twice `piece_bytes`; so a large letter neither is copied whole nor stops the event loop.
    """
    for start in range(0, len(wire), piece_bytes):
        piece = wire[start : start + piece_bytes]
        if _DOT_LINE.search(piece):
            piece = piece.replace(b"\n.", b"\n..")
        is_line_start = start == 0 or wire[start - 1] == _LINE_FEED
        yield b"." + piece if is_line_start and piece.startswith(b".") else piece
