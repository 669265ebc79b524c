"""Where letters are composed: small ones at once, large ones beside the event loop."""

import asyncio
import threading

import pytest

from tests.builders import a_comment_event, a_task_event
from tests.delivery_world import DeliveryWorld, an_arrival
from worker.delivery import compose as composing
from worker.domain.events.models import LetterEvent
from worker.domain.letter.compose import compose

LARGE = "<p>Мастер приедет завтра.</p>" * 5_000


@pytest.mark.parametrize(
    ("event", "is_beside"),
    [
        (a_comment_event(), False),
        (a_comment_event(comment={"html": LARGE}), True),
        (a_comment_event(history_html=LARGE), True),
        (a_task_event(task={"html": LARGE}), True),
    ],
    ids=["small", "large comment", "large history", "large description"],
)
async def test_composing_a_large_letter_leaves_the_event_loop_to_others(
    event: LetterEvent, is_beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed_in: list[threading.Thread] = []

    def noted(*arguments: object) -> object:
        composed_in.append(threading.current_thread())
        return compose(*arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(composing, "compose", noted)
    world = DeliveryWorld()
    await world.deliver(event)

    assert len(world.transport.delivered) == 1
    assert [thread is not threading.main_thread() for thread in composed_in] == [is_beside]


async def test_large_letters_are_composed_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """If four come at once, I expect the event loop to compete with one thread, not with four."""
    inside, most, lock, is_second_begun = 0, 0, threading.Lock(), threading.Event()

    def noted(*arguments: object) -> object:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside > 1:
                is_second_begun.set()
        is_second_begun.wait(0.05)  # the longer one is in there, the surer a second one would be seen
        with lock:
            inside -= 1
        return compose(*arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(composing, "compose", noted)
    world = DeliveryWorld()
    events = [a_comment_event(str(number), comment={"html": LARGE}) for number in range(4)]
    await asyncio.gather(*(world.delivery.pipeline.handle(an_arrival(event)) for event in events))

    assert len(world.transport.delivered) == 4
    assert most == 1
