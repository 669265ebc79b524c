"""Depths of queues, asked of a real broker: what is told, and when nothing is."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from stack.ports import free_ports
from tests.acceptance.gate import Gate
from tests.broker_setting import (
    TOPOLOGY,
    BrokerSetting,
    a_work_message,
    broker_setting,
    eventually,
    nothing,
    running_task,
)
from worker.adapters.broker.queue_depths import QueueDepths
from worker.delivery.messages import Publication

EVERY_S = 0.05


@pytest.fixture
async def setting(vhost_url: str) -> AsyncIterator[BrokerSetting]:
    """Queues on a virtual host of the test's own."""
    async with broker_setting(vhost_url) as setting:
        yield setting


async def test_every_queue_is_told_of_by_its_kind(setting: BrokerSetting) -> None:
    """If messages come into queues, then the next look counts them, each under its queue and the queue's kind."""
    for queue in (TOPOLOGY.dead, TOPOLOGY.dead, TOPOLOGY.outbound):
        await setting.publisher.publish(Publication("", queue, b"x"))
    depths = QueueDepths(setting.url, TOPOLOGY, EVERY_S)
    async with running_task(depths.run()):
        await eventually(lambda: depths.messages().get((TOPOLOGY.dead, "dead")) == 2)
        await eventually(lambda: depths.messages().get((TOPOLOGY.outbound, "work")) == 1)
        told = depths.messages()
        assert {name for name, _ in told} == {queue.name for queue in TOPOLOGY.queues()}
        assert told[TOPOLOGY.delay(TOPOLOGY.outbound, 30), "delay"] == 0
        assert depths.consumers()[TOPOLOGY.outbound] == 0
        async with setting.consuming(nothing):
            await eventually(lambda: depths.consumers().get(TOPOLOGY.outbound) == 1)
            await eventually(lambda: depths.messages().get((TOPOLOGY.outbound, "work")) == 0)


async def test_a_queue_that_is_not_there_keeps_no_other_from_being_told(setting: BrokerSetting) -> None:
    """If somebody deleted a queue, then it has no number, and the others have theirs."""
    async with setting.admin.channel() as channel:
        await channel.queue_delete(TOPOLOGY.dead)
    depths = QueueDepths(setting.url, TOPOLOGY, EVERY_S)
    async with running_task(depths.run()):
        await eventually(lambda: (TOPOLOGY.outbound, "work") in depths.messages())
        assert (TOPOLOGY.dead, "dead") not in depths.messages()
        await setting.publisher.publish(a_work_message())
        await eventually(lambda: depths.messages().get((TOPOLOGY.outbound, "work")) == 1)


async def test_while_the_broker_is_away_no_number_is_told(setting: BrokerSetting) -> None:
    """If the broker cannot be asked, then old numbers are not told as if they were new; when it is back, they are."""
    url = URL(setting.url)
    [port] = free_ports(1)
    async with Gate(url.port or 0, port) as gate:
        depths = QueueDepths(str(url.with_port(port)), TOPOLOGY, EVERY_S)
        running = asyncio.ensure_future(depths.run())
        async with running_task(running):
            await eventually(lambda: bool(depths.messages()))
            await gate.shut()
            await eventually(lambda: not depths.messages() and not depths.consumers())
            assert not running.done()
            await gate.open()
            await eventually(lambda: bool(depths.messages()))


async def test_whenever_it_is_told_to_end_it_ends(setting: BrokerSetting) -> None:
    """If a look is cut short by the worker's end, at whatever step of it, then no part of it goes on."""
    for steps in range(0, 400, 5):
        task = asyncio.create_task(QueueDepths(setting.url, TOPOLOGY, every_s=0).run())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        ended, _ = await asyncio.wait({task}, timeout=10)
        assert ended, f"after {steps} steps it went on"
        await asyncio.gather(task, return_exceptions=True)
    gc.collect()  # a connection that was never closed would complain here
