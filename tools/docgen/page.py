"""Pages of the documentation that are generated: written, or checked against what would be written."""

import sys
from pathlib import Path


def write_or_check(page: Path, text: str, arguments: list[str], command: str) -> int:
    """Write the page, or with `--check` only say whether it is up to date; returns the exit status."""
    if "--check" not in arguments:
        page.write_text(text, encoding="utf-8")
        return 0
    if page.exists() and page.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{page} is not what the code says; to regenerate: {command}\n")
    return 1
