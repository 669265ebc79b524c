"""Text of people is cleaned; text of machines is refused when it is not clean."""

import pytest
from pydantic import TypeAdapter, ValidationError

from worker.domain.text import Line, Token, has_control_character, one_line

LINE: TypeAdapter[str] = TypeAdapter(Line)
TOKEN: TypeAdapter[str] = TypeAdapter(Token)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("as it is", "as it is"),
        ("  two\r\nlines\tand  a tab ", "two lines and a tab"),
        ("Bcc:\r\n x@evil.example", "Bcc: x@evil.example"),
        ("nothing\x00 here\x1b[31m\x7f\x9b", "nothing here[31m"),
        ("\u2028line\u2029separators\u0085", "line separators"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("Ремонт — «срочно» 🛠️", "Ремонт — «срочно» 🛠️"),
        ("नमस्\u200dते", "नमस्\u200dते"),
        ("\x00\n\u202e", ""),
        ("", ""),
    ],
)
def test_what_people_paste_becomes_one_clean_line(text: str, line: str) -> None:
    """If a title has line breaks or hidden characters, then the letter goes out without them, and gains no header."""
    assert one_line(text) == line
    assert LINE.validate_python(text) == line


def test_half_a_character_is_dropped() -> None:
    """If a server's reply or an old client left a lone surrogate, then what is made of the text can be encoded."""
    assert one_line("lone \ud800 surrogate") == "lone surrogate"


@pytest.mark.parametrize("character", ["\x00", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9f", "\u2028", "\u2029"])
def test_a_control_character_in_a_machines_text_is_refused(character: str) -> None:
    """If an id or a host has one, then it is an attack or a fault, and nothing is guessed."""
    assert has_control_character(f"a{character}b")
    with pytest.raises(ValidationError, match="control characters"):
        TOKEN.validate_python(f"a{character}b")


def test_bounds() -> None:
    assert TOKEN.validate_python("ж" * 1_000)
    for refused in ("", "x" * 1_001):
        with pytest.raises(ValidationError):
            TOKEN.validate_python(refused)
    with pytest.raises(ValidationError):
        LINE.validate_python("x" * 5_001)
