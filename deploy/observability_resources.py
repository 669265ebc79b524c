"""Dashboards and rules as resources for Kubernetes: `python -m deploy.observability_resources` writes the files.

Grafana's sidecar takes every ConfigMap with the label `grafana_dashboard`, and the Prometheus operator every
PrometheusRule that its selector matches. Both are made from the files that are used without Kubernetes too, and lie
beside them, because kustomize reads no file outside of a kustomization's own folder.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

DIRECTORY = Path(__file__).parent / "observability"
KUSTOMIZATION = "kustomization.yaml"
RULES = "prometheus-rules.yaml"
_HEAD = "# Written by `python -m deploy.observability_resources`: change the dashboards and rules themselves.\n"

Resource = dict[str, Any]


def written(directory: Path = DIRECTORY) -> Mapping[str, str]:
    """The texts of the files, by their names in the directory."""
    rules = list(prometheus_rules(directory / "rules"))
    texts = {KUSTOMIZATION: yaml.safe_dump(_kustomization(directory, has_rules=bool(rules)), sort_keys=False)}
    if rules:
        texts[RULES] = yaml.safe_dump_all(rules, sort_keys=False, width=120, allow_unicode=True)
    return {name: _HEAD + text for name, text in texts.items()}


def prometheus_rules(directory: Path) -> Iterator[Resource]:
    """One PrometheusRule for each file of rules; the rules' own tests, which lie among them, are none."""
    for file in sorted(directory.glob("*.yaml")):
        groups = (yaml.safe_load(file.read_text("utf-8")) or {}).get("groups")
        if groups is not None:
            yield {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "metadata": {"name": _name(file)},
                "spec": {"groups": groups},
            }


def _kustomization(directory: Path, *, has_rules: bool) -> Resource:
    found: Resource = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        # Whoever reads dashboards goes by their names: one that changes takes the place of the one before.
        "generatorOptions": {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}},
    }
    if has_rules:
        found["resources"] = [RULES]
    if dashboards := sorted((directory / "dashboards").glob("*.json")):
        found["configMapGenerator"] = [
            {"name": f"{_name(each)}-dashboard", "files": [str(each.relative_to(directory))]} for each in dashboards
        ]
    return found


def _name(file: Path) -> str:
    stem = file.stem.lower().replace("_", "-").replace(".", "-")
    return stem if stem.startswith("sendas") else f"sendas-{stem}"


def main() -> int:
    """Write the files, or with `--check` only see that they are up to date; returns the exit status."""
    texts = written()
    if "--check" in sys.argv[1:]:
        stale = [name for name in (KUSTOMIZATION, RULES) if _text_of(DIRECTORY / name) != texts.get(name)]
        for name in stale:
            print(f"{DIRECTORY / name} is not up to date: make schemas", file=sys.stderr)
        return 1 if stale else 0
    (DIRECTORY / RULES).unlink(missing_ok=True)
    for name, text in texts.items():
        (DIRECTORY / name).write_text(text, "utf-8")
    return 0


def _text_of(file: Path) -> str | None:
    return file.read_text("utf-8") if file.exists() else None


if __name__ == "__main__":
    sys.exit(main())
