"""The contract as files: JSON Schemas and an AsyncAPI document, generated from the models.

`python -m worker.operations.contract.schemas [--check] [DIRECTORY]` writes them, or lists which of them differ. The
schemas include the examples in DIRECTORY/examples.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from worker.domain.events.models import CommentCreated, ConfigurationChanged, MailboxCheckRequested, TaskCreated
from worker.domain.results.events import EVENT_CLASSES
from worker.domain.snapshot.model import Snapshot
from worker.domain.vocabulary import EventType, ResultType
from worker.operations.contract.asyncapi import asyncapi
from worker.operations.contract.examples import SNAPSHOT, Examples, Json, read_examples

DIRECTORY = Path("schemas")
EXAMPLES = "examples"  # hand-written subdirectory
REGENERATE = "python -m worker.operations.contract.schemas"

_DATA_TYPES: Mapping[EventType, tuple[Any, str]] = {
    EventType.COMMENT_CREATED: (CommentCreated, "An employee wrote a comment that contacts are to receive."),
    EventType.TASK_CREATED: (TaskCreated, "A new task that contacts are to be told of."),
    EventType.MAILBOX_CHECK_REQUESTED: (
        MailboxCheckRequested,
        "Check a mailbox that the snapshot knows (`mailbox_id`), or one not saved yet (`mailbox`).",
    ),
    EventType.CONFIGURATION_CHANGED: (
        ConfigurationChanged,
        "A newer snapshot can be fetched now rather than at the next interval.",
    ),
}


class _Generator(GenerateJsonSchema):
    """Omits property titles, which would only repeat the property names."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False


def documents(examples: Examples) -> dict[str, str]:
    """Every generated file: path below `schemas/` and text."""
    found: dict[str, Json] = {}
    for event_type in EventType:
        found[f"events/{event_type}.data.json"] = _event_data_schema(event_type, examples[event_type])
        found[f"events/{event_type}.json"] = _event_schema(event_type, examples[event_type])
    for result_type in ResultType:
        found[f"results/{result_type}.json"] = _result_schema(result_type, examples[result_type])
    found["snapshot.json"] = _snapshot_schema(examples[SNAPSHOT])
    found["asyncapi.json"] = asyncapi(examples)
    return {path: json.dumps(document, ensure_ascii=False, indent=2) + "\n" for path, document in found.items()}


def write(directory: Path) -> None:
    """Write every file, and remove JSON files that are no longer generated. Raises `ConfigurationError`."""
    expected = documents(read_examples(directory / EXAMPLES))
    for path, text in expected.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for path in _present(directory) - expected.keys():
        (directory / path).unlink()


def differences(directory: Path) -> list[str]:
    """List the differences between the directory and the generated files, one per line. Raises `ConfigurationError`."""
    expected = documents(read_examples(directory / EXAMPLES))
    present = _present(directory)
    found = [f"{directory / path} is missing" for path in expected.keys() - present]
    found += [f"{directory / path} is generated no more" for path in present - expected.keys()]
    found += [
        f"{directory / path} is not what the models say"
        for path in expected.keys() & present
        if (directory / path).read_bytes() != expected[path].encode()
    ]
    return sorted(found)


def _present(directory: Path) -> set[str]:
    found = (path.relative_to(directory) for path in directory.rglob("*.json"))
    return {path.as_posix() for path in found if path.parts[0] != EXAMPLES}


def _event_data_schema(event_type: EventType, examples: Sequence[Json]) -> Json:
    model, description = _DATA_TYPES[event_type]
    return _document(
        f"{event_type}.data",
        f"Data of {event_type}",
        description,
        _generated(TypeAdapter(model), "validation"),
        [example["data"] for example in examples],
    )


def _event_schema(event_type: EventType, examples: Sequence[Json]) -> Json:
    model, description = _DATA_TYPES[event_type]
    data = _generated(TypeAdapter(model), "validation")
    definitions = data.pop("$defs", {})
    text = {"type": "string", "minLength": 1, "maxLength": 1000}
    schema: Json = {
        "type": "object",
        "properties": {
            "specversion": {"type": "string", "pattern": r"^1\.[0-9]{1,3}$"},
            "id": text
            | {"description": "with `source` the identity of the event for ever: a repeat is the same event"},
            "source": text,
            "type": {"const": event_type.value},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"type": ["string", "null"], "description": "application/json, or absent"},
            "traceparent": {"type": ["string", "null"], "description": "W3C Trace Context, carried to every result"},
            "tracestate": {"type": ["string", "null"], "description": "W3C Trace Context, carried to every result"},
            "data": data,
        },
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "$defs": definitions,
    }
    return _document(event_type.value, event_type.value, description, schema, examples)


def _result_schema(result_type: ResultType, examples: Sequence[Json]) -> Json:
    event_class = EVENT_CLASSES[result_type]
    schema = _generated(TypeAdapter(event_class), "serialization")
    # These two have defaults but are always written.
    schema["required"] = sorted({*schema["required"], "specversion", "type", "datacontenttype"})
    return _document(result_type.value, result_type.value, str(event_class.__doc__), schema, examples)


def _snapshot_schema(examples: Sequence[Json]) -> Json:
    schema = _generated(TypeAdapter(Snapshot), "validation")
    description = "The configuration snapshot: accounts, employees and mailboxes, made by the product."
    return _document("snapshot", "Configuration snapshot", description, schema, examples)


def _generated(adapter: TypeAdapter[Any], mode: JsonSchemaMode) -> Json:
    schema: Json = _without_discriminator(adapter.json_schema(mode=mode, schema_generator=_Generator))
    return schema


def _without_discriminator(node: Any) -> Any:
    """Drop OpenAPI's `discriminator`, which means nothing in JSON Schema and something else in AsyncAPI."""
    if isinstance(node, dict):
        is_keyword = isinstance(node.get("discriminator"), dict) and "oneOf" in node
        return {
            name: _without_discriminator(value)
            for name, value in node.items()
            if not (is_keyword and name == "discriminator")
        }
    if isinstance(node, list):
        return [_without_discriminator(value) for value in node]
    return node


def _document(name: str, title: str, description: str, schema: Json, examples: Sequence[Json]) -> Json:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sendas:schema:{name}:v1",
        **schema,
        "title": title,
        "description": description,
        "examples": list(examples),
    }


def main(arguments: list[str]) -> int:
    """Write or check the files; returns the exit status."""
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    directory = paths[0] if paths else DIRECTORY
    if "--check" not in arguments:
        write(directory)
        return 0
    found = differences(directory)
    for difference in found:
        sys.stderr.write(f"{difference}\n")
    if found:
        sys.stderr.write(f"to regenerate: {REGENERATE}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
