"""What the history does with published results, which anybody who may publish to their exchange can make."""

from datetime import UTC, datetime

from fuzz.foreign.entry import Entry, Runs, repeated, shapes
from worker.domain.strict_json import MAX_BODY_BYTES
from worker.errors import InvalidEvent
from worker.history.addresses import AddressPolicy, Keep
from worker.history.model import key
from worker.history.reading import read_result

_NOW = datetime(2030, 1, 1, tzinfo=UTC)
_POLICY = AddressPolicy(Keep.DIGEST, b"a key of 32 characters and more ..")
_ENVELOPE = b'{"id":"1","type":"mail.sent","time":"2026-07-01T12:00:00Z","data":'


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


ENTRIES: tuple[Entry, ...] = (
    Entry(("history.model:key",), lambda data: key(_text(data)), 64 * 1024),
    Entry(("history.addresses:AddressPolicy.kept",), lambda data: _POLICY.kept(_text(data)), 64 * 1024),
    Entry(
        ("history.reading:read_result",),
        lambda data: read_result(data, _POLICY, _NOW),
        MAX_BODY_BYTES,
        Runs.ELSEWHERE,
        errors=(InvalidEvent,),
        shapes=(
            *shapes(b"a@", b"a@b.c ", b"a", b"@", before=_ENVELOPE + b'{"detail":"', after=b'"}}'),
            *shapes(b'{"address":"a@b.c"},', before=_ENVELOPE + b'{"recipients":[', after=b"7]}}"),
            repeated(b'"a":7,', _ENVELOPE + b"{", b'"b":7}}'),
            repeated(b'{"a":', _ENVELOPE, b"7"),
        ),
        is_huge=True,
    ),
)
