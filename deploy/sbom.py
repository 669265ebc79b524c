"""Holds a bill of materials against the lock: `python -m deploy.sbom FILE`, the last step of `make sbom`."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.licences import LOCK, PROJECT_NAME, licences


def problems(bill: dict[str, Any], lock: Path = LOCK) -> Iterator[str]:
    """What the bill does not say, or says otherwise than the lock."""
    if (main := bill.get("metadata", {}).get("component", {}).get("name")) != PROJECT_NAME:
        yield f"it is of {main}, not of {PROJECT_NAME}"
    components = {_canonical(each["name"]): each for each in bill.get("components", ())}
    wanted = {_canonical(each.name): each.version for each in licences(lock)}
    for name, version in wanted.items():
        found = components.get(name)
        if found is None or found["version"] != version:
            yield f"{name} is {found['version'] if found else 'not in it'}; the lock has {version}"
        elif not found.get("licenses"):
            yield f"{name} has no licence"
    yield from (f"{name} is in it, and not in the lock" for name in sorted(components.keys() - wanted.keys()))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(argv: list[str]) -> int:
    """Returns the exit status: 1 when something is wrong, said line by line."""
    [file] = argv
    bill = json.loads(Path(file).read_text("utf-8"))
    found = list(problems(bill))
    for problem in found:
        print(f"{file}: {problem}", file=sys.stderr)
    if not found:
        print(f"{file}: CycloneDX {bill['specVersion']}, {len(bill['components'])} components")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
