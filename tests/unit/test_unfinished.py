"""How old the oldest event is that is not finished."""

from dataclasses import replace
from datetime import timedelta

from tests.builders import NOON, a_comment_event
from tests.delivery_world import GREYLISTED, DeliveryWorld
from worker.delivery.instrumentation import Unfinished


def test_nothing_in_hand_is_not_old() -> None:
    assert Unfinished().oldest_age_s(NOON) == 0


def test_the_oldest_in_work_counts_until_it_is_done() -> None:
    """If several events are in work, then the oldest counts, and an event from the future makes no negative age."""
    unfinished = Unfinished()
    with unfinished.working_on(NOON + timedelta(days=1)):
        assert unfinished.oldest_age_s(NOON) == 0
        with unfinished.working_on(NOON - timedelta(hours=2)), unfinished.working_on(NOON - timedelta(hours=1)):
            assert unfinished.oldest_age_s(NOON) == 7_200
    assert unfinished.oldest_age_s(NOON) == 0


def test_what_is_put_off_counts_until_it_is_due() -> None:
    """If letters wait in delay queues, then the oldest of them counts; once due, whoever takes it knows of it."""
    unfinished = Unfinished()
    for minutes in range(1_000):
        unfinished.put_off(NOON - timedelta(minutes=minutes), NOON + timedelta(minutes=10))
    unfinished.put_off(NOON - timedelta(minutes=5), NOON + timedelta(hours=2))
    assert unfinished.oldest_age_s(NOON) == 999 * 60
    assert unfinished.oldest_age_s(NOON + timedelta(minutes=11)) == (5 + 11) * 60
    assert unfinished.oldest_age_s(NOON + timedelta(hours=3)) == 0


def test_what_nobody_asks_for_is_not_kept_for_ever() -> None:
    """If nobody scrapes for days, then what was due long ago is forgotten all the same, and what is not due is not."""
    unfinished = Unfinished()
    for tens in range(20_000):
        unfinished.put_off(NOON, NOON + timedelta(seconds=10 * tens))
    assert len(unfinished._put_off) <= 2_000
    assert unfinished.oldest_age_s(NOON + timedelta(seconds=199_000)) == 199_000


async def test_a_letter_that_waits_for_another_attempt_is_not_finished() -> None:
    """If a letter is put off, then the worker tells its age; when it is sent, there is nothing to tell."""
    world = DeliveryWorld()
    world.transport.refuse(GREYLISTED, times=1)
    world.publish(replace(a_comment_event(), time=world.clock.now() - timedelta(hours=1)))
    await world.run(until_s=20)
    assert world.delivery.unfinished.oldest_age_s(world.clock.now()) == 3_600
    await world.run()
    assert world.types[:2] == ["mail.deferred", "mail.sent"]
    assert world.delivery.unfinished.oldest_age_s(world.clock.now() + timedelta(seconds=10)) == 0
