"""The AsyncAPI document, read by AsyncAPI's own parser in Node."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check(document: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.asyncapi.check", str(document)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_committed_document_is_valid() -> None:
    result = check(ROOT / "schemas" / "asyncapi.json")
    assert result.returncode == 0, result.stderr


def test_a_wrong_binding_and_a_lost_schema_are_found(tmp_path: Path) -> None:
    """If the parser found nothing in a broken document, then its silence about ours would mean nothing."""
    schemas = tmp_path / "schemas"
    shutil.copytree(ROOT / "schemas", schemas)
    document = json.loads((schemas / "asyncapi.json").read_text())
    document["components"]["messages"]["mailSent"]["bindings"]["amqp"]["messageTyp"] = "mail.sent"
    (schemas / "asyncapi.json").write_text(json.dumps(document))
    result = check(schemas / "asyncapi.json")
    assert result.returncode == 1
    assert "messageTyp" in result.stderr
    shutil.copy(ROOT / "schemas" / "asyncapi.json", schemas)
    (schemas / "snapshot.json").unlink()
    (schemas / "results" / "mail.sent.json").unlink()
    result = check(schemas / "asyncapi.json")
    assert result.returncode == 1
    assert "mail.sent.json" in result.stderr
