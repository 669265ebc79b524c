"""The contract's examples: JSON files beside the schemas, which embed them.

`examples/TYPE.json` is an example of an event or result of that type, `examples/TYPE.WORD.json` a further one;
`examples/snapshot.json` is a configuration snapshot.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.domain.vocabulary import EventType, ResultType
from worker.errors import ConfigurationError

Json = dict[str, Any]
Examples = Mapping[str, Sequence[Json]]

SNAPSHOT = "snapshot"
NAMES = (*EventType, *ResultType, SNAPSHOT)


def read_examples(directory: Path) -> Examples:
    """Read the examples by type, each type's in file name order; empty if the directory does not exist.

    Raises:
        ConfigurationError: a file is not a JSON object, has no data, or is not named after a type.
    """
    found: dict[str, list[Json]] = {str(name): [] for name in NAMES}
    for path in sorted(directory.glob("*.json"), key=lambda path: path.stem):
        name = path.stem if path.stem in found else path.stem.rpartition(".")[0]
        if name not in found:
            raise ConfigurationError(f"{path}: no event, result or snapshot is called so")
        found[name].append(_read(path, needs_data=name != SNAPSHOT))
    return found


def _read(path: Path, *, needs_data: bool) -> Json:
    try:
        example = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigurationError(f"{path}: not JSON: {error}") from None
    if not isinstance(example, dict):
        raise ConfigurationError(f"{path}: not a JSON object")
    if needs_data and "data" not in example:
        raise ConfigurationError(f"{path}: no field `data`")
    return example
