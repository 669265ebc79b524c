"""Taking secrets out of servers' words, in every form in which a server may repeat one.

A server knows the secret from the sign-in on, and whatever it says later may hold it: some repeat the last line they
got, some put user and password into an error. What it says comes to results, logs and dead letters.
"""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"

_SHORT_CHARS = 6
_LONG_CHARS = 24
_TELLING_CHARS = 16
# Servers break long words over the lines of a reply, each of which may begin with an enhanced code.
_BREAK = r"(?:\s+(?:[245]\.\d{1,3}\.\d{1,3}\s+)?)?"


class Redaction:
    """Hides some secrets: `secrets` as they are, `sent` in the very form in which they went over the wire."""

    def __init__(self, *secrets: str, sent: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        forms.update(form for form in sent if form)
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(_pattern, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """The text with `***` in the place of each secret."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def __repr__(self) -> str:
        return "Redaction()"


def _forms(secret: str) -> Iterable[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield " ".join(secret.split())  # as it is when white space is folded
    yield secret.replace("\\", "\\\\").replace('"', '\\"')  # in a quoted string of IMAP
    yield quote(secret, safe="", errors="replace")
    yield raw.hex()
    yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterable[str]:
    """In base64, alone and inside of something longer: there only the ends depend on what stands around it."""
    yield base64.b64encode(raw).decode("ascii")
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii")
        core = encoded[(0, 2, 3)[offset] : len(encoded) - (0, 3, 2)[(len(raw) + offset) % 3]]
        if len(core) >= _SHORT_CHARS:
            yield core
            yield core.replace("+", "-").replace("/", "_")


def _pattern(form: str) -> str:
    if len(form) < _SHORT_CHARS:
        # Only as a word of its own: with a password such as "no" little would be left of any reply.
        return rf"(?<!\w){re.escape(form)}(?!\w)"
    characters = [r"\s+" if character.isspace() else re.escape(character) for character in form]
    if len(form) < _LONG_CHARS:
        return _BREAK.join(characters)
    # A server that cuts a long one off has still told most of it.
    beginning = _BREAK.join(characters[:_TELLING_CHARS])
    return f"{_BREAK.join(characters)}|{beginning}[^\\s\"'<>]*"
