"""What `make check` makes of checkov's reports."""

from pathlib import Path

import pytest

from deploy.security import PROJECT, collect, problems, reports


def a_report(
    kind: str, passed: int = 1, errors: tuple[str, ...] = (), failed: tuple[str, ...] = ()
) -> dict[str, object]:
    checks = [{"file_path": "/f", "resource": "R", "check_id": each, "check_name": "a habit"} for each in failed]
    return {
        "check_type": kind,
        "summary": {"passed": passed},
        "results": {"parsing_errors": list(errors), "failed_checks": checks},
    }


def test_nothing_wrong_is_nothing_said() -> None:
    assert list(problems([a_report("dockerfile"), a_report("kubernetes")])) == []


def test_what_is_found_is_a_line_each() -> None:
    """If a habit is unsafe, or a file cannot be read, then a line says which and where."""
    found = [a_report("dockerfile", errors=("Dockerfile",)), a_report("kubernetes", failed=("CKV_K8S_1",))]
    assert list(problems(found)) == ["Dockerfile: cannot be read", "/f: R: CKV_K8S_1: a habit"]


def test_what_was_not_looked_at_is_no_success() -> None:
    """If checkov finds no file of a kind, then its silence is not taken for praise."""
    assert list(problems([a_report("kubernetes", passed=0)])) == [
        "dockerfile: nothing was looked at",
        "kubernetes: nothing was looked at",
    ]


def test_all_that_is_applied_is_looked_at(tmp_path: Path) -> None:
    """If an overlay is added, then it is looked at as well."""
    collect(tmp_path)
    overlays = {
        str(each.parent.relative_to(PROJECT / "deploy/k8s/overlays")).replace("/", "-")
        for each in (PROJECT / "deploy/k8s/overlays").rglob("kustomization.yaml")
        if "kind: Component" not in each.read_text("utf-8")
    }
    assert {each.name for each in tmp_path.iterdir()} == {f"{name}.yaml" for name in overlays} | {"Dockerfile"}


def test_a_tool_that_says_nothing_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="checkov ended with 1"):
        reports(Path("/bin/false"), tmp_path)
