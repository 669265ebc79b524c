"""At most so many letters to one address in ten minutes: two robots that answer each other come to an end."""

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import GREYLISTED, WRONG_PASSWORD, DeliveryWorld, addresses, an_arrival
from tests.doubles.broker import redelivered
from worker.domain.events.models import LetterEvent
from worker.domain.results.events import MailFailedEvent, MailSentEvent
from worker.domain.vocabulary import Action, Reason, Scope
from worker.errors import Unavailable

LIMIT = 50
TEN_MINUTES_S = 600.0
ROBOT, PERSON = "robot@example.net", "person@example.net"


def a_letter(number: int, *to: str) -> LetterEvent:
    return a_comment_event(f"evt-{number}", recipients=[a_recipient(address) for address in to or (ROBOT,)])


def an_office(**fields: object) -> DeliveryWorld:
    return DeliveryWorld([an_account(mailboxes=[a_mailbox()], **fields)])


async def deliver_many(world: DeliveryWorld, numbers: range) -> None:
    for number in numbers:
        await world.deliver(a_letter(number))


async def test_the_letter_after_the_fiftieth_fails_and_the_next_ten_minutes_have_room_again() -> None:
    """If an address got fifty letters, then the next one fails for good with the reason, and later ones leave."""
    world = an_office()
    await deliver_many(world, range(LIMIT + 1))

    [failed] = world.results(MailFailedEvent)
    assert world.delivered_to == [ROBOT] * LIMIT
    assert failed.data.event_id == f"evt-{LIMIT}"
    assert (failed.data.reason, failed.data.scope, failed.data.action) == (
        Reason.RECIPIENT_LIMIT_REACHED,
        Scope.RECIPIENT,
        Action.FAIL,
    )
    assert world.observer.counts["failed recipient_limit_reached"] == 1
    assert "ten minutes" in failed.data.hint.en
    assert "десять минут" in failed.data.hint.ru
    world.clock.step(TEN_MINUTES_S)
    await world.deliver(a_letter(100))
    assert world.delivered_to == [ROBOT] * (LIMIT + 1)


async def test_all_workers_count_together() -> None:
    """If two workers share the letters, then fifty leave and not a hundred."""
    world = an_office()
    workers = [world.delivery, world.another_worker(world.another_ledger())]
    for number in range(LIMIT + 10):
        publications = await workers[number % 2].pipeline.handle(an_arrival(a_letter(number)))
        world.broker.publish(publications)

    assert len(world.delivered_to) == LIMIT
    assert len(world.results(MailFailedEvent)) == 10


async def test_a_failure_at_the_limit_is_told_again_with_the_same_id() -> None:
    """If the letter that failed is delivered again, even later, then it stays failed, in the same words."""
    world = an_office()
    await deliver_many(world, range(LIMIT + 1))
    world.clock.step(TEN_MINUTES_S)
    world.broker.put(redelivered(an_arrival(a_letter(LIMIT))))
    await world.run()

    first, again = world.results(MailFailedEvent)
    assert first == again
    assert len(world.delivered_to) == LIMIT


async def test_a_letter_that_is_tried_again_counts_once() -> None:
    """If a letter needs several attempts, then it takes the place of one, and is not refused at its last."""
    world = an_office()
    world.transport.refuse(GREYLISTED, recipient=ROBOT, times=1)
    world.publish(a_letter(0))
    await world.run(until_s=0)
    await deliver_many(world, range(1, LIMIT))
    await world.run()

    assert len(world.delivered_to) == LIMIT
    assert not world.results(MailFailedEvent)


async def test_a_letter_that_comes_back_after_a_crash_counts_once() -> None:
    """If a worker dies with a letter in its hands, then the letter is not counted again by the next one."""
    world = an_office()
    await deliver_many(world, range(LIMIT - 1))
    arrival = an_arrival(a_letter(LIMIT))
    world.ledger.failures["hand_over"] = 1
    with pytest.raises(Unavailable):
        await world.delivery.pipeline.handle(arrival)
    await world.restart()
    world.broker.put(redelivered(arrival))
    await world.run()

    assert len(world.delivered_to) == LIMIT
    assert not world.results(MailFailedEvent)


async def test_letters_that_waited_for_a_suspended_mailbox_all_leave() -> None:
    """If letters came over half an hour and leave within minutes, then more than fifty of them leave."""
    world = an_office()
    world.transport.refuse(WRONG_PASSWORD)
    for number in range(2 * LIMIT):
        world.publish(a_letter(number))
        await world.run(until_s=world.clock.monotonic())
        world.clock.step(20)
    assert len(world.transport.attempts) == 1
    world.transport.recover()
    world.serve(an_account(mailboxes=[a_mailbox(smtp={"port": 587, "security": "starttls"})]))
    await world.run()

    assert len(world.delivered_to) == 2 * LIMIT
    assert not world.results(MailFailedEvent)


@pytest.mark.parametrize("names_all", [True, False], ids=["one letter for all", "one letter each"])
async def test_the_others_of_a_letter_get_theirs(names_all: bool) -> None:
    """If one of several recipients is at the limit, then the others get the letter all the same."""
    world = an_office(settings={"name_all_recipients": names_all})
    await deliver_many(world, range(LIMIT))
    await world.deliver(a_letter(100, ROBOT, PERSON))

    [failed], sent = world.results(MailFailedEvent), world.results(MailSentEvent)[-1]
    assert addresses(failed) == [ROBOT]
    assert addresses(sent) == [PERSON]
    assert world.delivered_to[LIMIT:] == [PERSON]
