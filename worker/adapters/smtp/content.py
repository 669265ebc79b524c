"""A letter's bytes as DATA takes them."""

from collections.abc import Iterator

PIECE_BYTES = 65_536
_LINE_FEED = 0x0A


def is_canonical(wire: bytes) -> bool:
    """True when all lines, the last one too, end in CRLF, and CR and LF stand nowhere else.

    A bare LF or CR before a dot is the end of the letter to some servers, and what follows it their next command
    (SMTP smuggling).
    """
    pairs = wire.count(b"\r\n")
    return wire.endswith(b"\r\n") and wire.count(b"\n") == pairs and wire.count(b"\r") == pairs


def stuffed_pieces(wire: bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Canonical bytes with a dot before each line that begins with one (RFC 5321 section 4.5.2), in pieces.

    A piece has at most twice `piece_bytes`; so a large letter neither is copied whole nor stops the event loop.
    """
    for start in range(0, len(wire), piece_bytes):
        piece = wire[start : start + piece_bytes].replace(b"\n.", b"\n..")
        is_line_start = start == 0 or wire[start - 1] == _LINE_FEED
        yield b"." + piece if is_line_start and piece.startswith(b".") else piece
