"""Habits that checkov knows as unsafe, in image and manifests: `python -m deploy.security CHECKOV` finds them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
OVERLAYS = ("development", "production", "production/prepare")
CONFIGURATION = PROJECT / "deploy/checkov.yaml"
FRAMEWORKS = {"dockerfile", "kubernetes"}

Report = dict[str, Any]


def collect(directory: Path) -> None:
    """Puts what is looked at into a directory: the Dockerfile, and the overlays as they are applied.

    Raises:
        CalledProcessError: an overlay cannot be rendered; kubectl has said why.
    """
    shutil.copy(PROJECT / "Dockerfile", directory)
    kubectl = Path(sys.executable).with_name("kubectl")
    for overlay in OVERLAYS:
        file = directory / f"{overlay.replace('/', '-')}.yaml"
        with file.open("w") as output:
            subprocess.run([kubectl, "kustomize", PROJECT / "deploy/k8s/overlays" / overlay], stdout=output, check=True)


def reports(checkov: Path, directory: Path) -> list[Report]:
    """What checkov says of a directory, by framework. Raises ValueError when it says nothing that can be read."""
    command: list[str | Path] = [checkov, "--config-file", CONFIGURATION, "--directory", directory, "--output", "json"]
    # It ends with 1 for what it found, which the reports have in full.
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise ValueError(f"checkov ended with {done.returncode}: {done.stdout}{done.stderr}") from None
    return found if isinstance(found, list) else [found]


def _environment() -> dict[str, str]:
    """Without the variables that would let it report to its maker's service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("BC_", "CKV_", "PRISMA_"))}


def problems(found: list[Report]) -> Iterator[str]:
    """One line for each thing that is wrong, also where nothing was looked at."""
    seen = {report["check_type"] for report in found if report["summary"]["passed"]}
    yield from (f"{framework}: nothing was looked at" for framework in sorted(FRAMEWORKS - seen))
    for report in found:
        for file in report["results"]["parsing_errors"]:
            yield f"{file}: cannot be read"
        for check in report["results"]["failed_checks"]:
            yield f"{check['file_path']}: {check['resource']}: {check['check_id']}: {check['check_name']}"


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 when something is wrong, said line by line."""
    [checkov] = arguments
    with tempfile.TemporaryDirectory() as name:
        collect(Path(name))
        found = list(problems(reports(Path(checkov), Path(name))))
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
