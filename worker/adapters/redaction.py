"""Taking secrets out of servers' words, in every form in which a server may repeat one.

A server knows the secret from the first sign-in on, and whatever it says later may hold it, on other connections too:
some repeat the last line they got, some put user and password into an error. What it says comes to results, logs and
dead letters.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

HIDDEN = "***"

_SHORT_CHARS = 6
_LONG_CHARS = 24
_TELLING_CHARS = 16
# Servers break long words over the lines of a reply, each of which may begin with an enhanced code.
_CODE = r"(?:[245]\.\d{1,3}\.\d{1,3}\s+)?"
# What is invisible is left out of results later, so that a secret with some of it inside would be whole again there.
_UNSEEN = r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+"
_LINE_BREAK = re.compile(rf"{_UNSEEN}|[^\S\n]*\n\s*{_CODE}")
_ANY_BREAK = re.compile(rf"{_UNSEEN}|\s+{_CODE}")

Span = tuple[int, int]


class Redaction:
    """Hides some secrets: `secrets` as they are, `sent` in the very form in which they went over the wire.

    Searches by comparing, and not with one large pattern: a token has kilobytes, and a sign-in must not cost more than
    a glance at each reply.
    """

    def __init__(self, *secrets: str, sent: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        forms.update(form for form in sent if form)
        # Only as words of their own: with a password such as "no" little would be left of any reply.
        words = "|".join(sorted(re.escape(form) for form in forms if len(form) < _SHORT_CHARS))
        self._words = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None
        self._plain = sorted(form for form in forms if _SHORT_CHARS <= len(form) < _LONG_CHARS)
        self._long = sorted({_ANY_BREAK.sub("", form) for form in forms if len(form) >= _LONG_CHARS})

    def __call__(self, text: str) -> str:
        """The text with `***` in the place of each secret."""
        spans = [*_spans(text, _LINE_BREAK, self._plain), *_spans(text, _ANY_BREAK, self._long)]
        hidden = _without(text, spans) if spans else text
        return hidden if self._words is None else self._words.sub(HIDDEN, hidden)

    def __repr__(self) -> str:
        return "Redaction()"


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield " ".join(secret.split())  # as it is when white space is folded
    yield "".join(secret.split())  # as it is found where a line was broken in its white space
    yield secret.replace("\\", "\\\\").replace('"', '\\"')  # in a quoted string of IMAP
    yield quote(secret, safe="", errors="replace")
    yield raw.hex()
    yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterator[str]:
    """In base64, alone and inside of something longer: there only the ends depend on what stands around it."""
    yield base64.b64encode(raw).decode("ascii")
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii")
        core = encoded[(0, 2, 3)[offset] : len(encoded) - (0, 3, 2)[(len(raw) + offset) % 3]]
        if len(core) >= _SHORT_CHARS:
            yield core
            yield core.replace("+", "-").replace("/", "_")


def _spans(text: str, breaks: re.Pattern[str], forms: Iterable[str]) -> Iterator[Span]:
    """Where the forms stand in the text, whatever breaks there are inside of them."""
    joined, places = _joined(text, breaks)
    for form in forms:
        beginning = form[:_TELLING_CHARS] if len(form) >= _LONG_CHARS else form
        start = joined.find(beginning)
        while start >= 0:
            end = start + len(beginning)
            # A server that cuts a long one off has still told most of it.
            while end - start < len(form) and end < len(joined) and joined[end] == form[end - start]:
                end += 1
            yield places[start], places[end - 1] + 1
            start = joined.find(beginning, end)


def _joined(text: str, breaks: re.Pattern[str]) -> tuple[str, list[int]]:
    """The text without its breaks, and where each of its characters was."""
    places: list[int] = []
    start = 0
    for found in breaks.finditer(text):
        places += range(start, found.start())
        start = found.end()
    places += range(start, len(text))
    return "".join(map(text.__getitem__, places)) if len(places) < len(text) else text, places


def _without(text: str, spans: Iterable[Span]) -> str:
    parts: list[str] = []
    shown_to = -1  # where the last hidden span ends; spans may overlap
    for start, end in sorted(spans):
        if start > shown_to:
            parts += (text[max(shown_to, 0) : start], HIDDEN)
        shown_to = max(shown_to, end)
    return "".join((*parts, text[max(shown_to, 0) :]))
