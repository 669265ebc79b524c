"""Whatever a document holds, the compiler says what it thinks of it; one account never changes another."""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.documents import a_document, account_document, write
from worker.adapters.snapshot.directory import CompiledDirectory, load_directory
from worker.errors import InvalidSnapshot

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
DOCUMENT_BYTES = json.dumps(a_document()).encode()


def _load(document: Any) -> CompiledDirectory | None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            return load_directory(write(Path(directory) / "snapshot.json", document))
        except InvalidSnapshot:
            return None


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=200))
@example(b'{"accounts":[' * 2_000)
@example(b'{"accounts":[{"id":"\\ud800"}]}')
def test_arbitrary_bytes_are_refused_and_never_crash(content: bytes) -> None:
    assert _load(content) is None


@settings(deadline=None, max_examples=80)
@given(st.integers(0, len(DOCUMENT_BYTES) - 1), st.binary(max_size=6), st.integers(0, 6))
def test_a_document_with_some_bytes_replaced_is_compiled_or_refused(at: int, new: bytes, length: int) -> None:
    directory = _load(DOCUMENT_BYTES[:at] + new + DOCUMENT_BYTES[at + length :])
    if directory is not None:
        assert directory.left_out == len({problem.account_id for problem in directory.problems()})


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["schema", "version", "generated_at", "platform", "accounts"]), JSON))
def test_arbitrary_members_are_compiled_or_refused(members: dict[str, Any]) -> None:
    _load(json.dumps(a_document(**members)))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_one_mutated_account_never_changes_what_is_served_for_the_others(data: st.DataObject) -> None:
    neighbours = [account_document("before"), account_document("after", plan="free")]
    mutated = _mutated(data, account_document("mutated"))
    text = json.dumps(a_document(neighbours[0], mutated, neighbours[1]))
    directory = _load(text)
    assert directory is not None
    expected = _load(a_document(*neighbours))
    assert expected is not None
    usurped = mutated.get("id") if isinstance(mutated, dict) else None
    for account_id in (name for name in ("before", "after") if name != usurped):
        assert directory.account(account_id) == expected.account(account_id)
        assert not directory.is_left_out(account_id)


def _mutated(data: st.DataObject, account: Any) -> Any:
    """The account with one value anywhere in it replaced or removed."""
    account = copy.deepcopy(account)
    places = list(_places(account))
    container, key = data.draw(st.sampled_from([(None, None), *places]))
    if container is None:
        return data.draw(JSON)
    if data.draw(st.booleans()):
        container[key] = data.draw(JSON)
    else:
        del container[key]
    return account


def _places(value: Any) -> Any:
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
