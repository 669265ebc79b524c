"""Text from outside: what people wrote is cleaned, what machines wrote is refused when it is not clean.

People paste line breaks into titles and names; a letter must not fail for that, nor gain a header by it. In
identifiers, addresses and URLs a control character is never an accident, so there it is an error.
"""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

_WHITE_SPACE = re.compile(r"[\s\u0085\u2028\u2029]+")
_DROPPED_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn"})
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str) -> str:
    """The text on one line: white space folded to single spaces, control and bidirectional override characters dropped.

    Overrides are dropped because they let a name or a file name display as something else than it is.
    """
    folded = _WHITE_SPACE.sub(" ", text).strip()
    if folded.isascii() and folded.isprintable():
        return folded
    return "".join(c for c in folded if unicodedata.category(c) not in _DROPPED_CATEGORIES and c not in _BIDI_CONTROLS)


def has_control_character(text: str) -> bool:
    """True when the text has a C0, DEL, C1 or line separator character."""
    return any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in text)


def _refuse_controls(text: str) -> str:
    if has_control_character(text):
        raise ValueError("control characters are not allowed here")
    return text


Line = Annotated[str, StringConstraints(max_length=5_000), AfterValidator(one_line)]
"""Text of a person for one line: a title, a name, a file name. Cleaned."""

Token = Annotated[str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_refuse_controls)]
"""Text of a machine: an identifier, a host, a path, a URL. Refused when it has control characters."""
