"""The licences of what a worker is run with: `python -m deploy.licences` lists them, and fails on one that may not be.

The work includes aioimaplib, which is GPL-3.0-only, so everything that it is distributed with has to come under terms
that GPL-3.0 is compatible with.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

PROJECT_NAME = "sendas"
REQUIREMENTS = Path(__file__).parent.parent / "requirements"
LOCK = REQUIREMENTS / "run.txt"
LOCKS = (LOCK, REQUIREMENTS / "console.txt")
"""What a worker is run with, and the console."""

# By the Free Software Foundation's list of licences; the identifiers are SPDX's.
COMPATIBLE = frozenset({
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "GPL-3.0-only", "GPL-3.0-or-later", "ISC", "LGPL-3.0-or-later", "MIT",
    "MIT-0", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
})  # fmt: skip

# How packages say it that do not say it by SPDX: in the field `License`, or in their classifier.
SPELLINGS = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD-like": "Zlib",  # dkimpy: its licence file is the zlib licence word for word
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
# What a package's own file of its licence says, where its fields say nothing exact.
READ = {"dkimpy": "Zlib"}


@dataclass(frozen=True, slots=True)
class Licensed:
    """A package of the lock, and its licence as an SPDX expression; empty when it says none that is understood."""

    name: str
    version: str
    licence: str

    @property
    def is_compatible(self) -> bool:
        """Whether it may be part of a work under GPL-3.0."""
        return is_compatible(self.licence)


def is_compatible(expression: str) -> bool:
    """Whether an SPDX expression allows it: of `A OR B` one is enough, of `A AND B` both are needed."""
    needed = expression.split(" AND ")
    return all(any(each in COMPATIBLE for each in choices.split(" OR ")) for choices in needed)


def licences(lock: Path = LOCK) -> Iterator[Licensed]:
    """All packages that the lock installs here; one for another platform only is left out. Raises OSError."""
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE):
        try:
            yield Licensed(name, version, _licence(name))
        except PackageNotFoundError:
            continue


def _licence(name: str) -> str:
    told = metadata(name)
    if name in READ:
        return READ[name]
    classified = [
        each.rpartition(" :: ")[2] for each in told.get_all("Classifier", []) if each.startswith("License ::")
    ]
    stated = [
        *told.get_all("License-Expression", []),
        *told.get_all("License", []),
        " AND ".join(map(_spdx, classified)),
    ]
    return _spdx(next((said.strip() for said in stated if said), ""))


def _spdx(said: str) -> str:
    return SPELLINGS.get(said, said)


def main() -> int:
    """Print the list; returns 1 when a licence is not compatible."""
    found = sorted({each for lock in LOCKS for each in licences(lock)}, key=lambda each: each.name)
    for each in found:
        print(f"{each.name:<20} {each.version:<12} {each.licence or 'not stated'}")
    refused = [each.name for each in found if not each.is_compatible]
    if refused:
        print(f"not known to be compatible with GPL-3.0: {', '.join(refused)}", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
