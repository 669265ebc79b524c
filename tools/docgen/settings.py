"""The page of all settings, generated from their model.

`python -m tools.docgen.settings [--check]` writes `docs/settings.md`, or says that it is out of date.
"""

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from tools.docgen.page import write_or_check
from worker.console_settings import CONSOLE_PREFIX, ConsoleSettings
from worker.settings import PREFIX, SECTIONS, Settings

PAGE = Path("docs/settings.md")
COMMAND = "python -m tools.docgen.settings"

_INTRODUCTION = f"""# Settings

<!-- Generated: {COMMAND} -->

Every setting is an environment variable. An empty one counts as absent. A wrong one stops the start with one line that
names it, never with its value; a variable that begins with `{PREFIX}` and is no setting is named in a warning.
Settings marked *secret* never appear in logs or errors.
"""
_HEAD = "| variable | value | default | meaning |\n|---|---|---|---|"
_UNITS = {"_s": "seconds", "_minutes": "minutes", "_bytes": "bytes", "_days": "days"}


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if heading := SECTIONS.get(name):
            yield f"{'' if name == next(iter(SECTIONS)) else chr(10)}## {heading}\n"
            yield _HEAD
        yield _row(PREFIX, name, field)
    yield "\n## Console\n\nRead by `sendas console` alone ([console.md](console.md)), beside those above.\n"
    yield _HEAD
    for name, field in ConsoleSettings.model_fields.items():
        yield _row(CONSOLE_PREFIX, name, field)


def _row(prefix: str, name: str, field: FieldInfo) -> str:
    kind = _kind(name, field.annotation, field)
    return f"| `{prefix}{name.upper()}` | {kind} | {_default(field)} | {field.description} |"


def _kind(name: str, annotation: Any, field: FieldInfo) -> str:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if alternatives := [each for each in get_args(annotation) if each is not NoneType]:
        return _kind(name, alternatives[0], field)
    if issubclass(annotation, StrEnum):
        return ", ".join(f"`{value}`" for value in annotation)
    if annotation in (int, float):
        unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "number")
        return unit if annotation is float or unit != "number" else "whole number"
    return {SecretStr: "text, *secret*", bool: "`true`, `false`", Path: "path"}.get(annotation, "text")


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "of this host"
    default = field.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()  # a default stands in the source: it is no secret
    if default is None or default == "":
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit status."""
    return write_or_check(PAGE, page(), arguments, COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
