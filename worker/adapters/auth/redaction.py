"""Redacts secrets from server replies, in every form in which a server may repeat one.

A server knows the secret from the first sign-in on, and any later reply may contain it, on other connections too: some
repeat the last line they received, some put user and password into an error. Replies end up in results, logs and dead
letters.
"""

import base64
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from urllib.parse import quote

HIDDEN = "***"

_SHORT_CHARS = 6
_LONG_CHARS = 24
_TELLING_CHARS = 16
# Servers break long words across the lines of a reply, each of which may begin with an enhanced code.
_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\s+")
# Invisible characters are stripped from results later, which would reassemble a secret that contains some.
# Each alternative takes a whole run and never backtracks, so the cost is linear in the length of the text.
_GAP = re.compile(r"([\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+)|\s+")

Span = tuple[int, int]


class Redaction:
    """Redacts some secrets: `secrets` as they are, `sent` in the exact form that went over the wire.

    Compares strings instead of compiling one large pattern: a token has kilobytes, and redaction must add little to a
    sign-in. The time is linear in the text's length; callers cut the text first, each to its own bound.
    """

    def __init__(self, *secrets: str, sent: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        forms.update(form for form in sent if form)
        # Short secrets match as whole words only: a password such as "no" would otherwise erase most of any reply.
        self._short = sorted(form for form in forms if len(form) < _SHORT_CHARS)
        words = "|".join(map(re.escape, self._short))
        self._words = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None
        self._plain = sorted(form for form in forms if _SHORT_CHARS <= len(form) < _LONG_CHARS)
        self._long = sorted({_Joined(form, lines_only=False).text for form in forms if len(form) >= _LONG_CHARS})

    def __call__(self, text: str, *, is_cut: bool = False) -> str:
        """The text with each secret replaced by `***`.

        `is_cut`: the caller truncated the text, so a secret at its end is recognised by its beginning alone.
        """
        spans: list[Span] = []
        for forms, lines_only in (([*self._short, *self._plain], True), (self._long, False)):
            if forms:
                joined = _Joined(text, lines_only=lines_only)
                spans += joined.spans(form for form in forms if len(form) >= _SHORT_CHARS)
                spans += joined.begun(forms) if is_cut else ()
        hidden = _without(text, spans) if spans else text
        return hidden if self._words is None else self._words.sub(HIDDEN, hidden)

    def __repr__(self) -> str:
        return "Redaction()"


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield " ".join(secret.split())  # with white space folded
    yield "".join(secret.split())  # where a line break fell into its white space
    yield secret.replace("\\", "\\\\").replace('"', '\\"')  # in an IMAP quoted string
    yield quote(secret, safe="", errors="replace")
    yield raw.hex()
    yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterator[str]:
    """In base64, alone and within something longer, where only the ends depend on the surrounding bytes."""
    yield base64.b64encode(raw).decode("ascii")
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii")
        core = encoded[(0, 2, 3)[offset] : len(encoded) - (0, 3, 2)[(len(raw) + offset) % 3]]
        if len(core) >= _SHORT_CHARS:
            yield core
            yield core.replace("+", "-").replace("/", "_")


class _Joined:
    """A text with its gaps removed, and the original positions of its pieces.

    `lines_only`: gaps are invisible characters and white space that contains a line break; else all white space.
    """

    def __init__(self, text: str, *, lines_only: bool) -> None:
        self._starts: list[int] = []  # start of each piece in the text,
        self._joined_at: list[int] = []  # and in the joined text
        pieces: list[str] = []
        piece_start = position = length = 0
        while gap := _GAP.search(text, position):
            start, position = gap.span()
            if gap[1] is None:
                if lines_only and "\n" not in gap[0]:
                    continue
                code = _CODE.match(text, position)
                position = code.end() if code else position
            if start > piece_start:
                self._starts.append(piece_start)
                self._joined_at.append(length)
                pieces.append(text[piece_start:start])
                length += start - piece_start
            piece_start = position
        self._starts.append(piece_start)
        self._joined_at.append(length)
        self.text = "".join((*pieces, text[piece_start:]))

    def spans(self, forms: Iterable[str]) -> Iterator[Span]:
        """Spans of the forms in the text, whatever gaps they contain."""
        joined = self.text
        for form in forms:
            beginning = _telling(form)
            start = joined.find(beginning)
            while start >= 0:
                end = start + len(beginning)
                # A server that truncates a long secret has still revealed most of it.
                while end - start < len(form) and end < len(joined) and joined[end] == form[end - start]:
                    end += 1
                yield self._span(start, end)
                start = joined.find(beginning, end)

    def begun(self, forms: Iterable[str]) -> Iterator[Span]:
        """Spans of forms cut off by the end of the text: the longest for each form."""
        for form in forms:
            for size in range(min(len(_telling(form)) - 1, len(self.text)), 0, -1):
                if self.text.endswith(form[:size]):
                    yield self._span(len(self.text) - size, len(self.text))
                    break

    def _span(self, start: int, end: int) -> Span:
        return self._place(start), self._place(end - 1) + 1

    def _place(self, index: int) -> int:
        piece = bisect_right(self._joined_at, index) - 1
        return self._starts[piece] + index - self._joined_at[piece]


def _telling(form: str) -> str:
    """Enough of a form to recognise it: of a long one, its beginning."""
    return form[:_TELLING_CHARS] if len(form) >= _LONG_CHARS else form


def _without(text: str, spans: Iterable[Span]) -> str:
    parts: list[str] = []
    shown_to = -1  # where the last hidden span ends; spans may overlap
    for start, end in sorted(spans):
        if start > shown_to:
            parts += (text[max(shown_to, 0) : start], HIDDEN)
        shown_to = max(shown_to, end)
    return "".join((*parts, text[max(shown_to, 0) :]))
