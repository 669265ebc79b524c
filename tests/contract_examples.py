"""The contract's examples, from the files that the schemas carry."""

from pathlib import Path

from worker.domain.results.events import EVENT_CLASSES, AnyResultEvent
from worker.domain.vocabulary import EventType, ResultType
from worker.operations.contract.examples import Json, read_examples

DIRECTORY = Path(__file__).parents[1] / "schemas" / "examples"


def event_examples(event_type: EventType) -> list[Json]:
    """Examples of an event in structured mode."""
    return list(read_examples(DIRECTORY)[event_type])


def result_example(result_type: ResultType) -> AnyResultEvent:
    """The example of an event out."""
    return EVENT_CLASSES[result_type].model_validate_json((DIRECTORY / f"{result_type}.json").read_bytes())
