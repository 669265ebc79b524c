"""What is written to the broker without the library's help is what the library would write, and says what it should."""

from datetime import UTC, datetime

from aiormq import Channel, spec
from aiormq.abc import ChannelFrame
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame

from worker.adapters.broker.acknowledging import Acknowledgements
from worker.adapters.broker.properties import Properties

short_texts = st.none() | st.text(max_size=60)
names = st.text(min_size=1, max_size=60)
values = st.text(max_size=200) | st.integers(-(2**63), 2**63 - 1) | st.booleans()


@given(
    content_type=short_texts,
    headers=st.dictionaries(names, values, max_size=6),
    delivery_mode=st.sampled_from((1, 2)),
    correlation_id=short_texts,
    message_id=short_texts,
    message_type=short_texts,
    timestamp=st.none() | st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the zone is given beside it
)
def test_properties_are_written_as_the_library_writes_them(**properties: object) -> None:
    ours = Properties(**properties)  # type: ignore[arg-type]  # drawn by name
    assert ours.marshal() == spec.Basic.Properties(**properties).marshal()  # type: ignore[arg-type]  # the same


class OpenChannel:
    """A channel that keeps what is written to it."""

    def __init__(self) -> None:
        self.is_closed = False
        self.number = 7
        self.written = bytearray()
        self.write_queue = self

    def full(self) -> bool:
        return False

    def put_nowait(self, written: ChannelFrame) -> None:
        self.written += written.payload

    def acknowledged(self, delivered: int) -> set[int]:
        """The tags that a broker that delivered so many takes for acknowledged."""
        tags: set[int] = set()
        data = bytes(self.written)
        while data:
            size, channel, ack = frame.unmarshal(data)
            assert channel == self.number
            assert isinstance(ack, spec.Basic.Ack)
            tags |= set(range(1, ack.delivery_tag + 1)) if ack.multiple else {ack.delivery_tag}
            data = data[size:]
        assert tags <= set(range(1, delivered + 1))
        return tags


@given(st.permutations(range(1, 9)), st.integers(0, 8), st.sets(st.integers(0, 8)))
async def test_exactly_those_that_are_done_are_acknowledged(order: list[int], done: int, turns: set[int]) -> None:
    """If letters end in any order, then no frame covers one that is still in work, whatever ends in one turn."""
    channel = OpenChannel()
    acknowledgements = Acknowledgements(channel)  # type: ignore[arg-type]  # all that it needs of one
    for number, tag in enumerate(order[:done]):
        acknowledgements.add(tag)
        if number in turns:
            acknowledgements._write()
    acknowledgements._write()
    assert channel.acknowledged(8) == set(order[:done])


def test_a_channel_is_what_acknowledgements_write_to() -> None:
    assert {"is_closed", "number", "write_queue"} <= {*dir(Channel), *Channel.__init__.__code__.co_names}
