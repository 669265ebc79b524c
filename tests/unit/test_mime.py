"""Parts of a letter, and what another program reads in them."""

from base64 import encodebytes
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from tests.letter_reader import defects
from worker.domain.letters import Attachment
from worker.domain.mime import Boundaries, attached_part, file_name, multipart, text_part

BOUNDARIES = Boundaries("0123456789abcdef")


def read_part(part: bytes) -> EmailMessage:
    """The part as the standard library reads it, and proof that it is clean."""
    assert part.endswith(b"\r\n")
    assert part.isascii()
    assert b"\x00" not in part
    assert not {b"\r", b"\n"} & set(part.replace(b"\r\n", b""))
    assert max(map(len, part.split(b"\r\n"))) <= 998
    message = message_from_bytes(part, policy=policy.default)
    assert not defects(message)
    return message


def file_part(name: str = "a.pdf", content_type: str = "application/pdf", content: bytes = b"%PDF") -> EmailMessage:
    return read_part(attached_part(Attachment(name, content_type, len(content), "https://x.example", content), content))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("", "7bit"),
        ("short\nlines", "7bit"),
        ("x" * 998 + "\n" + "y" * 998, "7bit"),
        ("x" * 999, "base64"),
        ("по-русски", "base64"),
        (f"--{BOUNDARIES.mixed}--", "base64"),
    ],
    ids=range(6),
)
def test_a_text_goes_as_it_is_when_it_can_and_comes_back_as_it_was(text: str, encoding: str) -> None:
    message = read_part(text_part("plain", text, BOUNDARIES))
    assert message["Content-Transfer-Encoding"] == encoding
    assert message.get_content().replace("\r\n", "\n").rstrip("\n") == text


def test_line_ends_become_crlf_and_controls_spaces() -> None:
    message = read_part(text_part("plain", "a\rb\nc\r\nd\x00\x0b\x1b\x7fe\t", BOUNDARIES))
    assert message.get_payload() == "a\r\nb\r\nc\r\nd    e\t\r\n"
    message = read_part(text_part("plain", "я\rb\n\x00\ud800", BOUNDARIES))
    assert message.get_content() == "я\r\nb\r\n ?\r\n"


def test_a_text_that_contains_the_letters_boundary_cannot_end_a_part() -> None:
    forged = f"--{BOUNDARIES.mixed}\nContent-Type: text/html\n\nforged\n--{BOUNDARIES.mixed}--"
    raw = multipart("mixed", BOUNDARIES.mixed, [text_part("plain", forged, BOUNDARIES)])
    message = read_part(raw)
    assert len(list(message.walk())) == 2
    assert next(message.iter_parts()).get_content().replace("\r\n", "\n").rstrip("\n") == forged


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"x" * 57, b"x" * 58, bytes(range(256)) * 400], ids=lambda content: len(content)
)
def test_a_file_comes_back_byte_for_byte(content: bytes) -> None:
    assert file_part(content=content).get_payload(decode=True) == content


@pytest.mark.parametrize("size", [0, 1, 57 * 4_096 - 1, 57 * 4_096, 57 * 4_096 + 1, 1_000_003])
def test_a_large_file_is_encoded_as_if_it_were_one_part(size: int) -> None:
    """If it is encoded a part at a time, I expect no line to be short, and no padding, before the end."""
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    attachment = Attachment("a", "image/png", size, "https://x.example", content)
    _, _, body = attached_part(attachment, content).partition(b"\r\n\r\n")
    assert body == encodebytes(content).replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        ("application/pdf", "application/pdf"),
        ("Image/SVG+xml", "image/svg+xml"),
        ('text/csv; charset="windows-1251"; header=present', "text/csv"),
        ("text", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("a/b/c", "application/octet-stream"),
        ("text/html\r\nBcc: eve@x.example", "application/octet-stream"),
        ("text/ht ml", "application/octet-stream"),
        ("текст/html", "application/octet-stream"),
        ("message/rfc822", "application/octet-stream"),
        ("multipart/mixed; boundary=x", "application/octet-stream"),
    ],
)
def test_a_content_type_that_is_none_becomes_octets(declared: str, sent: str) -> None:
    message = file_part(content_type=declared, content=b"a,b\r\n")
    assert message.get_content_type() == sent
    assert message.get_payload(decode=True) == b"a,b\r\n"


def test_the_charset_of_an_attached_text_is_kept() -> None:
    text = "Привет"
    message = file_part("a.txt", "text/plain; charset=windows-1251", text.encode("cp1251"))
    assert message.get_content() == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("report 1.pdf", "report 1.pdf"),
        ("смета.pdf", "смета.pdf"),
        ("a\"b\\c;d*e%f'.pdf", "a\"b_c;d*e%f'.pdf"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("C:\\temp\\a.exe", "C:_temp_a.exe"),
        ("exe.\u202efdp.bat", "exe.fdp.bat"),
        ("a\r\nBcc: eve@x.example.pdf", "aBcc: eve@x.example.pdf"),
        ("..", "file"),
        ("\xa0", "file"),
        ("", "file"),
        ("a\ud800.pdf", "a.pdf"),
        ("=?utf-8?q?a?=.pdf", "=?utf-8?q?a?=.pdf"),
        ("щ" * 500 + ".docx", "щ" * 117 + ".docx"),
        ("x" * 500, "x" * 240),
        ("x" * 80 + ".tar.gz", "x" * 80 + ".tar.gz"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_file_name_is_kept_but_for_what_could_harm(name: str, shown: str) -> None:
    assert file_name(name) == shown
    message = file_part(name)
    assert message.get_filename() == shown
    assert message["Content-Disposition"].content_disposition == "attachment"


def test_old_clients_read_a_plain_name_with_the_right_extension() -> None:
    assert file_part("смета 2.pdf")["Content-Type"].params["name"] == "_____ 2.pdf"
