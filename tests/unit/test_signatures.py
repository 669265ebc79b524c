"""A message is known for a worker's by its signature alone, and whatever else is in it decides nothing."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.header import ContentHeader

from worker.adapters.broker.publisher import message_properties
from worker.delivery.messages import Arrival, Publication
from worker.delivery.signatures import SIGNATURE, Signatures

OURS, OTHERS = Signatures(b"the key of this installation"), Signatures(b"the key of another installation")
WORK = Publication(
    "",
    "sendas.outbound.delay.30s",
    b'{"id": "evt-1"}',
    {"sendas-attempt": 3, "sendas-recipients": "0-2", "ce-id": "evt-1", "foreign": "x"},
    "application/json",
)


def arrived(publication: Publication, **headers: object) -> Arrival:
    """The message as it comes out of a queue, after the broker added headers of its own."""
    header = ContentHeader()
    header.unmarshal(ContentHeader(properties=message_properties(publication)).marshal())
    given = header.properties.headers or {}
    all_headers = {**given, "x-death": [{}], **headers}
    return Arrival("sendas.outbound", publication.body, all_headers, header.properties.content_type)


def own(arrival: Arrival) -> dict[str, object]:
    return {name: value for name, value in arrival.headers.items() if name.startswith("sendas-")}


async def test_what_we_signed_is_believed_whatever_the_broker_adds() -> None:
    arrival = arrived(await OURS.signed(WORK), **{"timestamp_in_ms": 1, "x-delivery-count": 2})
    trusted = await OURS.trusted(arrival)
    assert own(trusted) == {"sendas-attempt": 3, "sendas-recipients": "0-2"}
    assert trusted.headers["foreign"] == "x"


@pytest.mark.parametrize(
    "forged",
    [
        arrived(WORK),
        arrived(WORK, **{SIGNATURE: "0" * 64}),
        arrived(WORK, **{SIGNATURE: b"\xff"}),
        arrived(WORK, **{SIGNATURE: "é\ud800"}),
        arrived(WORK, **{SIGNATURE: None}),
    ],
    ids=["none", "wrong", "bytes", "no text", "null"],
)
async def test_what_nobody_signed_has_no_header_of_ours(forged: Arrival) -> None:
    trusted = await OURS.trusted(forged)
    assert own(trusted) == {}
    assert (trusted.headers["ce-id"], trusted.body) == ("evt-1", WORK.body)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: replace(x, body=b'{"id": "evt-2"}'),
        lambda x: replace(x, content_type="text/plain"),
        lambda x: replace(x, headers={**x.headers, "sendas-attempt": 4}),
        lambda x: replace(x, headers={**x.headers, "sendas-attempt": "3"}),
        lambda x: replace(x, headers={**x.headers, "sendas-copy": "{}"}),
        lambda x: replace(x, headers={**x.headers, "ce-id": "evt-2"}),
        lambda x: replace(x, headers={**x.headers, "cloudEvents:source": "/p"}),
        lambda x: replace(x, headers={name: v for name, v in x.headers.items() if name != "sendas-recipients"}),
    ],
    ids=["body", "type", "value", "kind of value", "added", "attribute", "added attribute", "removed"],
)
async def test_a_signature_is_for_the_message_as_it_is(change: object) -> None:
    arrival = arrived(await OURS.signed(WORK))
    assert callable(change)
    assert own(await OURS.trusted(change(arrival))) == {}


async def test_the_signature_of_another_installation_is_none() -> None:
    assert own(await OURS.trusted(arrived(await OTHERS.signed(WORK)))) == {}


async def test_results_are_not_signed_and_a_foreign_signature_is_not_passed_on() -> None:
    result = replace(WORK, exchange="sendas.results")
    assert await OURS.signed(result) is result
    signed = await OURS.signed(replace(WORK, headers={SIGNATURE: "forged"}))
    assert signed.headers == (await OURS.signed(replace(WORK, headers={}))).headers


async def test_a_large_message_holds_nobody_up() -> None:
    """If a copy of 16 MB is signed, then the event loop turns meanwhile."""
    large = replace(WORK, body=bytes(16_000_000))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.ensure_future(turn())
    signed = await OURS.signed(large)
    assert own(await OURS.trusted(arrived(signed)))
    turning.cancel()
    assert turns > 2


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Signatures(b"secret")


texts = st.text(max_size=40)
names = st.sampled_from(["sendas-", "ce-", "cloudEvents:", ""]).flatmap(
    lambda prefix: st.text("abz09-é", min_size=1, max_size=150).map(lambda rest: prefix + rest)
)


@given(
    st.dictionaries(names, texts | st.integers(-(2**63), 2**63 - 1) | st.booleans(), max_size=6),
    st.none() | st.text(max_size=60),
    st.binary(max_size=60),
)
def test_whatever_we_sign_is_known_for_ours_after_its_way_through_amqp(
    headers: dict[str, str | int], content_type: str | None, body: bytes
) -> None:
    """If it were not, then a letter would lose its attempts and its age on each round, and never end."""
    publication = Publication("", "queue", body, headers, content_type)
    arrival = arrived(asyncio.run(OURS.signed(publication)))
    assert OURS.is_ours(arrival.headers, arrival.content_type, arrival.body)
