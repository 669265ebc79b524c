"""Where the runbooks' pages are for those whom an alert wakes: `tool.sendas.runbooks` in pyproject.toml."""

import re
import tomllib
from pathlib import Path

SETTING = "tool.sendas.runbooks"
_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def configured(project: Path = _PROJECT) -> str:
    """The address that the pages' names follow, without a slash at its end. Raises ValueError when it is no URL."""
    address = tomllib.loads(project.read_text("utf-8")).get("tool", {}).get("sendas", {}).get("runbooks")
    if not isinstance(address, str) or not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", address):
        raise ValueError(f"{project.name}: {SETTING}: expected a URL, such as https://wiki.example/sendas")
    return address.rstrip("/")


def page(alert: str, address: str) -> str:
    """The URL of an alert's page; `address` may also be a variable of a dashboard."""
    return f"{address.rstrip('/')}/{alert}.md"
