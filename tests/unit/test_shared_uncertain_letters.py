"""A common letter goes out under one Message-ID however often it is sent, to ever fewer recipients.

That it lies in Sent says nothing about those who were not in the transaction that put it there.
"""

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import GREYLISTED, IMAP, UNKNOWN_RECIPIENT, DeliveryWorld, addresses, an_arrival
from tests.doubles.broker import redelivered
from worker.delivery.sent_copy.jobs import copy_target
from worker.domain.results.events import MailSentEvent, MailUncertainEvent
from worker.domain.snapshot.model import Account

ONE, TWO = "one@example.net", "two@example.net"
EVENT = a_comment_event(recipients=[a_recipient(ONE), a_recipient(TWO)])


def an_office() -> Account:
    """One letter for all, through a provider that saves to Sent by itself."""
    mailbox = a_mailbox(smtp={"host": "smtp.gmail.com"}, sent_copy={"imap": IMAP})
    return an_account(mailboxes=[mailbox], settings={"name_all_recipients": True})


async def provider_saves(world: DeliveryWorld) -> None:
    """The provider puts the letter that it accepted last into Sent."""
    [mailbox] = an_office().mailboxes
    target = copy_target("acme", mailbox)
    assert target is not None
    letter = world.transport.delivered[-1].letter
    await world.sent_folder.save(target, letter.message_id, letter.date, letter.wire)


async def die_after_the_dot(world: DeliveryWorld) -> None:
    """The server has the letter, and the worker that sent it is gone before it could note anything."""

    async def dies(*_: object) -> None:
        raise RuntimeError("the process has ended")

    arrival = an_arrival(EVENT)
    world.ledger.record = world.ledger.abandon = world.ledger.release = dies  # type: ignore[method-assign, assignment]  # stand in for the real ones
    await world.delivery.pipeline.handle(arrival)  # what it answers was never published
    await world.restart()
    world.broker.put(redelivered(arrival))


async def test_the_letter_that_another_recipient_got_earlier_proves_nothing() -> None:
    world = DeliveryWorld([an_office()])
    world.transport.refuse(GREYLISTED, recipient=TWO, times=1)
    world.publish(EVENT)
    await world.run(until_s=0)
    await provider_saves(world)
    world.transport.recover()
    world.transport.lose_answer(times=1)

    await world.run()

    assert world.delivered_to == [ONE, TWO, TWO]
    assert all(addresses(told) == [TWO] for told in world.results(MailUncertainEvent))
    assert [addresses(sent) for sent in world.results(MailSentEvent)] == [[ONE], [TWO]]


async def test_a_recipient_who_was_refused_is_not_in_doubt_when_the_worker_dies_after_the_dot() -> None:
    """Else the letter, found in Sent because the other one was accepted, would count for both."""
    world = DeliveryWorld([an_office()])
    world.transport.refuse(GREYLISTED, recipient=TWO, times=1)
    await die_after_the_dot(world)
    await provider_saves(world)

    await world.run()

    assert world.delivered_to == [ONE, TWO]
    assert all(addresses(told) == [ONE] for told in world.results(MailUncertainEvent))


async def test_one_who_was_refused_for_good_does_not_spoil_the_proof() -> None:
    world = DeliveryWorld([an_office()])
    world.transport.refuse(UNKNOWN_RECIPIENT, recipient=TWO)
    world.transport.lose_answer(times=1)
    world.publish(EVENT)
    await world.run(until_s=0)
    await provider_saves(world)

    await world.run()

    assert world.delivered_to == [ONE]
    assert [addresses(sent) for sent in world.results(MailSentEvent)] == [[ONE]]


async def test_those_in_doubt_and_those_who_are_not_do_not_meet_in_one_transaction() -> None:
    """Else a copy of the first one that appears late would be taken for one of the second."""
    world = DeliveryWorld([an_office()])
    world.transport.refuse(GREYLISTED, recipient=TWO, times=1)
    await die_after_the_dot(world)
    await world.broker.step()

    assert [delivered.recipients for delivered in world.transport.delivered] == [(ONE,), (TWO,), (ONE,)]
