"""What is large is computed beside the event loop, one thing at a time."""

import asyncio
import threading

import pytest

from tests.builders import a_comment_event
from tests.delivery_world import DeliveryWorld, an_arrival
from worker.delivery.aside import Aside
from worker.delivery.messages import Arrival
from worker.domain import cloudevents
from worker.domain.event import Data, Event


async def test_it_gives_what_the_function_gives_or_raises() -> None:
    aside = Aside()
    assert await aside.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await aside.run(divmod, 7, 0)
    assert await aside.run(divmod, 7, 2) == (3, 1)


async def test_only_one_thing_is_computed_at_a_time() -> None:
    """If four large letters come at once, I expect the event loop to compete with one thread, not with four."""
    aside, inside, most, lock = Aside(), 0, 0, threading.Lock()
    is_second_begun = threading.Event()

    def compute() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside > 1:
                is_second_begun.set()
        is_second_begun.wait(0.05)  # the longer one is in there, the surer a second one would be seen
        with lock:
            inside -= 1

    await asyncio.gather(*(aside.run(compute) for _ in range(4)))
    assert most == 1


@pytest.mark.parametrize(("chars", "is_beside"), [(1_000, False), (600_000, True)])
async def test_a_large_event_is_read_beside_the_loop(
    chars: int, is_beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in: list[threading.Thread] = []

    def parse(*message: object) -> Event[Data]:
        read_in.append(threading.current_thread())
        return cloudevents.parse(*message)  # type: ignore[arg-type]

    monkeypatch.setattr("worker.delivery.pipeline.parse", parse)
    world = DeliveryWorld()
    await world.deliver(a_comment_event(comment={"html": "x" * chars}))
    assert world.delivered_to == ["client@example.net"]
    assert [thread is not threading.main_thread() for thread in read_in] == [is_beside]


async def test_a_large_message_that_is_no_event_is_told_of_as_any_other() -> None:
    world = DeliveryWorld()
    whole = an_arrival(a_comment_event(comment={"html": "x" * 600_000}))
    cut = Arrival(whole.queue, whole.body[:-1], whole.headers, whole.content_type)
    world.broker.publish(await world.delivery.pipeline.handle(cut))
    [dead] = world.broker.dead
    assert "not JSON" in str(dead.headers["sendas-dead-detail"])
