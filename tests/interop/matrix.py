"""What was seen to work with which foreign software, and the page that says so: docs/interop.md."""

import json
import os
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/interop.md"
VARIABLE = "INTEROP_NOTES"
"""Names the file that notes are appended to while the page is made anew; without it each note must be in the page."""

_NODE_PACKAGES = {"Nodemailer smtp-server": "smtp-server", "Haraka": "Haraka", "mailparser": "mailparser"} | {
    "postal-mime": "postal-mime"
}


_UNPACKED = ("Courier", "Cyrus")


class Matrix:
    """Takes notes of what a test has just seen."""

    def note(self, software: str, *aspects: str) -> None:
        """Note that these work. Fails when the page does not say so (`python -m tests.interop` makes it anew)."""
        if path := os.environ.get(VARIABLE):
            with Path(path).open("a") as notes:
                notes.write("".join(json.dumps([software, aspect]) + "\n" for aspect in aspects))
            return
        row = next((line for line in PAGE.read_text().splitlines() if line.startswith(f"| {software} ")), "")
        for aspect in aspects:
            assert aspect in row, f"docs/interop.md does not say of {software}: {aspect}"


def page(notes: Path) -> str:
    """The page that the notes of a whole run give."""
    seen: dict[str, set[str]] = {}
    for line in notes.read_text().splitlines():
        software, aspect = json.loads(line)
        seen.setdefault(software, set()).add(aspect)
    rows = "".join(f"| {name} | {_version(name)} | {', '.join(sorted(seen[name]))} |\n" for name in sorted(seen))
    return _TEXT.format(rows=rows)


def _version(software: str) -> str:
    if software in _UNPACKED:
        return "Debian's package, unpacked beside the system"
    package = _NODE_PACKAGES.get(software)
    if package is None:
        return "Debian's, or pinned in `requirements/dev.txt`"
    manifest = json.loads((Path(__file__).with_name("node") / "package.json").read_text())
    return f"{manifest['dependencies'][package]} (npm)"


_TEXT = """\
# Interoperability

Mail servers and mail readers from other projects, and what the tests verify with each: `tests/interop` starts
the servers, sends letters and copies to them through the worker's own adapters, and feeds letters to the readers.
Postfix and Dovecot are not listed: nearly every other test uses them. Courier and Cyrus conflict with Dovecot, so the
tests download their packages and unpack them below `build/interop` without installing them. `python -m tests.interop`
regenerates this page from a run; a test fails when it verifies something that the page does not list.

| software | version | seen to work |
|---|---|---|
{rows}"""
