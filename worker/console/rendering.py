"""Renders pages from templates. Everything is escaped, and invisible foreign characters are made visible."""

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from worker.console.languages import NAMES, Language
from worker.console.sparklines import sparkline
from worker.console.times import Zone, span
from worker.console.wording import reason_hint, tier_text, type_text, why_text
from worker.operations.dead_letters.terminal import printable

_TEMPLATES = Path(__file__).parent / "templates"
_NARROW_SPACE = "\u202f"


def rendered(template: str, language: Language, zone: Zone, context: dict[str, Any]) -> str:
    """Render a template as a page."""

    def when(moment: datetime | None) -> str:
        if moment is None:
            return language.text("unknown")
        return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), zone.show(moment))

    values = {
        "t": language.text,
        "language": language,
        "languages": NAMES,
        "zone": zone,
        "when": when,
        "number": language.number,
        "hint": lambda reason: reason_hint(reason, language.code),
        "type_text": lambda name: type_text(name, language),
        "tier_text": lambda name: tier_text(name, language),
        "why_text": lambda name: why_text(name, language),
    }
    return _environment().get_template(template).render(values | context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["bidi"] = _isolated
    environment.globals |= {"query": _query, "span": span, "sparkline": sparkline}
    return environment


def _visible(value: object) -> object:
    """Format a value for a template: empty for None; invisible characters in text are escaped, as on a terminal."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable():
        return _NARROW_SPACE.join(printable(part) for part in value.split(_NARROW_SPACE))
    return value


def _isolated(value: object) -> Markup:
    """Isolate a foreign text's writing direction from its surroundings (`bdi` element)."""
    return Markup("<bdi>{}</bdi>").format(escape(_visible("" if value is None else str(value))))


def _query(**values: object) -> str:
    """Build a URL's query; values that are None or empty are omitted."""
    return urlencode({name: str(value) for name, value in values.items() if value not in (None, "")})
