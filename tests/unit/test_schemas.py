"""The committed schemas: equal to what the models say, valid themselves, and true of their examples."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests import contract_examples, golden
from worker.domain.events.cloudevents import parse
from worker.domain.failure.copy_hints import copy_hint
from worker.domain.failure.hints import Hint, hint_for
from worker.domain.identity import event_key, result_id
from worker.domain.snapshot.model import Snapshot
from worker.domain.vocabulary import EventType, Reason, ResultType
from worker.errors import ConfigurationError
from worker.operations.contract import schemas
from worker.operations.contract.examples import read_examples

EVENT_ID = "0192f3a0-5a1c-7c3e-9d3b-0f6c5b1e7a10"  # of the event that the examples answer
ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / schemas.DIRECTORY
SCHEMAS = sorted(
    path.relative_to(COMMITTED).as_posix()
    for path in COMMITTED.rglob("*.json")
    if path.stem != "asyncapi" and path.parent.name != schemas.EXAMPLES
)


def load(path: str) -> Any:
    return json.loads((COMMITTED / path).read_text())


def test_the_committed_files_are_what_the_models_say() -> None:
    assert schemas.differences(COMMITTED) == []


def test_every_type_has_a_schema() -> None:
    assert {f"events/{name}.json" for name in EventType} <= set(SCHEMAS)
    assert {f"results/{name}.json" for name in ResultType} <= set(SCHEMAS)


@pytest.mark.parametrize("path", SCHEMAS)
def test_a_schema_is_valid_and_so_are_its_examples(path: str) -> None:
    schema = load(path)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["examples"]
    for example in schema["examples"]:
        Draft202012Validator(schema).validate(example)


def test_schemas_have_different_stable_ids() -> None:
    ids = [load(path)["$id"] for path in SCHEMAS]
    assert len(set(ids)) == len(ids)
    assert all(each.startswith("urn:sendas:schema:") and each.endswith(":v1") for each in ids)


@pytest.mark.parametrize("event_type", EventType)
def test_the_parser_takes_the_examples_of_the_schemas(event_type: EventType) -> None:
    for example in load(f"events/{event_type}.json")["examples"]:
        assert parse({}, None, json.dumps(example).encode()).type is event_type


@pytest.mark.parametrize("name", golden.names("events"))
def test_golden_structured_events_agree_with_their_schema(name: str) -> None:
    """If a producer checks its events with the schema, then it refuses none that the worker takes."""
    body = golden.message("events", name).document.get("body", {})
    if "data" in body:
        Draft202012Validator(load(f"events/{body['type']}.json")).validate(body)


@pytest.mark.parametrize("name", golden.names("snapshots"))
def test_golden_snapshots_agree_with_the_schema(name: str) -> None:
    Draft202012Validator(load("snapshot.json")).validate(json.loads(golden.raw("snapshots", name)))


def test_a_changed_a_missing_and_a_superfluous_file_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schemas.write(tmp_path)
    assert schemas.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "snapshot.json").write_text("{}")
    (tmp_path / "asyncapi.json").unlink()
    (tmp_path / "events" / "comment.deleted.json").write_text("{}")
    assert schemas.main(["--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "snapshot.json is not what the models say" in said
    assert "asyncapi.json is missing" in said
    assert "comment.deleted.json is generated no more" in said
    assert schemas.REGENERATE in said
    assert schemas.main([str(tmp_path)]) == 0
    assert schemas.main(["--check", str(tmp_path)]) == 0


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = load("asyncapi.json")

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    found = references(document)
    assert len(found) > 40
    for reference in found:
        if reference.startswith("#/"):
            node = document
            for part in reference.removeprefix("#/").split("/"):
                node = node[part]
        else:
            assert (COMMITTED / reference).is_file()


def test_the_examples_of_the_asyncapi_document_agree_with_the_schemas() -> None:
    for message in load("asyncapi.json")["components"]["messages"].values():
        validator = Draft202012Validator(load(message["payload"]["$ref"]))
        for example in message["examples"]:
            validator.validate(example["payload"])


def test_every_type_has_an_example() -> None:
    examples = read_examples(COMMITTED / schemas.EXAMPLES)
    assert [name for name, found in examples.items() if not found] == []


@pytest.mark.parametrize("result_type", ResultType)
def test_an_example_of_a_result_is_what_the_worker_would_publish(result_type: ResultType) -> None:
    """If a model, a hint or how ids are made changes, then the example is changed with it."""
    example = load(f"{schemas.EXAMPLES}/{result_type}.json")
    event = contract_examples.result_example(result_type)
    assert json.loads(event.to_json()) == example
    assert example["id"] == result_id(event_key("/product/comments", EVENT_ID), [0], result_type.value)
    for told in [example["data"], *example["data"].get("steps", ())]:
        if told.get("hint") is not None:
            hint = copy_hint if result_type.startswith("sent_copy.") else hint_for
            assert Hint(**told["hint"]) == hint(Reason(told["reason"]))


def test_the_example_of_a_snapshot_is_one() -> None:
    Snapshot.model_validate(load(f"{schemas.EXAMPLES}/snapshot.json"))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("mail.sent.json", b"{", "mail.sent.json: not JSON: "),
        ("mail.sent.json", b"\xff", "mail.sent.json: not JSON: "),
        ("mail.sent.json", b"[]", "mail.sent.json: not a JSON object"),
        ("task.created.json", b"{}", "task.created.json: no field `data`"),
        ("mail.snet.json", b"{}", "mail.snet.json: no event, result or snapshot is called so"),
    ],
)
def test_an_example_that_is_none_is_named(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    """If a file among the examples cannot be one, then nothing is written, and the error names it."""
    (tmp_path / schemas.EXAMPLES).mkdir()
    (tmp_path / schemas.EXAMPLES / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        schemas.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [schemas.EXAMPLES]


def test_a_type_s_further_examples_follow_its_first(tmp_path: Path) -> None:
    for name in ("mail.sent", "mail.sent.again"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"data": name}))
    assert read_examples(tmp_path)[ResultType.MAIL_SENT] == [{"data": "mail.sent"}, {"data": "mail.sent.again"}]
    assert read_examples(tmp_path)[ResultType.MAIL_FAILED] == []
