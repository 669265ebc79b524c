"""What every text that is shown or logged keeps, whoever wrote a part of it."""

import unicodedata

from fuzz.target import CANARY

_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_shown(text: str) -> None:
    """One line, that drives no terminal and reads in the direction in which it stands."""
    for character in text:
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp"), ascii(text)
        assert character not in _BIDI_CONTROLS, ascii(text)


def check_refusal(text: str) -> None:
    """Of a refused event: the type that is not known and the key that stands twice are named, and nothing else."""
    check_shown(text)
    assert CANARY not in text or text.startswith("type: ") or " stands twice" in text, text
