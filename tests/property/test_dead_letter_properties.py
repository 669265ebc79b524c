"""Whatever ends in the dead queue can be read, shown and put into a file."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.dead_queue import KeptMessage
from worker.operations.dead_letters.digest import digest_of
from worker.operations.dead_letters.export import from_line, to_line
from worker.operations.dead_letters.format import row, row_document, whole_text
from worker.operations.dead_letters.letter import read_dead_letter

NAMES = (
    "x-death",
    "sendas-copy",
    "sendas-dead-at",
    "sendas-dead-reason",
    "sendas-attempt",
    "sendas-recipients",
    "ce-id",
)
TEXTS = st.text("a{}[]0-:T\u202e\x1b\ud800", max_size=9)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.binary(max_size=9)
    | TEXTS
    | st.datetimes().map(lambda moment: moment.replace(fold=0))
)
HEADERS = st.dictionaries(
    st.sampled_from(NAMES),
    VALUES | st.lists(VALUES, max_size=2) | st.lists(st.dictionaries(st.sampled_from(["reason", "time"]), VALUES)),
)


@given(st.binary(max_size=50) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")), HEADERS)
def test_a_message_of_any_kind_is_no_obstacle(body: bytes, headers: dict[str, object]) -> None:
    message = KeptMessage(0, body, headers)
    letter = read_dead_letter(message)
    json.dumps(row_document(letter))
    assert "\n" not in row(letter)
    assert "\x1b" not in whole_text(message, letter)
    filed = from_line(to_line(message), 0)
    assert (filed.body, filed.headers) == (body, headers)
    assert digest_of(filed) == digest_of(message)
