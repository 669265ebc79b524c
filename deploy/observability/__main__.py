"""`python -m deploy.observability [--check]`: write dashboards and rules, or say that they are old.

Where the runbooks are that both link to is a setting: `tool.sendas.runbooks` in pyproject.toml.
With `--check`, Prometheus's own tool also judges the rules, where it is installed; the tests play their scenarios.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.observability.inside import INSIDE
from deploy.observability.overview import OVERVIEW
from deploy.observability.panels import rendered
from deploy.observability.promtool import complaints
from deploy.observability.queues import QUEUES
from deploy.observability.rules import rules_text
from deploy.observability.runbooks import configured

HERE = Path(__file__).parent
DASHBOARDS = (OVERVIEW, INSIDE, QUEUES)
RULES = HERE / "rules" / "sendas.yaml"
COMMAND = "python -m deploy.observability"


def files(runbooks: str) -> Mapping[Path, str]:
    """What belongs into each generated file."""
    dashboards = {
        HERE / "dashboards" / f"{dashboard.uid}.json": rendered(dashboard, runbooks) for dashboard in DASHBOARDS
    }
    return {**dashboards, RULES: rules_text(runbooks)}


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write dashboards and rules.")
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date and right")
    given = parser.parse_args(arguments)
    try:
        expected = files(configured())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if not given.check:
        for path, text in expected.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    old = [path for path, text in expected.items() if not path.exists() or path.read_text("utf-8") != text]
    strangers = {*HERE.glob("dashboards/*"), *HERE.glob("rules/*")} - set(expected)
    wrong = [f"{path} is not what the code says; to regenerate: {COMMAND}" for path in sorted({*old, *strangers})]
    if shutil.which("promtool"):
        wrong += complaints(RULES)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
