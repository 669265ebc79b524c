"""What goes back to the broker is what it can take, whatever came."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pamqp import encode

from worker.delivery.messages import MAX_HEADER_BYTES, Arrival, header_bytes
from worker.delivery.requeue import DeadLetterReason, admitted, dead, later, own_headers, until_turn
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason

MAX_FRAME_BYTES = 128 * 1024
DEATH = DeadLetterReason(Reason.INVALID_EVENT, "x" * 1_000, datetime(2026, 11, 23, tzinfo=UTC))
ATTRIBUTES = {"ce-id": "1", "ce-type": "comment.created"}


@pytest.mark.parametrize(
    "headers",
    [
        {"huge": "x" * 125_000},
        {"large": "x" * 32_000},
        {"bytes": b"\xff" * 60_000},
        {"table": {"a": [b"\xff" * 100] * 500}},
        {f"n{number}": number for number in range(8_000)},
        {f"sendas-{number}": "щ" * 500 for number in range(100)},
        {"sendas-recipients": "0-9," * 30_000},
        {"huge": "x" * 60_000, "sendas-last-reply": "x" * 60_000},
    ],
    ids=["text", "less text", "bytes", "table", "many", "many of ours", "one of ours", "both"],
)
def test_headers_of_a_message_that_goes_back_fit_into_a_frame(headers: dict[str, Any]) -> None:
    """If they did not, then the broker would close the publisher's connection, again and again, for everybody."""
    arrival = Arrival("sendas.outbound", b"{}", headers | ATTRIBUTES)
    for publication in (
        dead(arrival, Topology(), DEATH),
        later(arrival, {}, Topology(), 30),
        until_turn(arrival, own_headers(arrival), Topology(), DEATH.at, DEATH.at),
        admitted(arrival, Topology()),
    ):
        assert len(encode.field_table(dict(publication.headers))) < MAX_FRAME_BYTES - 1_024
        # As the publisher counts: what it refused would be neither tried again nor buried.
        assert sum(header_bytes(*header) for header in publication.headers.items()) <= MAX_HEADER_BYTES
        assert ATTRIBUTES.items() <= publication.headers.items()


def test_bytes_that_are_no_text_can_be_published() -> None:
    """If a header is not UTF-8, then its message still finds its way to the dead queue."""
    publication = dead(Arrival("sendas.outbound", b"", {"ce-id": b"\xff"}), Topology(), DEATH)
    assert encode.field_table(dict(publication.headers))
