"""Consumer, publisher and topology against a real RabbitMQ: what is published, settled, lost and found again."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aio_pika.abc import AbstractChannel
from aiormq import spec

from stack import RabbitMQ
from tests.broker_setting import (
    TOPOLOGY,
    BrokerSetting,
    QuickTopology,
    Scripted,
    a_result,
    a_work_message,
    broker_setting,
    eventually,
    nothing,
)
from worker.adapters.broker.connection import connect_patiently
from worker.adapters.broker.consumer import Consumer
from worker.adapters.broker.topology import apply_topology, check_topology
from worker.delivery import requeue
from worker.delivery.messages import Arrival, Publication
from worker.domain.topology import Topology
from worker.errors import ConfigurationError, OversizedPublication, Unavailable


@pytest.fixture
async def setting(vhost_url: str) -> AsyncIterator[BrokerSetting]:
    async with broker_setting(vhost_url) as opened:
        yield opened


async def test_what_a_handler_answers_is_published_before_its_message_is_acknowledged(setting: BrokerSetting) -> None:
    async def answer(arrival: Arrival) -> Sequence[Publication]:
        return [Publication("", TOPOLOGY.dead, b"answer to " + arrival.body)]

    await setting.publisher.publish(a_work_message(b"question"))
    async with setting.consuming(answer):
        message = await setting.get(TOPOLOGY.dead)
        assert message.body == b"answer to question"
        assert message.delivery_mode == 2
        await eventually(setting.is_empty)


async def test_a_message_that_is_deferred_ten_times_comes_back_ten_times(setting: BrokerSetting) -> None:
    """RabbitMQ drops what comes back to a queue with its own x- headers still on it, as a cycle, in silence."""
    done = asyncio.Event()

    async def defer(arrival: Arrival) -> Sequence[Publication]:
        assert ("x-death" in arrival.headers) == (len(handler.arrivals) > 1)
        if len(handler.arrivals) == 11:
            done.set()
            return []
        headers = {"sendas-attempt": len(handler.arrivals)}
        return [requeue.later(arrival, headers, TOPOLOGY, 30 if len(handler.arrivals) % 2 else 120)]

    handler = Scripted(defer)
    async with setting.consuming(handler), asyncio.timeout(20):
        await setting.publisher.publish(a_work_message(custom="kept", ce_time="2026-11-23T10:00:00Z"))
        await done.wait()
    assert [arrival.headers.get("sendas-attempt") for arrival in handler.arrivals] == [None, *range(1, 11)]
    assert all(arrival.headers["custom"] == "kept" for arrival in handler.arrivals)


async def test_a_late_acknowledgement_after_a_reconnect_is_harmless_and_the_message_comes_again(
    setting: BrokerSetting, rabbitmq: RabbitMQ
) -> None:
    """The task of the first delivery goes on, and what it answers is published, although its channel is gone."""
    may_end = asyncio.Event()

    async def slow(_: Arrival) -> Sequence[Publication]:
        if len(handler.arrivals) == 1:
            await may_end.wait()
            return [Publication("", TOPOLOGY.dead, b"first")]
        return []

    handler = Scripted(slow)
    await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler) as consumer, asyncio.timeout(30):
        await handler.came.wait()
        await rabbitmq.first.ctl("close_all_connections", "--vhost", setting.url.rsplit("/", 1)[1], "test")
        await eventually(lambda: len(handler.arrivals) == 2)
        assert handler.arrivals[1].is_redelivered
        may_end.set()
        await eventually(lambda: consumer.in_flight == 0)
    async with broker_setting(setting.url) as again:
        assert (await again.get(TOPOLOGY.dead)).body == b"first"
        assert await again.is_empty()


async def test_a_consumer_that_the_broker_cancels_consumes_again(setting: BrokerSetting) -> None:
    """Nothing but the cancellation tells that a queue was deleted; when it is there again, so is the consumer."""
    handler = Scripted(nothing)
    async with setting.consuming(handler) as consumer, asyncio.timeout(30):
        async with setting.admin.channel() as channel:
            await channel.queue_delete(TOPOLOGY.outbound)
        await eventually(lambda: not consumer.is_consuming)
        assert consumer.problem() == "not consuming from the broker"

        await apply_topology(setting.url, TOPOLOGY)
        await setting.publisher.publish(a_work_message())
        await handler.came.wait()


async def test_a_consumer_that_is_lost_without_a_word_is_found_by_the_watchdog(setting: BrokerSetting) -> None:
    """The broker forgets the consumer and says nothing: only that messages wait and none comes shows it."""
    handler = Scripted(nothing)
    async with setting.consuming(handler, look_every_s=0.2) as consumer, asyncio.timeout(30):
        await forget(consumer)
        assert consumer.is_consuming  # as far as it knows
        await setting.publisher.publish(a_work_message())
        await handler.came.wait()


async def test_the_watchdog_leaves_a_consumer_alone_that_has_all_it_can_hold(setting: BrokerSetting) -> None:
    may_end = asyncio.Event()

    async def slow(_: Arrival) -> Sequence[Publication]:
        await may_end.wait()
        return []

    handler = Scripted(slow)
    for _ in range(5):
        await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler, prefetch=2, look_every_s=0.05) as consumer, asyncio.timeout(30):
        await eventually(lambda: len(handler.arrivals) == 2)
        looks = Looks(consumer)
        await eventually(lambda: looks.count > 5)
        assert len(handler.arrivals) == 2
        may_end.set()
        await eventually(lambda: len(handler.arrivals) == 5)
    assert not any(arrival.is_redelivered for arrival in handler.arrivals)


class Looks:
    """Counts the watchdog's looks at the queue."""

    def __init__(self, consumer: Consumer) -> None:
        self.count = 0
        look = consumer._has_ready

        async def counted(channel: AbstractChannel) -> bool:
            self.count += 1
            return await look(channel)

        consumer._has_ready = counted  # type: ignore[method-assign]  # to see that it looks; it looks all the same


async def forget(consumer: Consumer) -> None:
    """Have the broker drop the consumer as if it had lost it."""
    assert consumer._underlay is not None
    assert consumer._tag is not None
    await consumer._underlay.basic_cancel(consumer._tag)


async def test_a_mistake_in_the_handler_ends_in_the_dead_queue_and_wedges_nothing(setting: BrokerSetting) -> None:
    async def mistaken(arrival: Arrival) -> Sequence[Publication]:
        if arrival.body == b"bad":
            raise KeyError("bug")
        return []

    handler = Scripted(mistaken)
    async with setting.consuming(handler, prefetch=1), asyncio.timeout(60):
        await setting.publisher.publish(a_work_message(b"bad"))
        await setting.publisher.publish(a_work_message(b"good"))
        message = await setting.get(TOPOLOGY.dead)
        assert message.body == b"bad"
        await eventually(lambda: any(arrival.body == b"good" for arrival in handler.arrivals))
    assert sum(arrival.body == b"bad" for arrival in handler.arrivals) == 21


async def test_a_handler_is_told_how_often_its_message_came_back(setting: BrokerSetting) -> None:
    """What a producer writes into the broker's own header does not count."""

    async def mistaken(arrival: Arrival) -> Sequence[Publication]:
        if len(handler.arrivals) < 4:
            raise KeyError("bug")
        return []

    handler = Scripted(mistaken)
    await setting.publisher.publish(a_work_message(x_delivery_count=99, x_acquired_count=99))
    async with setting.consuming(handler), asyncio.timeout(30):
        await eventually(lambda: len(handler.arrivals) == 4)
    assert [arrival.returns for arrival in handler.arrivals] == [0, 1, 2, 3]


async def test_what_is_given_back_between_acknowledgements_costs_nobody_the_channel(setting: BrokerSetting) -> None:
    """Acknowledged together with its neighbours, the tag that was given back would be unknown to the broker."""
    may_end = asyncio.Event()

    async def second_fails(arrival: Arrival) -> Sequence[Publication]:
        if arrival.body == b"2" and not arrival.is_redelivered:
            raise KeyError("bug")
        if arrival.body == b"1":
            await may_end.wait()
        return []

    handler = Scripted(second_fails)
    async with setting.consuming(handler) as consumer, asyncio.timeout(30):
        for body in (b"1", b"2"):
            await setting.publisher.publish(a_work_message(body))
        await eventually(lambda: len(handler.arrivals) == 3 and consumer.in_flight == 1)
        may_end.set()
        await eventually(lambda: consumer.in_flight == 0)
        await setting.publisher.publish(a_work_message(b"3"))
        await eventually(lambda: len(handler.arrivals) == 4)
        assert consumer.is_consuming
    assert [arrival.is_redelivered for arrival in handler.arrivals] == [False, False, True, False]


async def test_acknowledgements_that_a_lost_connection_never_takes_leave_no_task_behind(setting: BrokerSetting) -> None:
    """If a connection ends while many letters are done at once, then all come again, and there is room for them."""
    may_end = asyncio.Event()

    async def slow(arrival: Arrival) -> Sequence[Publication]:
        if not arrival.is_redelivered:
            await may_end.wait()
        return []

    handler = Scripted(slow)
    for number in range(100):
        await setting.publisher.publish(a_work_message(str(number).encode()))
    async with setting.consuming(handler, prefetch=100) as consumer:
        await eventually(lambda: len(handler.arrivals) == 100)
        assert consumer._underlay is not None
        closing = asyncio.ensure_future(consumer._underlay.connection.close())
        may_end.set()
        await closing
        await eventually(lambda: len(handler.arrivals) > 100)
        await eventually(lambda: consumer.in_flight == 0)
        await eventually(setting.is_empty)
    again = [arrival.body for arrival in handler.arrivals if arrival.is_redelivered]
    assert len(again) == len(set(again))
    async with setting.consuming(nothing):
        assert await setting.is_empty()


async def test_what_is_acknowledged_in_the_last_moment_does_not_come_again(setting: BrokerSetting) -> None:
    """If many letters are done as the worker stops, then the broker has read that before the connection ends."""
    may_end = asyncio.Event()

    async def slow(_: Arrival) -> Sequence[Publication]:
        await may_end.wait()
        return []

    handler = Scripted(slow)
    for _ in range(30):
        await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler, prefetch=30) as consumer, asyncio.timeout(60):
        await eventually(lambda: len(handler.arrivals) == 30)
        stopping = asyncio.ensure_future(consumer.stop(20))
        await eventually(lambda: not consumer.is_consuming)
        may_end.set()
        await stopping
    handler_of_the_next = Scripted(nothing)
    async with setting.consuming(handler_of_the_next):
        await setting.publisher.publish(a_work_message(b"marker"))
        await handler_of_the_next.came.wait()
    assert [arrival.body for arrival in handler_of_the_next.arrivals] == [b"marker"]


async def test_what_a_producer_writes_into_properties_costs_nobody_the_connection(setting: BrokerSetting) -> None:
    """RabbitMQ passes names and texts on that are no UTF-8, and moments that no calendar has."""
    handler = Scripted(nothing)
    rubbish = b"\x02\xff\xfeV" + b"\x01tT" + b"\xff" * 8 + b"\x01s" + b"S\x00\x00\x00\x01\xff"
    async with setting.admin.channel() as channel, setting.consuming(handler, prefetch=1) as consumer:
        underlay = await channel.get_underlay_channel()
        for table in (rubbish, b"", b"\x01aV" * 20_000):
            properties = RawProperties(table)
            await underlay.basic_publish(b"foreign", routing_key=TOPOLOGY.outbound, properties=properties)
        consuming = consumer._underlay
        await setting.publisher.publish(a_work_message(b"ours"))
        await eventually(lambda: len(handler.arrivals) == 4)
        await eventually(setting.is_empty)
        assert consumer._underlay is consuming
    assert [(arrival.body, arrival.content_type) for arrival in handler.arrivals] == [
        *[(b"foreign", "??")] * 3,
        (b"ours", "application/cloudevents+json"),
    ]
    tables = [dict(arrival.headers) for arrival in handler.arrivals[:3]]
    assert tables[:2] == [{}, {}]
    assert tables[2] in ({}, {"a": None})  # RabbitMQ 4 makes one field of those that have the same name


class RawProperties(spec.Basic.Properties):
    """Content type, this table of headers, a message id and a moment, as bytes that no library would write."""

    def __init__(self, table: bytes) -> None:
        super().__init__(message_id="1")
        self._table = table

    def marshal(self) -> bytes:
        flags = 1 << 15 | 1 << 13 | 1 << 7 | 1 << 6
        table = len(self._table).to_bytes(4, "big") + self._table
        return flags.to_bytes(2, "big") + b"\x02\xff\xfe" + table + b"\x011" + b"\xff" * 8


@pytest.mark.parametrize("size", [0, 131_064, 131_065, 900_000])
async def test_a_message_of_many_frames_arrives_as_it_was(setting: BrokerSetting, size: int) -> None:
    """Frames have at most 128 KiB; the sizes are those around one full frame."""
    handler = Scripted(nothing)
    body = random.Random(size).randbytes(size)
    async with setting.consuming(handler), asyncio.timeout(30):
        await asyncio.gather(*(setting.publisher.publish(a_work_message(each)) for each in (body, b"small") * 3))
        await eventually(lambda: len(handler.arrivals) == 6)
    assert sorted(arrival.body for arrival in handler.arrivals) == sorted((body, b"small") * 3)


async def test_while_something_is_unavailable_intake_pauses_and_goes_on_by_itself(setting: BrokerSetting) -> None:
    is_away = True

    async def away(_: Arrival) -> Sequence[Publication]:
        if is_away:
            raise Unavailable("the ledger is away")
        return []

    handler = Scripted(away)
    for _ in range(6):
        await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler, prefetch=2) as consumer, asyncio.timeout(30):
        await eventually(lambda: len(handler.arrivals) >= 4)  # two messages, tried twice: no more are taken
        assert consumer.in_flight == 2
        is_away = False
        await eventually(setting.is_empty)
        await eventually(lambda: consumer.in_flight == 0)


async def test_a_message_is_put_back_as_a_new_one_before_the_broker_takes_it_back_by_force(
    setting: BrokerSetting,
) -> None:
    """Each time that is done by force counts, and after a night without a ledger the message would be dead."""

    async def away(_: Arrival) -> Sequence[Publication]:
        if len(handler.arrivals) < 4:
            raise Unavailable("the ledger is away")
        return []

    handler = Scripted(away)
    async with setting.consuming(handler, hold_s=0) as consumer, asyncio.timeout(30):
        await setting.publisher.publish(a_work_message(sendas_attempt=2, custom="kept"))
        await eventually(lambda: len(handler.arrivals) == 4)
        await eventually(lambda: consumer.in_flight == 0)
        assert await setting.is_empty()
    assert all(arrival.returns == 0 for arrival in handler.arrivals)
    assert all(arrival.headers["custom"] == "kept" for arrival in handler.arrivals)
    first_seen = {arrival.headers["sendas-first-seen"] for arrival in handler.arrivals[1:]}
    assert len(first_seen) == 1
    assert handler.arrivals[3].headers["sendas-attempt"] == 2


async def test_a_message_that_waits_for_an_outage_and_is_taken_back_leaves_no_task_behind(
    setting: BrokerSetting, rabbitmq: RabbitMQ
) -> None:
    """The broker takes back what is held for 30 minutes; each time, the outage must not double the work."""

    async def away(_: Arrival) -> Sequence[Publication]:
        raise Unavailable("the ledger is away")

    handler = Scripted(away)
    await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler) as consumer, asyncio.timeout(30):
        await handler.came.wait()
        await rabbitmq.first.ctl("close_all_connections", "--vhost", setting.url.rsplit("/", 1)[1], "test")
        await eventually(lambda: any(arrival.is_redelivered for arrival in handler.arrivals))
        await eventually(lambda: consumer.in_flight == 1)


async def test_what_comes_again_after_a_reconnect_waits_for_the_room_that_its_first_tasks_take(
    setting: BrokerSetting, rabbitmq: RabbitMQ
) -> None:
    """Else a broker that blocks publishers for hours, and takes messages back meanwhile, would fill the memory."""
    may_end = asyncio.Event()

    async def slow(_: Arrival) -> Sequence[Publication]:
        await may_end.wait()
        return []

    handler = Scripted(slow)
    for _ in range(4):
        await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler, prefetch=2) as consumer, asyncio.timeout(60):
        await eventually(lambda: consumer.in_flight == 2)
        for _ in range(2):
            await rabbitmq.first.ctl("close_all_connections", "--vhost", setting.url.rsplit("/", 1)[1], "test")
            await eventually(lambda: not consumer.is_consuming)
            await eventually(lambda: len(consumer._waiting) == 2)
        assert (consumer.in_flight, len(handler.arrivals)) == (2, 2)
        may_end.set()
        await eventually(lambda: len(handler.arrivals) == 6)
        await eventually(lambda: consumer.in_flight == 0)


async def test_a_stopping_consumer_finishes_what_is_in_flight_and_takes_nothing_more(setting: BrokerSetting) -> None:
    may_end = asyncio.Event()

    async def slow(_: Arrival) -> Sequence[Publication]:
        await may_end.wait()
        return [Publication("", TOPOLOGY.dead, b"finished")]

    handler = Scripted(slow)
    async with setting.consuming(handler, prefetch=1) as consumer, asyncio.timeout(30):
        await setting.publisher.publish(a_work_message())
        await handler.came.wait()
        stopping = asyncio.ensure_future(consumer.stop(20))
        await eventually(lambda: not consumer.is_consuming)
        await setting.publisher.publish(a_work_message(b"for others"))
        may_end.set()
        await stopping
        assert (await setting.get(TOPOLOGY.dead)).body == b"finished"
        assert len(handler.arrivals) == 1
    assert (await setting.get(TOPOLOGY.outbound)).body == b"for others"


async def test_a_handler_that_never_ends_is_given_back_when_the_worker_stops(setting: BrokerSetting) -> None:
    async def endless(_: Arrival) -> Sequence[Publication]:
        await asyncio.Event().wait()
        return []

    handler = Scripted(endless)
    await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler) as consumer, asyncio.timeout(30):
        await handler.came.wait()
        await consumer.stop(0.01)
        assert consumer.in_flight == 0
    assert (await setting.get(TOPOLOGY.outbound)).redelivered


class Deaf:
    """A handler that goes on when it is cancelled, until it is released."""

    def __init__(self, *answers: Publication) -> None:
        self.released, self.was_cancelled = asyncio.Event(), asyncio.Event()
        self._answers = answers

    async def __call__(self, _: Arrival) -> Sequence[Publication]:
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                self.was_cancelled.set()
        return self._answers


async def test_a_handler_that_cannot_be_cancelled_does_not_keep_the_worker_from_ending(
    setting: BrokerSetting,
) -> None:
    """As a letter whose final dot was written, and whose server answers later than anybody waits."""
    deaf = Deaf()
    handler = Scripted(deaf)
    await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler) as consumer, asyncio.timeout(10):
        await handler.came.wait()
        await consumer.stop(0.01, 0.1)
        assert consumer.in_flight == 1
        deaf.released.set()
        await eventually(lambda: consumer.in_flight == 0)


async def test_what_cannot_be_cancelled_is_finished_when_there_is_time_for_its_answer(setting: BrokerSetting) -> None:
    """If a letter's final dot was written in the drain's last moment, then its answer is waited for, and published."""
    deaf = Deaf(a_work_message(b"answered"))
    handler = Scripted(deaf)
    await setting.publisher.publish(a_work_message())
    async with setting.consuming(handler) as consumer, asyncio.timeout(30):
        await handler.came.wait()
        stopping = asyncio.ensure_future(consumer.stop(0.01, 20))
        await deaf.was_cancelled.wait()
        deaf.released.set()
        await stopping
        assert consumer.in_flight == 0
    assert (await setting.get(TOPOLOGY.outbound)).body == b"answered"
    assert await setting.is_empty()


async def test_what_is_given_back_does_not_wait_for_the_last_answers(setting: BrokerSetting) -> None:
    """If one letter's answer takes minutes, then other workers have the other letters meanwhile."""
    deaf = Deaf()

    async def patient(arrival: Arrival) -> Sequence[Publication]:
        if arrival.body == b"deaf":
            return await deaf(arrival)
        await asyncio.Event().wait()
        return []

    handler = Scripted(patient)
    async with setting.consuming(handler) as consumer, asyncio.timeout(30):
        await setting.publisher.publish(a_work_message(b"deaf"))
        await setting.publisher.publish(a_work_message(b"for others"))
        await eventually(lambda: len(handler.arrivals) == 2)
        stopping = asyncio.ensure_future(consumer.stop(0.01, 20))
        assert (await setting.get(TOPOLOGY.outbound)).body == b"for others"
        assert consumer.in_flight == 1
        deaf.released.set()
        await stopping
    assert await setting.is_empty()


async def test_a_work_message_that_no_queue_takes_is_an_error_and_a_result_is_only_counted(
    setting: BrokerSetting,
) -> None:
    with pytest.raises(Unavailable, match="topology apply"):
        await setting.publisher.publish(Publication("", "sendas.nowhere", b""))

    await setting.publisher.publish(a_result())
    assert setting.metrics.registry.get_sample_value("sendas_results_unrouted_total") == 1
    assert setting.metrics.registry.get_sample_value("sendas_results_total", {"type": "mail.sent"}) == 1


async def test_of_many_in_flight_each_gets_its_own_fate(setting: BrokerSetting) -> None:
    """Returned messages are matched by message id: two in flight with equal ones would swap their outcomes."""
    good, bad = a_work_message(), Publication("", "sendas.nowhere", b"work")

    outcomes = await asyncio.gather(
        *(setting.publisher.publish(good if n % 2 else bad) for n in range(200)), return_exceptions=True
    )

    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [n % 2 == 0 for n in range(200)]
    await eventually(lambda: _is(setting.count(TOPOLOGY.outbound), 100))


async def _is(counting: "asyncio.Future[int] | object", wanted: int) -> bool:
    return bool(await counting == wanted)  # type: ignore[misc]


async def test_what_is_too_large_for_the_broker_is_refused_before_it_costs_the_connection(
    setting: BrokerSetting,
) -> None:
    with pytest.raises(OversizedPublication):
        await setting.publisher.publish(a_work_message(bytes(1_000_001)))
    with pytest.raises(OversizedPublication):
        await setting.publisher.publish(a_work_message(huge="x" * 115_000))

    await setting.publisher.publish(a_work_message(huge="ы" * 57_000))
    assert setting.publisher.problem() is None


async def test_a_full_queue_is_waited_for_and_disturbs_no_other_publication(setting: BrokerSetting) -> None:
    async with setting.admin.channel() as channel:
        full = await channel.declare_queue(
            "full",
            durable=True,
            arguments={"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"},
        )
    to_full = Publication("", "full", b"")

    def is_refused() -> bool:
        return bool(setting.metrics.registry.get_sample_value("sendas_publish_retries_total"))

    waiting: list[asyncio.Task[None]] = []
    while not is_refused():  # a quorum queue lets some more in before it notices
        waiting.append(asyncio.create_task(setting.publisher.publish(to_full)))
        await asyncio.wait(waiting, timeout=0.2)
    await asyncio.gather(*(setting.publisher.publish(a_work_message()) for _ in range(50)))

    while not all(task.done() for task in waiting):
        async with setting.admin.channel() as channel:
            source = await channel.get_queue(full.name)
            await source.purge()
        await asyncio.wait(waiting, timeout=0.5)
    await asyncio.gather(*waiting)
    await eventually(lambda: _is(setting.count(TOPOLOGY.outbound), 50))


async def test_a_blocked_broker_stops_publishing_but_not_the_process_and_goes_on(
    setting: BrokerSetting, rabbitmq: RabbitMQ
) -> None:
    """A memory alarm blocks connections that publish; acknowledging goes on, as it has a connection of its own."""
    try:
        await rabbitmq.first.ctl("set_vm_memory_high_watermark", "0.00001")
        task = asyncio.ensure_future(setting.publisher.publish(a_work_message()))
        done, _ = await asyncio.wait([task], timeout=1)
        assert not done
        assert await setting.count(TOPOLOGY.outbound) == 0
    finally:
        await rabbitmq.first.ctl("set_vm_memory_high_watermark", "0.6")
    async with asyncio.timeout(30):
        await task
    assert await setting.count(TOPOLOGY.outbound) == 1


async def test_a_publication_in_flight_when_its_connection_is_found_dead_is_published_again(
    setting: BrokerSetting, rabbitmq: RabbitMQ
) -> None:
    """If a heartbeat is missed, then aiormq ends what waits as if it had been cancelled; nothing has been."""
    try:
        await rabbitmq.first.ctl("set_vm_memory_high_watermark", "0.00001")
        task = asyncio.ensure_future(setting.publisher.publish(a_work_message()))
        await asyncio.wait([task], timeout=0.5)
        connection = setting.publisher._connection
        assert connection is not None
        assert connection.transport is not None
        await asyncio.wait(
            [asyncio.ensure_future(connection.transport.connection.close(asyncio.CancelledError))], timeout=5
        )
    finally:
        await rabbitmq.first.ctl("set_vm_memory_high_watermark", "0.6")
    async with asyncio.timeout(60):
        await task
    assert await setting.count(TOPOLOGY.outbound) >= 1
    assert (await setting.get(TOPOLOGY.outbound)).body == b"work"


async def test_many_publications_in_flight_when_their_connection_ends_are_published_on_the_next_one(
    setting: BrokerSetting,
) -> None:
    """If a connection ends while publications still wait to be written, then they do not wait for it any longer."""
    connection = setting.publisher._connection
    assert connection is not None
    assert connection.transport is not None
    closing = asyncio.ensure_future(connection.transport.connection.close())
    async with asyncio.timeout(20):
        await asyncio.gather(*(setting.publisher.publish(a_work_message(b"%d" % n)) for n in range(100)))
    await closing
    handler = Scripted(nothing)
    async with setting.consuming(handler, prefetch=100):
        await eventually(setting.is_empty)
        await eventually(lambda: {arrival.body for arrival in handler.arrivals} == {b"%d" % n for n in range(100)})


async def test_after_a_restart_of_the_broker_everything_goes_on(setting: BrokerSetting, rabbitmq: RabbitMQ) -> None:
    """What is published while the broker is away is published when it is back; consumers consume again."""
    handler = Scripted(nothing)
    async with setting.consuming(handler) as consumer, asyncio.timeout(100):
        await rabbitmq.first.kill()
        await eventually(lambda: not consumer.is_consuming)
        publishing = asyncio.ensure_future(setting.publisher.publish(a_work_message()))
        await rabbitmq.first.start()
        await publishing
        await handler.came.wait()


async def test_many_reconnects_leave_nothing_behind(setting: BrokerSetting) -> None:
    """Neither tasks nor sockets."""
    handler = Scripted(nothing)
    async with setting.consuming(handler) as consumer, asyncio.timeout(60):

        async def reconnect() -> None:
            consumer._reconnecting.reset()
            setting.publisher._reconnecting.reset()
            await eventually(lambda: not consumer.is_consuming and setting.publisher.problem() is not None)
            await eventually(lambda: consumer.is_consuming and setting.publisher.problem() is None)

        await reconnect()
        before = len(asyncio.all_tasks()), _sockets()
        for _ in range(5):
            await reconnect()
        await eventually(lambda: (len(asyncio.all_tasks()), _sockets()) <= before)


def _sockets() -> int:
    return sum(path.is_socket() for path in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("part", ["password", "vhost"])
async def test_a_broker_that_refuses_is_an_error_of_the_settings(rabbitmq: RabbitMQ, part: str) -> None:
    url = rabbitmq.amqp_url.replace("sendas:sendas", "sendas:wrong-canary") if part == "password" else ""
    with pytest.raises(ConfigurationError) as caught:
        await connect_patiently(url or f"{rabbitmq.amqp_url}nowhere", "test")
    assert "SENDAS_BROKER_URL" in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_the_broker_may_come_later_than_the_worker(rabbitmq: RabbitMQ) -> None:
    url = rabbitmq.amqp_url
    await rabbitmq.first.stop()
    waiting = asyncio.ensure_future(connect_patiently(url, "test"))
    done, _ = await asyncio.wait([waiting], timeout=0.5)
    assert not done
    await rabbitmq.first.start()
    connection = await waiting
    await connection.close()


async def test_the_topology_is_applied_as_often_as_wanted_and_checked_without_creating(vhost_url: str) -> None:
    topology = Topology()
    with pytest.raises(ConfigurationError, match="does not exist: run `sendas topology apply`"):
        await check_topology(vhost_url, topology)

    await apply_topology(vhost_url, topology)
    await apply_topology(vhost_url, topology)
    await check_topology(vhost_url, topology)

    with pytest.raises(ConfigurationError, match="is there with other properties"):
        await apply_topology(vhost_url, QuickTopology())
    await check_topology(vhost_url, topology)
