"""Text from outside: text by people is cleaned, text by machines is refused when it is not clean.

People paste line breaks into titles and names; that must neither fail a letter nor add a header to it. In identifiers,
addresses and URLs a control character is never an accident, so there it is an error.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# The categories Cc (less white space) and Cs, which never change, and bidirectional controls. Not unassigned
# characters: an older Python counts newer emoji as those, and a letter's bytes must not depend on it.
_DROPPED = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]+")


def one_line(text: str) -> str:
    """The text on one line: white space folded to single spaces, control and bidirectional characters dropped.

    Direction overrides are dropped because they make a name or a file name display as something else.
    """
    return folded(text if text.isprintable() else _DROPPED.sub("", text))


def folded(text: str) -> str:
    """The text with all white space folded to single spaces, and none at its ends."""
    if text.isprintable() and "  " not in text:
        return text.strip(" ")  # no other white space is printable
    return " ".join(text.split())


def has_control_character(text: str) -> bool:
    """True when the text has a C0, DEL, C1 or line separator character."""
    return _CONTROLS.search(text) is not None


def _refuse_controls(text: str) -> str:
    if has_control_character(text):
        raise ValueError("control characters are not allowed here")
    return text


Line = Annotated[str, StringConstraints(max_length=5_000), AfterValidator(one_line)]
"""One line of text by a person: a title, a name, a file name. Cleaned."""

Token = Annotated[str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_refuse_controls)]
"""Text by a machine: an identifier, a host, a path, a URL. Refused when it has control characters."""

LongToken = Annotated[str, StringConstraints(min_length=1, max_length=24_000), AfterValidator(_refuse_controls)]
"""A token that may be as long as a sealed refresh token; Microsoft issues some of two kilobytes."""
