"""Page languages: English in the code, Russian from a catalogue keyed by the English text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from starlette.requests import Request

Code = Literal["en", "ru"]

COOKIE = "sendas_language"
NAMES: Mapping[Code, str] = {"en": "English", "ru": "Русский"}
_CATALOGUE = Path(__file__).parent / "locale" / "ru.json"
_MOST_HEADER_CHARS = 500


@dataclass(frozen=True, slots=True)
class Language:
    """One language of the pages."""

    code: Code
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def text(self, english: str, **values: object) -> str:
        """Translate a text, then substitute `{name}` by the value of that name."""
        text = self.texts.get(english, english)
        return text.format(**values) if values else text

    def number(self, value: float) -> str:
        """Format an integer with thousands separators."""
        return f"{int(value):,}".replace(",", "\u202f" if self.code == "ru" else ",")


@cache
def language(code: Code) -> Language:
    """The language with this code."""
    return Language(code, catalogue() if code == "ru" else {})


@cache
def catalogue() -> Mapping[str, str]:
    """Russian texts by English text."""
    texts: dict[str, str] = json.loads(_CATALOGUE.read_text(encoding="utf-8"))
    return texts


def language_of(request: Request) -> Language:
    """The language the person chose, else their browser's preference, else English."""
    chosen = request.cookies.get(COOKIE)
    if chosen == "en" or chosen == "ru":
        return language(chosen)
    return language(_preferred(request.headers.get("accept-language", "")[:_MOST_HEADER_CHARS]))


def _preferred(header: str) -> Code:
    """The best match in `Accept-Language` (RFC 9110, section 12.5.4) among the available languages."""
    best: tuple[float, Code] = (0.0, "en")
    for part in header.split(","):
        tag, _, parameter = part.strip().partition(";")
        code: Code | None = {"en": "en", "ru": "ru"}.get(tag.strip().lower().partition("-")[0])  # type: ignore[assignment]
        if code is not None and (quality := _quality(parameter)) > best[0]:
            best = quality, code
    return best[1]


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
