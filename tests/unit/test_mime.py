"""Parts of a letter, and what another program reads in them."""

import re
from base64 import encodebytes
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import EmailMessage

import pytest

from tests.letter_reader import defects
from worker.domain.letter.media_types import media_type
from worker.domain.letter.mime import Boundaries, attached_part, file_name, multipart, text_part
from worker.domain.letter.model import Attachment

BOUNDARIES = Boundaries("0123456789abcdef")


def read_part(part: bytes) -> EmailMessage:
    """The part as the standard library reads it, and proof that it is clean."""
    assert part.endswith(b"\r\n")
    assert part.isascii()
    assert b"\x00" not in part
    assert not {b"\r", b"\n"} & set(part.replace(b"\r\n", b""))
    assert max(map(len, part.split(b"\r\n"))) <= 990
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
        ("x" * 990 + "\n" + "y" * 990, "7bit"),
        ("x" * 991, "base64"),
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


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("O'Brien's file.doc", "O'Brien's file.doc"),
        ("смета 2.pdf", "=?utf-8?b?0YHQvNC10YLQsCAyLnBkZg==?="),
        ('счёт".pdf', "=?utf-8?b?0YHRh9GR0YIiLnBkZg==?="),
        ("=?utf-8?q?a?=.pdf", "=?utf-8?b?PT91dGYtOD9xP2E/PS5wZGY=?="),
    ],
)
def test_a_program_that_reads_no_rfc_2231_finds_the_true_name_too(name: str, sent: str) -> None:
    raw = attached_part(Attachment(name, "application/pdf", 1, "https://x.example", b"x"), b"x")
    assert f'Content-Type: application/pdf;\r\n name="{sent}"\r\n'.encode() in raw
    assert read_part(raw).get_filename() == name


def test_a_long_name_in_encoded_words_breaks_no_character_and_no_line() -> None:
    name = "щ" * 117 + ".docx"
    header, _, _ = attached_part(Attachment(name, "a/b", 1, "https://x.example", b"x"), b"x").partition(b"\r\n\r\n")
    assert max(map(len, header.split(b"\r\n"))) <= 76
    words = re.findall(rb"=\?utf-8\?b\?[^?]+\?=", header)
    assert len(words) > 3
    assert "".join(decoded.decode() for word in words for decoded, _ in decode_header(word.decode())) == name


@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        ("text/calendar; METHOD=REQUEST; charset=utf-8; x=y", "text/calendar; method=REQUEST; charset=utf-8"),
        (
            'text/plain ; charset="koi8-r";format=flowed; delsp=yes',
            "text/plain; charset=koi8-r; format=flowed; delsp=yes",
        ),
        ("text/plain; charset=a b; charset=utf-8", "text/plain; charset=a"),
        ('text/plain; charset="a\r\nBcc: b"', "text/plain"),
        ("application/pdf; name=x.pdf", "application/pdf"),
        ("text/plain;" + ";" * 1_000_000, "text/plain"),
    ],
)
def test_the_parameters_that_say_how_to_read_a_file_stay(declared: str, sent: str) -> None:
    assert media_type(declared) == sent


def test_an_inline_file_says_by_what_name_the_html_shows_it() -> None:
    picture = Attachment("leak.png", "image/png", 1, "", b"x", content_id="leak@x.example")
    message = read_part(attached_part(picture, b"x"))
    assert message["Content-ID"] == "<leak@x.example>"
    assert message["Content-Disposition"].content_disposition == "inline"
