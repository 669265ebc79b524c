"""Letters that were handed over, or nearly: what is known for certain must not be called uncertain, nor the reverse."""

import asyncio

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import BUSY, GREYLISTED, IMAP, TOPOLOGY, UNREACHABLE, DeliveryWorld, an_arrival
from worker.delivery.ledger import Done, Granted, Uncertain
from worker.delivery.ports import CopyTarget
from worker.delivery.sent_copy.autosave_detection import sent_place
from worker.domain.results.events import MailFailedEvent, MailSentEvent, MailUncertainEvent
from worker.domain.snapshot.model import Account, AccountSettings
from worker.domain.vocabulary import UncertainPolicy
from worker.errors import LostClaim, Unavailable

EVENT = a_comment_event()
NOBODY_KNOWS = ["mail.uncertain"]


def gmail() -> Account:
    """An account whose provider saves to Sent by itself."""
    return an_account(mailboxes=[a_mailbox(smtp={"host": "smtp.gmail.com"}, sent_copy={"imap": IMAP})])


async def test_an_answer_that_never_came_is_told_of_and_the_letter_sent_again_with_the_same_message_id() -> None:
    world = DeliveryWorld(policy=UncertainPolicy.RESEND)
    world.transport.lose_answer(times=1)

    await world.deliver(EVENT)

    first, second = world.transport.delivered
    assert first.letter.message_id == second.letter.message_id
    ids = {uncertain.id for uncertain in world.results(MailUncertainEvent)}
    assert len(ids) == 1
    assert world.results(MailUncertainEvent)[0].data.attempt == 1
    assert world.results(MailSentEvent)[0].data.attempt == 2


async def test_a_letter_found_in_sent_is_not_sent_again() -> None:
    world = DeliveryWorld([gmail()])
    world.transport.lose_answer(times=1)
    world.publish(EVENT)
    await world.run(until_s=0)
    delivered = world.transport.delivered[0].letter
    target = CopyTarget("acme", "mb-support", gmail().mailboxes[0].sent_copy.imap, gmail().mailboxes[0].smtp.auth, None)  # type: ignore[arg-type]
    await world.sent_folder.save(target, delivered.message_id, delivered.date, delivered.wire)

    await world.run()

    assert len(world.transport.delivered) == 1
    assert len(world.results(MailSentEvent)) == 1
    assert world.types[-1] == "sent_copy.skipped"  # what becomes of the copy is told of every letter that was sent


async def test_a_letter_not_found_in_sent_is_sent_again() -> None:
    world = DeliveryWorld([gmail()])
    world.transport.lose_answer(times=1)

    await world.deliver(EVENT)

    assert len(world.transport.delivered) == 2


async def test_while_the_sent_folder_cannot_be_reached_the_doubt_waits() -> None:
    world = DeliveryWorld([gmail()])
    world.transport.lose_answer(times=1)
    world.sent_folder.broken["mb-support"] = UNREACHABLE
    world.publish(EVENT)
    await world.run(until_s=1000)
    assert len(world.transport.delivered) == 1

    world.sent_folder.broken.clear()
    await world.run()
    assert len(world.transport.delivered) == 2


async def test_a_doubt_that_grows_too_old_is_held_for_an_operator() -> None:
    world = DeliveryWorld([gmail()])
    world.transport.lose_answer(times=1)
    world.sent_folder.broken["mb-support"] = UNREACHABLE

    await world.deliver(EVENT)

    assert len(world.transport.delivered) == 1
    assert world.results(MailUncertainEvent)[-1].data.resolution_policy is UncertainPolicy.HOLD
    [dead] = world.broker.dead
    assert dead.headers["sendas-dead-reason"] == "outcome_unknown"


async def test_an_old_doubt_whose_letter_is_in_sent_after_all_is_sent() -> None:
    """The last look costs nothing, and spares an operator a question that the mailbox can answer."""
    world = DeliveryWorld([gmail()])
    world.transport.lose_answer(times=1)
    world.sent_folder.broken["mb-support"] = UNREACHABLE
    world.publish(EVENT)
    await world.run(until_s=23 * 3600)
    world.sent_folder.broken.clear()
    delivered = world.transport.delivered[0].letter
    target = CopyTarget("acme", "mb-support", gmail().mailboxes[0].sent_copy.imap, gmail().mailboxes[0].smtp.auth, None)  # type: ignore[arg-type]
    await world.sent_folder.save(target, delivered.message_id, delivered.date, delivered.wire)
    world.clock.step(2 * 3600)

    await world.run()

    assert world.types[-2:] == ["mail.sent", "sent_copy.skipped"]
    assert world.broker.dead == []


async def test_with_hold_an_operator_decides_and_nothing_is_sent_again() -> None:
    world = DeliveryWorld(policy=UncertainPolicy.HOLD)
    world.transport.lose_answer(times=1)

    await world.deliver(EVENT)

    assert len(world.transport.delivered) == 1
    assert world.types == NOBODY_KNOWS
    [dead] = world.broker.dead
    assert dead.headers["sendas-recipients"] == "0"


async def test_a_held_letter_reaches_the_dead_queue_although_the_worker_died_before_it_was_published() -> None:
    world = DeliveryWorld(policy=UncertainPolicy.HOLD)
    world.transport.lose_answer(times=1)
    arrival = an_arrival(EVENT)
    lost = await world.delivery.pipeline.handle(arrival)
    assert len(lost) == 2

    await world.restart()
    world.broker.put(arrival)
    await world.run()

    assert world.types == NOBODY_KNOWS
    assert len(world.broker.dead) == 1


async def test_to_be_held_is_another_result_than_to_be_in_doubt() -> None:
    """A consumer drops results with an id that it knows: it would never learn that an operator has to decide."""
    world = DeliveryWorld()
    world.transport.lose_answer(times=1)
    arrival = an_arrival(EVENT)
    world.broker.publish(await world.delivery.pipeline.handle(arrival))

    world.policy = UncertainPolicy.HOLD
    await world.restart()
    world.broker.put(arrival)
    await world.broker.step()

    in_doubt, held = world.results(MailUncertainEvent)
    assert in_doubt.id != held.id


@pytest.mark.parametrize("is_committed", [False, True])
async def test_a_ledger_that_does_not_answer_before_the_dot_leaves_no_doubt(is_committed: bool) -> None:
    """The dot was never written, also when the hand-over was noted and only the answer got lost."""
    world = DeliveryWorld(policy=UncertainPolicy.HOLD)
    world.ledger.failures = {"hand_over": 1, "release": 3}
    world.ledger.commits_anyway = {"hand_over"} if is_committed else set()
    world.publish(EVENT)
    with pytest.raises(Unavailable):
        await world.run()
    assert world.transport.delivered == []

    await world.run()

    assert world.results(MailUncertainEvent) == []
    assert world.delivered_to == ["client@example.net"]


async def test_a_worker_that_is_stopped_before_the_dot_leaves_no_doubt() -> None:
    world = DeliveryWorld(policy=UncertainPolicy.HOLD)
    world.transport.pause_before_dot.clear()
    task = asyncio.ensure_future(world.delivery.pipeline.handle(an_arrival(EVENT)))
    await world.transport.before_dot.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    claims = await world.another_ledger().claim(EVENT.key, "acme", [0])
    assert claims == {0: Granted()}


async def test_a_worker_that_is_stopped_while_the_hand_over_is_noted_leaves_no_doubt() -> None:
    """The note may be committed when the cancellation comes; the dot cannot have been written."""
    world = DeliveryWorld()
    noted = asyncio.Event()
    hand_over = world.ledger.hand_over

    async def notes_and_hangs(*arguments: object) -> None:
        await hand_over(*arguments)  # type: ignore[arg-type]
        noted.set()
        await asyncio.Event().wait()

    world.ledger.hand_over = notes_and_hangs  # type: ignore[method-assign, assignment]  # stands in for the real one
    task = asyncio.ensure_future(world.delivery.pipeline.handle(an_arrival(EVENT)))
    await noted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await world.another_ledger().claim(EVENT.key, "acme", [0]) == {0: Granted()}


async def test_a_worker_that_dies_after_the_dot_leaves_a_doubt_and_it_is_told() -> None:
    world = DeliveryWorld(policy=UncertainPolicy.RESEND)
    world.ledger.failures["record"] = 10**9
    arrival = an_arrival(EVENT)
    task = asyncio.ensure_future(world.delivery.pipeline.handle(arrival))
    while world.ledger.failures["record"] == 10**9:  # noqa: ASYNC110 - until it waits for the ledger, turn by turn
        await asyncio.sleep(0)
    task.cancel()  # waiting for the ledger ends with the worker's drain
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.restart()
    [claim] = (await world.ledger.claim(EVENT.key, "acme", [0])).values()
    assert isinstance(claim, Uncertain)

    world.broker.put(arrival)
    await world.run()

    assert world.types[:2] == ["mail.uncertain", "mail.sent"]


async def test_a_worker_that_is_stopped_while_it_notes_what_the_server_said_leaves_no_doubt() -> None:
    """The letter is accepted: broken off here, it would be sent once more by whoever has it next."""
    world = DeliveryWorld(policy=UncertainPolicy.RESEND)
    begun, may_end = asyncio.Event(), asyncio.Event()
    record = world.ledger.record

    async def slow(*arguments: object) -> None:
        begun.set()
        await may_end.wait()
        await record(*arguments)  # type: ignore[arg-type]

    world.ledger.record = slow  # type: ignore[method-assign, assignment]  # stands in for the real one
    task = asyncio.ensure_future(world.delivery.pipeline.handle(an_arrival(EVENT)))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()

    with pytest.raises(asyncio.CancelledError):  # the message is given back, and the result published by another
        await task
    [claim] = (await world.another_ledger().claim(EVENT.key, "acme", [0])).values()
    assert isinstance(claim, Done)


async def test_what_a_server_said_is_not_lost_while_the_ledger_is_away() -> None:
    world = DeliveryWorld()
    world.ledger.failures["record"] = 5

    await world.deliver(EVENT)

    assert world.types == ["mail.sent", "sent_copy.saved"]


async def test_a_deferral_waits_for_a_ledger_that_is_away() -> None:
    """Else another worker would find the recipient claimed for as long as this one lives."""
    world = DeliveryWorld()
    world.transport.refuse(BUSY, times=1)
    world.ledger.failures["release"] = 5
    world.publish(EVENT)
    await world.broker.step()

    assert await world.another_ledger().claim(EVENT.key, "acme", [0]) == {0: Granted()}


async def test_a_doubt_is_noted_for_everybody_although_the_ledger_was_away() -> None:
    world = DeliveryWorld()
    world.transport.lose_answer(times=1)
    world.ledger.failures["abandon"] = 3
    world.publish(EVENT)
    await world.broker.step()

    [claim] = (await world.another_ledger().claim(EVENT.key, "acme", [0])).values()
    assert isinstance(claim, Uncertain)


async def test_a_claim_that_was_lost_sends_nothing_and_lets_the_letter_wait() -> None:
    world = DeliveryWorld()

    async def lost(*_: object) -> None:
        raise LostClaim("another worker has it")

    world.ledger.hand_over = lost  # type: ignore[method-assign, assignment]  # stands in for the real one
    world.publish(EVENT)
    await world.broker.step()

    assert world.transport.delivered == []
    assert world.broker.waits[TOPOLOGY.outbound] == [30]
    assert await world.another_ledger().claim(EVENT.key, "acme", [0]) == {0: Granted()}


async def test_a_doubt_of_one_recipient_does_not_keep_the_others_waiting() -> None:
    """One letter each: the answer to the first is lost, the second is sent."""
    world = DeliveryWorld(policy=UncertainPolicy.RESEND)
    world.transport.lose_answer(times=1)
    recipients = [a_recipient("one@example.net"), a_recipient("two@example.net")]

    await world.deliver(a_comment_event(recipients=recipients))

    assert sorted(world.delivered_to) == ["one@example.net", "one@example.net", "two@example.net"]
    assert world.results(MailFailedEvent) == []


async def test_a_doubt_of_a_sender_that_may_not_send_any_more_is_held() -> None:
    """It must not be called failed, and not be sent again either."""
    world = DeliveryWorld()
    world.transport.lose_answer(times=1)
    event = a_comment_event(mailbox_id="mb-support")
    world.publish(event)
    await world.run(until_s=0)
    [mailbox] = world.snapshot.directory.accounts["acme"].mailboxes
    world.serve(an_account(mailboxes=[mailbox.model_copy(update={"active": False})]))

    await world.run()

    assert world.results(MailFailedEvent) == []
    assert world.results(MailUncertainEvent)[-1].data.resolution_policy is UncertainPolicy.HOLD
    assert len(world.broker.dead) == 1


def gmail_for_all() -> Account:
    """As `gmail`, with one common letter for all recipients."""
    return gmail().model_copy(update={"settings": AccountSettings(name_all_recipients=True)})


async def test_a_common_letter_to_more_than_the_provider_takes_reaches_everybody_once() -> None:
    """Gmail takes 100 recipients in one transaction; 250 make three, of one and the same letter."""
    world = DeliveryWorld([gmail_for_all()])
    recipients = [a_recipient(f"client-{n}@example.net") for n in range(250)]
    await world.deliver(a_comment_event(recipients=recipients))
    assert sorted(len(delivered.recipients) for delivered in world.transport.delivered) == [50, 100, 100]
    assert len(set(world.delivered_to)) == len(world.delivered_to) == 250
    assert len({delivered.letter.wire for delivered in world.transport.delivered}) == 1


async def test_a_common_letter_in_very_many_parts_is_split_between_messages() -> None:
    """Yandex takes 35: 1,000 recipients are 29 transactions, which no message is held for."""
    mailbox = a_mailbox(smtp={"host": "smtp.yandex.ru"}, limits={"per_day": 1_000})
    world = DeliveryWorld([an_account(mailboxes=[mailbox], settings={"name_all_recipients": True})])
    await world.deliver(a_comment_event(recipients=[a_recipient(f"client-{n}@example.net") for n in range(1_000)]))
    assert len(world.transport.delivered) == 29
    assert len(set(world.delivered_to)) == len(world.delivered_to) == 1_000
    assert len({delivered.letter.message_id for delivered in world.transport.delivered}) == 1


async def test_the_copy_of_one_part_says_nothing_about_another_part() -> None:
    """If the first part is in Sent and nobody answered to the second, then the copy must not make it look sent."""
    world = DeliveryWorld([gmail_for_all()])
    world.publish(a_comment_event(recipients=[a_recipient("first@example.net"), a_recipient("second@example.net")]))
    world.transport.refuse(GREYLISTED, recipient="second@example.net", times=1)
    await world.run(until_s=0)
    letter = world.transport.delivered[0].letter
    box = gmail().mailboxes[0]
    target = CopyTarget("acme", "mb-support", box.sent_copy.imap, box.smtp.auth, None)  # type: ignore[arg-type]
    await world.sent_folder.save(target, letter.message_id, letter.date, letter.wire)
    world.transport.lose_answer(times=1)
    await world.run()
    assert world.delivered_to.count("second@example.net") == 2, "in doubt, and sent again"
    assert world.delivered_to.count("first@example.net") == 1
    assert len({uncertain.id for uncertain in world.results(MailUncertainEvent)}) == 1


async def test_a_learned_habit_of_saving_settles_a_doubt_too() -> None:
    """If letters before this one were in Sent by themselves, then a look there says whether this one was accepted."""
    box = a_mailbox(sent_copy={"imap": IMAP})
    world = DeliveryWorld([an_account(mailboxes=[box])])
    for _ in range(3):
        await world.sent_habits.saw(sent_place("acme", box), was_there=True)
    world.transport.lose_answer(times=1)
    world.publish(EVENT)
    await world.run(until_s=0)
    letter = world.transport.delivered[0].letter
    target = CopyTarget("acme", "mb-support", box.sent_copy.imap, box.smtp.auth, None)  # type: ignore[arg-type]
    await world.sent_folder.save(target, letter.message_id, letter.date, letter.wire)
    await world.run()
    assert len(world.transport.delivered) == 1
    assert len(world.results(MailSentEvent)) == 1
