"""Streams of IMAP responses through framing and every parser."""

from fuzz.target import Target
from worker.adapters.imap.encoding import Malformed
from worker.adapters.imap.protocol import ResponseFramer, ResponseTooLarge
from worker.adapters.imap.responses import (
    MAX_NUMBER,
    AppendUid,
    ListedFolder,
    append_uid,
    capabilities,
    listed_folder,
    response_code,
    search_result,
    uid_validity,
)

_MAX_BYTES = 2048
_PIECE = 7


def check(data: bytes) -> None:
    """The same responses however the stream is cut; each is parsed, malformed, or something else."""
    whole = _responses([data])
    pieces = _responses([data[at : at + _PIECE] for at in range(0, len(data), _PIECE)])
    # What came before too much came is seen or not, depending on where the cut was.
    shorter, longer = sorted((whole, pieces), key=len)
    assert longer[: len(shorter)] == shorter
    assert len(longer) == len(shorter) or len(data) > _MAX_BYTES or b"{" in data
    for response in whole:
        _check_response(response.removeprefix(b"* "))


def _responses(chunks: list[bytes]) -> list[bytes]:
    framer, responses = ResponseFramer(_MAX_BYTES), list[bytes]()
    try:
        for chunk in chunks:
            responses.extend(framer.feed(chunk))
    except ResponseTooLarge:
        pass
    return responses


def _check_response(response: bytes) -> None:
    folder = listed_folder(response)
    if isinstance(folder, ListedFolder):
        assert not any(byte < 0x20 or byte == 0x7F for byte in folder.raw), "a name that could end its command"
        assert folder.delimiter is None or len(folder.delimiter) == 1
    found = search_result(response)
    if isinstance(found, tuple):
        assert all(1 <= number <= MAX_NUMBER for number in found)
    validity = uid_validity(response)
    assert validity is None or 1 <= validity <= MAX_NUMBER
    place = append_uid(response_code(response.partition(b" ")[2]))
    assert isinstance(place, AppendUid | Malformed | None)
    assert all(word == word.upper() for word in capabilities(response))


TARGET = Target(
    check,
    tokens=(
        *(
            b'* LIST (\\Sent) "/" "Sent"\r\n',
            b"* SEARCH 1 2\r\n",
            b"[APPENDUID 1 2]",
            b"* OK [UIDVALIDITY 1]",
            b"{4}\r\n",
        ),
        *(
            b"* CAPABILITY ",
            b"&BB4-",
            b"\\NonExistent",
            b"NIL",
            b"4294967296",
            b"\r\n",
            b"* NO ",
            b"+ ",
            b"\\HasNoChildren",
        ),
    ),
)
