"""A bill of materials is of what the lock installs, and of nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.licences import licences
from deploy.sbom import main, problems


@pytest.fixture
def bill() -> dict[str, Any]:
    """A bill as it should be."""
    components = [
        {"name": each.name, "version": each.version, "licenses": [{"expression": each.licence}]} for each in licences()
    ]
    return {"specVersion": "1.6", "metadata": {"component": {"name": "sendas"}}, "components": components}


def test_a_complete_bill_is_accepted(bill: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If everything of the lock is in it, then the file is said to be in order."""
    file = tmp_path / "bill.json"
    file.write_text(json.dumps(bill))
    assert main([str(file)]) == 0
    assert "components" in capsys.readouterr().out


def test_what_is_missing_other_or_too_much_is_named(bill: dict[str, Any]) -> None:
    """If the environment was not that of the lock, then the bill is refused, with each difference."""
    components = bill["components"]
    gone = components.pop()
    components[0]["version"] = "0.0"
    components[1]["licenses"] = []
    components.append({"name": "Stowaway", "version": "1"})
    bill["metadata"]["component"]["name"] = "other"
    found = "\n".join(problems(bill))
    for word in (gone["name"], "0.0", f"{components[1]['name']} has no licence", "stowaway is in it", "of other"):
        assert word in found


def test_a_wrong_bill_fails_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If something is wrong, then the exit status says so."""
    file = tmp_path / "bill.json"
    file.write_text("{}")
    assert main([str(file)]) == 1
    assert "not in it" in capsys.readouterr().err
