"""What every letter keeps, whatever stands in the event; read by the standard library, which shares nothing with us."""

from email import message_from_bytes, policy
from email.utils import getaddresses

from worker.domain.letter.model import ComposedLetter, PlannedLetter
from worker.domain.snapshot.resolution import Sender

_FIELDS = (
    "Date",
    "From",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "X-Sendas-Task",
    "X-Sendas-Comment",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
)
_MAX_LINE_BYTES = 998  # RFC 5322 section 2.1.1


def check_letter(letter: ComposedLetter, sender: Sender, plan: PlannedLetter) -> None:
    """Raise `AssertionError` when a letter breaks a promise."""
    _check_bytes(letter.wire)
    _check_bytes(letter.copy)
    names = _field_names(letter.wire)
    assert "Bcc" not in names, "Bcc on the wire"
    assert len(names) == len(set(names)), f"a field stands twice: {names}"
    assert names == [name for name in _FIELDS if name in names], f"foreign or misplaced fields: {names}"
    assert [name for name in _field_names(letter.copy) if name != "Bcc"] == names
    assert letter.needs_smtputf8 or _head(letter.wire).isascii()
    assert letter.envelope_from == _from(letter.wire), "the From address is not the envelope's"
    assert sender.address.rpartition("@")[0].strip() == letter.envelope_from.rpartition("@")[0]
    assert len(letter.envelope_to) == len(plan.envelope)
    for address in (letter.envelope_from, *letter.envelope_to):
        assert address.isprintable(), "an address that could end its command"
        assert not set(address) & set(" <>\r\n"), "an address that could end its command"


def _check_bytes(raw: bytes) -> None:
    assert raw.endswith(b"\r\n")
    rest = raw.replace(b"\r\n", b"")
    assert b"\r" not in rest, "a bare CR"
    assert b"\n" not in rest, "a bare LF"
    assert b"\0" not in raw, "a NUL"
    assert max(map(len, raw.split(b"\r\n"))) <= _MAX_LINE_BYTES, "a line that is too long"


def _head(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[0]


def _field_names(raw: bytes) -> list[str]:
    message = message_from_bytes(raw, policy=policy.compat32)
    assert not message.defects, message.defects
    return list(message.keys())


def _from(raw: bytes) -> str:
    field = next(line for line in _unfolded(_head(raw)) if line.startswith("From: "))
    [(_, address)] = getaddresses([field.removeprefix("From: ")])
    return address


def _unfolded(head: bytes) -> list[str]:
    return head.decode().replace("\r\n ", " ").split("\r\n")
