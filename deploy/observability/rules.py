"""The rule file, as Prometheus and its operator read it."""

import yaml

from deploy.observability.alerts import GROUPS
from deploy.observability.recording import RECORDS, recordings

_HEAD = "# Written by `python -m deploy.observability` from deploy/observability/: change it there.\n"


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def rules_text(runbooks: str) -> str:
    """The text of the file; `runbooks` stands before the names of the runbooks' pages."""
    groups: list[dict[str, object]] = [{"name": RECORDS, "rules": [each.rule() for each in recordings()]}]
    groups += [{"name": name, "rules": [alert.rule(runbooks) for alert in alerts]} for name, alerts in GROUPS.items()]
    return _HEAD + yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
