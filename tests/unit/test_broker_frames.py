"""What is written to the broker without the library's help is what the library would write, and says what it should."""

from dataclasses import replace
from datetime import UTC, datetime

from aiormq import Channel, spec
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from worker.adapters.broker.acknowledging import Acknowledgements
from worker.adapters.broker.frames import content_frames, publish_frame
from worker.adapters.broker.properties import read_properties, write_properties
from worker.delivery.messages import Publication

short_texts = st.none() | st.text(max_size=60)
names = st.text(min_size=1, max_size=60)
values = st.text(max_size=200) | st.integers(-(2**63), 2**63 - 1) | st.booleans()
moments = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given beside it
publications = st.builds(
    Publication,
    exchange=st.text("abcXYZ.-_09", max_size=60),
    routing_key=st.text(max_size=60),
    body=st.binary(max_size=100),
    headers=st.dictionaries(names, values, max_size=6),
    content_type=short_texts,
    correlation_id=short_texts,
    type=short_texts,
    timestamp=st.none() | moments,
)


def library_properties(publication: Publication, message_id: str) -> spec.Basic.Properties:
    return spec.Basic.Properties(
        headers=dict(publication.headers),
        content_type=publication.content_type,
        delivery_mode=2,
        message_id=message_id,
        correlation_id=publication.correlation_id,
        message_type=publication.type,
        timestamp=publication.timestamp,
        app_id="sendas",
    )


@given(publications, st.text(min_size=1, max_size=60))
def test_properties_are_written_as_the_library_writes_them(publication: Publication, message_id: str) -> None:
    assert write_properties(publication, message_id) == library_properties(publication, message_id).marshal()


@given(publications, st.integers(1, 65_535), st.integers(1, 40))
def test_a_message_is_written_as_the_library_writes_it(publication: Publication, channel: int, most: int) -> None:
    """If frames are as small as the broker wants them, then the body is in as many as it takes."""
    properties = library_properties(publication, "1")
    body = publication.body
    library: list[spec.Basic.Publish | ContentHeader | ContentBody] = [
        spec.Basic.Publish(exchange=publication.exchange, routing_key=publication.routing_key, mandatory=True),
        ContentHeader(body_size=len(body), properties=properties),
        *(ContentBody(body[at : at + most]) for at in range(0, len(body), most)),
    ]
    ours = [
        publish_frame(channel, publication.exchange, publication.routing_key),
        *content_frames(channel, write_properties(publication, "1"), body, most),
    ]
    assert ours == [frame.marshal(each, channel) for each in library]


@given(publications)
def test_content_type_and_headers_are_read_as_they_were_written(publication: Publication) -> None:
    content_type, headers = read_properties(write_properties(publication, "1"))
    assert (content_type or None) == (publication.content_type or None)
    assert headers == {name.encode()[:128].decode(errors="ignore"): v for name, v in publication.headers.items()}


@given(st.binary(max_size=60))
def test_properties_that_cannot_be_read_are_none(data: bytes) -> None:
    """If a producer writes rubbish, then its message arrives all the same, and everybody else's after it."""
    content_type, headers = read_properties(data)
    assert isinstance(headers, dict)
    assert content_type is None or isinstance(content_type, str)


class OpenChannel:
    """A channel and its connection's tap, which keeps what is written to it."""

    def __init__(self) -> None:
        self.is_closed = False
        self.number = 7
        self.written = bytearray()

    def write(self, *frames: bytes) -> None:
        self.written += b"".join(frames)

    def acknowledged(self, delivered: int) -> set[int]:
        """The tags that a broker that delivered so many takes for acknowledged; it knows no tag twice."""
        owed = list(range(1, delivered + 1))
        data = bytes(self.written)
        while data:
            size, channel, ack = frame.unmarshal(data)
            assert channel == self.number
            assert isinstance(ack, spec.Basic.Ack)
            assert ack.delivery_tag in owed, "the broker closes the channel: unknown delivery tag"
            taken = [tag for tag in owed if tag <= ack.delivery_tag] if ack.multiple else [ack.delivery_tag]
            owed = [tag for tag in owed if tag not in taken]
            data = data[size:]
        return set(range(1, delivered + 1)) - set(owed)


@given(st.permutations(range(1, 9)), st.integers(0, 8), st.sets(st.integers(0, 8)))
async def test_exactly_those_that_are_done_are_acknowledged(order: list[int], done: int, turns: set[int]) -> None:
    """If letters end in any order, then no frame covers one that is still in work, whatever ends in one turn."""
    channel = OpenChannel()
    acknowledgements = Acknowledgements(channel, channel)  # type: ignore[arg-type]  # all that it needs of both
    for number, tag in enumerate(order[:done]):
        acknowledgements.add(tag)
        if number in turns:
            acknowledgements._write()
    acknowledgements._write()
    assert channel.acknowledged(8) == set(order[:done])


def test_a_channel_has_what_acknowledgements_ask_it_for() -> None:
    assert {"is_closed", "number"} <= {*dir(Channel), *Channel.__init__.__code__.co_names}


@given(st.text(min_size=60, max_size=300), st.text(min_size=60, max_size=300))
def test_what_is_too_long_for_a_property_is_left_out_and_the_rest_is_as_the_library_writes_it(
    correlation_id: str, kind: str
) -> None:
    """If an event's id has more than 255 bytes, then its results are published all the same."""
    publication = Publication("", "q", b"", correlation_id=correlation_id, type=kind)
    fitting = [text if len(text.encode()) <= 255 else None for text in (correlation_id, kind)]
    shortened = replace(publication, correlation_id=fitting[0], type=fitting[1])
    assert write_properties(publication, "1") == library_properties(shortened, "1").marshal()
