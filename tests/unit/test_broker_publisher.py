"""What a published message says of itself."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.header import ContentHeader

from worker.adapters.broker.publisher import message_properties
from worker.delivery.messages import Publication

short_texts = st.none() | st.text(max_size=60)
names = st.text(min_size=1, max_size=60)
values = st.text(max_size=200) | st.integers(-(2**63), 2**63 - 1) | st.booleans()
moments = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given beside it
publications = st.builds(
    Publication,
    exchange=st.just(""),
    routing_key=st.just("q"),
    body=st.just(b""),
    headers=st.dictionaries(names, values, max_size=6),
    content_type=short_texts,
    correlation_id=short_texts,
    type=short_texts,
    timestamp=st.none() | moments,
)


def as_read(publication: Publication) -> ContentHeader:
    """The message's header as its reader has it."""
    header = ContentHeader()
    header.unmarshal(ContentHeader(properties=message_properties(publication)).marshal())
    return header


@given(publications)
def test_properties_are_read_as_they_were_written(publication: Publication) -> None:
    properties = as_read(publication).properties
    assert properties.headers == {n.encode()[:128].decode(errors="ignore"): v for n, v in publication.headers.items()}
    assert (properties.content_type or None) == (publication.content_type or None)
    assert (properties.correlation_id or None) == (publication.correlation_id or None)
    assert (properties.message_type or None) == (publication.type or None)
    at = publication.timestamp
    assert properties.timestamp == (None if at is None else at.replace(microsecond=0))


def test_a_message_survives_the_brokers_restart_and_says_who_made_it() -> None:
    properties = as_read(Publication("", "q", b"")).properties
    assert (properties.delivery_mode, properties.app_id) == (2, "sendas")


@given(st.text(min_size=60, max_size=300), st.text(min_size=60, max_size=300))
def test_what_is_too_long_for_a_property_is_left_out_and_the_rest_stays(correlation_id: str, kind: str) -> None:
    """If an event's id has more than 255 bytes, then its results are published all the same."""
    given_all = Publication("", "q", b"", {"a": 1}, "text/x", correlation_id=correlation_id, type=kind)
    fitting = [text if len(text.encode()) <= 255 else None for text in (correlation_id, kind)]
    shortened = replace(given_all, correlation_id=fitting[0], type=fitting[1])
    assert message_properties(given_all).marshal() == message_properties(shortened).marshal()


def test_a_content_type_of_our_own_that_is_too_long_is_an_error() -> None:
    with pytest.raises(TypeError, match="255"):
        message_properties(Publication("", "q", b"", content_type="x" * 256)).marshal()
