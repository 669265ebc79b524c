"""Plays every case of tests/e2e with real workers; README.md explains cases.

`E2E_WRITE=1` rewrites `expected/`: read the difference before you commit it.
"""

import asyncio
import difflib
import os
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

import pytest

from stack import Authority, RabbitMQ, running
from stack.dnsmasq import Dnsmasq
from tests.e2e.case import Case, all_cases
from tests.e2e.installation import Runner
from tests.e2e.playing import Play

CASES = {case.name: case for case in all_cases()}
pytestmark = pytest.mark.timeout(300)  # the first test's time is that of all cases, and on a busy machine
IS_WRITING = os.environ.get("E2E_WRITE") == "1"

Outcomes = Mapping[str, Play]


def _settings_key(case: Case) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(case.settings.items()))


def _selected(items: Iterable[pytest.Item]) -> list[Case]:
    """The cases that pytest selected."""
    specs = [getattr(item, "callspec", None) for item in items if item.path == Path(__file__)]
    names = {spec.params["name"] for spec in specs if spec is not None and "name" in spec.params}
    return [CASES[name] for name in sorted(names)]


@pytest.fixture(scope="module")
async def outcomes(
    request: pytest.FixtureRequest, rabbitmq: RabbitMQ, authority: Authority, server_directory: Path
) -> Outcomes:
    """The outcomes of the selected cases; cases with equal settings share a worker."""
    selected = sorted(_selected(request.session.items), key=_settings_key)
    groups = [list(cases) for _, cases in groupby(selected, _settings_key)]
    dns = Dnsmasq(server_directory / "e2e-dns", [record for case in selected for record in case.records])
    async with running(dns):
        runner = Runner(rabbitmq, authority, server_directory, dns.address, IS_WRITING)
        installations = await asyncio.gather(*map(runner.run_together, groups))
    strays = [stray for installation in installations for stray in installation.strays]
    assert not strays, "\n".join(["came out and belongs to no case:", *strays])
    return {name: play for installation in installations for name, play in installation.plays.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_case_comes_out_as_written(name: str, outcomes: Outcomes) -> None:
    """If an outcome is missing, surplus or different, then the case fails."""
    play = outcomes[name]
    outcome = play.outcome()
    if IS_WRITING:
        assert not play.trouble, play.trouble
        _write(play.case.directory / "expected", outcome)
    else:
        complaint = play.trouble + _difference(play.case, outcome)
        if complaint:
            pytest.fail(f"{name}: {complaint}", pytrace=False)


def _difference(case: Case, outcome: Mapping[str, str]) -> str:
    lines: list[str] = []
    for name in sorted({*case.expected, *outcome}):
        expected, came = case.expected.get(name, ""), outcome.get(name, "")
        if expected != came:
            here = f"{case.name}/expected/{name}"
            pair = (expected.splitlines(), came.splitlines())
            lines += difflib.unified_diff(*pair, here, "what came out", lineterm="", n=4)
            lines += [] if pair[0] != pair[1] else [f"{here}: differs in line ends alone"]
    return "\n".join(lines)


def _write(directory: Path, outcome: Mapping[str, str]) -> None:
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        if path.name not in outcome:
            path.unlink()
    for name, text in outcome.items():
        (directory / name).write_text(text, encoding="utf-8")
