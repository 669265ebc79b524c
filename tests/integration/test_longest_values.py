"""Ids, names and texts of every allowed length, in any script, get their results through a real broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import aio_pika
import pytest

from tests.broker_setting import SIGNATURES, TOPOLOGY, BrokerSetting, broker_setting, eventually, running_task
from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account, an_employee
from tests.contract_examples import result_example
from tests.delivery_world import BUSY, IMAP, DeliveryWorld, an_arrival
from worker.adapters.broker.consumer import Consumer
from worker.delivery.messages import Publication
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.events.models import LetterEvent
from worker.domain.results.events import EVENT_CLASSES, AnyResultEvent, MailFailedEvent, parse_result, to_message
from worker.domain.vocabulary import ResultType

TOKEN_CHARS, LINE_CHARS = 1_000, 5_000
ONES = ["a", "й", "語", "🙂"]  # of one, two, three and four bytes
# Around what AMQP carries in a property: 255 bytes.
LENGTHS = [(1, 255), (2, 127), (2, 128), (4, 63), (4, 64)]


def the_longest_event(character: str) -> LetterEvent:
    """Every token and line as long as it may be."""
    token, line = character * TOKEN_CHARS, character * LINE_CHARS
    event = a_comment_event(
        token,
        account_id=token,
        author={"employee_id": token},
        task={"id": token, "title": line, "project_id": token},
        comment={"id": token},
        mailbox_id=token,
        subject=line,
        recipients=[a_recipient(name=line, contact_id=token), a_recipient("second@example.net", contact_id=token)],
    )
    return replace(event, source=token)


def a_world(character: str) -> DeliveryWorld:
    token = character * TOKEN_CHARS
    mailbox = a_mailbox(id=token, projects=[token], sent_copy={"mode": "always", "imap": IMAP})
    return DeliveryWorld([an_account(id=token, employees=[an_employee(id=token)], mailboxes=[mailbox])])


@pytest.fixture
async def setting(vhost_url: str) -> AsyncIterator[BrokerSetting]:
    async with broker_setting(vhost_url, max_bytes=16_000_000) as opened:
        yield opened


@asynccontextmanager
async def results_of(setting: BrokerSetting) -> AsyncIterator[list[AnyResultEvent]]:
    """All results that come while the context lasts."""
    results: list[AnyResultEvent] = []

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        results.append(parse_result(message.body))

    async with setting.admin.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(TOPOLOGY.results_exchange, "#")
        await queue.consume(take, no_ack=True)
        yield results


@asynccontextmanager
async def working(setting: BrokerSetting, world: DeliveryWorld) -> AsyncIterator[None]:
    """A worker's two stages over the real broker, with mail servers in memory."""
    stages = {TOPOLOGY.outbound: world.delivery.pipeline.handle, TOPOLOGY.sent_copy: world.delivery.copies.handle}
    consumers = [
        Consumer(setting.url, queue, handler, setting.publisher, setting.metrics, prefetch=4, signatures=SIGNATURES)
        for queue, handler in stages.items()
    ]
    async with AsyncExitStack() as stack:
        for consumer in consumers:
            await stack.enter_async_context(running_task(consumer.run()))
        await eventually(lambda: all(consumer.is_consuming for consumer in consumers))
        yield
        await asyncio.gather(*(consumer.stop(0) for consumer in consumers))


async def publish(setting: BrokerSetting, event: LetterEvent) -> None:
    await setting.publisher.publish(Publication("", TOPOLOGY.outbound, an_arrival(event).body, {}, STRUCTURED))


@pytest.mark.parametrize("character", ONES)
async def test_the_longest_event_has_its_letter_its_copy_and_the_results_of_both(
    setting: BrokerSetting, character: str
) -> None:
    """If an id does not fit into AMQP's properties, then the letter must not leave with nobody told of it."""
    world, event = a_world(character), the_longest_event(character)
    world.transport.refuse(BUSY, times=1)  # the first attempt: its work goes through a delay queue, with all it has
    async with results_of(setting) as results, working(setting, world):
        await publish(setting, event)
        await eventually(lambda: {"mail.deferred", "mail.sent", "sent_copy.saved"} <= {x.type.value for x in results})
    for result in results:
        data: Any = result.data
        assert (data.event_id, data.event_source, data.account_id) == (event.id, event.source, event.data.account_id)
        assert (data.task_id, data.comment_id) == (event.data.task.id, event.id)
    assert await setting.is_empty(TOPOLOGY.dead)


@pytest.mark.parametrize(("size", "count"), LENGTHS)
async def test_ids_around_the_length_of_a_property_get_their_result(
    setting: BrokerSetting, size: int, count: int
) -> None:
    event = a_comment_event(ONES[size - 1] * count)
    async with results_of(setting) as results, working(setting, DeliveryWorld()):
        await publish(setting, event)
        await eventually(lambda: any(x.type is ResultType.MAIL_SENT for x in results))
    assert {x.data.event_id for x in results} == {event.id}  # type: ignore[union-attr]  # results of letters


@pytest.mark.parametrize("character", ONES)
async def test_an_invalid_event_with_the_longest_ids_is_told_of_and_kept(
    setting: BrokerSetting, character: str
) -> None:
    arrival = an_arrival(the_longest_event(character))
    document = json.loads(arrival.body)
    document["data"]["recipients"] = "nobody"
    async with results_of(setting) as results, working(setting, a_world(character)):
        body = json.dumps(document).encode()
        await setting.publisher.publish(Publication("", TOPOLOGY.outbound, body, {}, STRUCTURED))
        await eventually(lambda: bool(results))
        assert (await setting.get(TOPOLOGY.dead)).body == body
    [result] = results
    assert isinstance(result, MailFailedEvent)
    assert result.data.event_id == character * TOKEN_CHARS


@pytest.mark.parametrize("result_type", ResultType)
async def test_a_result_of_every_type_is_published_with_the_longest_ids(
    setting: BrokerSetting, result_type: ResultType
) -> None:
    """Every text of the example that is an id, and whatever else has no pattern of its own, as long as it may be."""
    example = json.loads(result_example(result_type).to_json())
    ids = {"event_id", "event_source", "account_id", "task_id", "comment_id", "mailbox_id", "contact_id", "username"}
    long = "й" * TOKEN_CHARS
    example["data"] = {name: long if name in ids and value else value for name, value in example["data"].items()}
    result = EVENT_CLASSES[result_type].model_validate({**example, "subject": long, "source": long})
    message = to_message(result)
    async with results_of(setting) as results:
        await setting.publisher.publish(
            Publication(
                exchange=TOPOLOGY.results_exchange,
                routing_key=message.routing_key,
                body=message.body,
                headers=message.headers,
                content_type=message.properties.content_type,
                correlation_id=message.properties.correlation_id,
                type=message.properties.type,
                timestamp=message.properties.timestamp,
            )
        )
        await eventually(lambda: bool(results))
    assert results == [result]
