"""Every result that can be built is true of its committed schema, and can be read back from its bytes."""

import json
import types
from collections.abc import Mapping
from datetime import UTC
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import AwareDatetime, BaseModel, BeforeValidator

from worker.domain.results.events import EVENT_CLASSES, parse_result, to_message
from worker.domain.vocabulary import ResultType

RESULTS = Path(__file__).parents[2] / "schemas" / "results"

# Texts that models take as they are come from events and snapshots, which hold no surrogates; those of servers may.
CHECKED = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
FOREIGN = st.text(st.characters(), max_size=10)
SCALARS: Mapping[Any, st.SearchStrategy[Any]] = {
    str: CHECKED,
    bool: st.booleans(),
    int: st.integers(0, 2**63),
    float: st.floats(0, 1e9),
    AwareDatetime: st.datetimes(timezones=st.just(UTC)),
    types.NoneType: st.none(),
}


def values(annotation: Any, metadata: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Values that a field with this annotation takes."""
    if annotation is str and any(isinstance(each, BeforeValidator) for each in metadata):
        return FOREIGN
    if annotation in SCALARS:
        return SCALARS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return st.one_of([values(argument) for argument in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(CHECKED, values(arguments[1]), max_size=3)
    if issubclass(annotation, Enum):
        return st.sampled_from(list(annotation))
    return instances(annotation)


@cache
def instances(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Instances of a model, each field drawn anew."""
    fields = {name: values(field.annotation, tuple(field.metadata)) for name, field in model.model_fields.items()}
    if model.__name__ == "CheckStepResult":
        fields["name"] = st.from_regex("[a-z0-9_]+", fullmatch=True)
    return st.builds(model, **fields)


@cache
def validator(result_type: ResultType) -> Any:
    return Draft202012Validator(json.loads((RESULTS / f"{result_type}.json").read_text()))


@pytest.mark.parametrize("result_type", ResultType)
@settings(deadline=None, max_examples=30)  # of each of twelve types; a busy machine is no failure
@given(st.data())
def test_a_result_agrees_with_its_schema_and_is_read_back_unchanged(
    result_type: ResultType, data: st.DataObject
) -> None:
    result = data.draw(instances(EVENT_CLASSES[result_type]))
    message = to_message(result)
    validator(result_type).validate(json.loads(message.body))
    again = parse_result(message.body)
    assert again == result
    assert to_message(again) == message
