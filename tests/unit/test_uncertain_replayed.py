"""Uncertain letters that an operator replays: from the dead queue, through the replay's own code, into the worker."""

from tests.broker_setting import SIGNATURES
from tests.builders import a_comment_event, a_recipient
from tests.delivery_world import TOPOLOGY, UNREACHABLE, DeliveryWorld, an_arrival
from tests.doubles.dead_queue import KeptMessage
from worker.delivery.messages import Arrival, Publication
from worker.delivery.signatures import SIGNATURE
from worker.domain.events.models import LetterEvent
from worker.domain.results.events import MailSentEvent, MailUncertainEvent
from worker.domain.vocabulary import UncertainPolicy
from worker.operations.dead_letters.actions import Replay
from worker.operations.dead_letters.letter import read_dead_letter
from worker.operations.dead_letters.replay_rules import ReplayRules

EVENT = a_comment_event()
CONSENT = ReplayRules(resend_uncertain=True)


async def a_held_letter(event: LetterEvent = EVENT) -> tuple[DeliveryWorld, Arrival]:
    world = DeliveryWorld(policy=UncertainPolicy.HOLD)
    world.transport.lose_answer(times=1)
    await world.deliver(event)
    [dead] = world.broker.dead
    return world, dead


async def replay(world: DeliveryWorld, dead: Arrival, replay_id: str = "replay-1") -> Arrival:
    """The message that `sendas dead-letters replay` makes of a dead one that a worker signed."""
    published: list[Publication] = []

    async def publish(publication: Publication) -> None:
        published.append(publication)

    signature = SIGNATURES.signature(dead.headers, dead.content_type, dead.body)
    headers = {**dead.headers, SIGNATURE: signature}
    message = KeptMessage(0, dead.body, headers, {"content_type": dead.content_type})
    letter = read_dead_letter(message)
    deed = Replay(publish, TOPOLOGY, CONSENT, replay_id, world.clock, SIGNATURES, world.ledger)
    assert deed.refusal(message, letter) is None
    await deed.do(message, letter)
    [again] = published
    arrived = Arrival(again.routing_key, again.body, dict(again.headers), again.content_type)
    arrival = await SIGNATURES.trusted(arrived)
    world.broker.put(arrival)
    return arrival


async def test_a_held_letter_goes_once_more_when_an_operator_says_so() -> None:
    world, dead = await a_held_letter()

    await replay(world, dead)
    await world.run()

    first, second = world.transport.delivered
    assert first.letter.message_id == second.letter.message_id
    [sent] = world.results(MailSentEvent)
    assert sent.data.attempt == 2
    assert world.broker.dead == [dead]


async def test_a_letter_that_is_uncertain_again_is_held_again_and_not_sent_a_third_time() -> None:
    """The consent was to the first doubt: its message may come again and again, and means no other one."""
    world, dead = await a_held_letter()
    world.transport.lose_answer(times=1)
    arrival = await replay(world, dead)
    await world.run()
    assert len(world.transport.delivered) == 2
    first, second = world.results(MailUncertainEvent)
    assert first.id != second.id

    world.broker.put(arrival)
    await world.run()

    assert len(world.transport.delivered) == 2
    assert [read_dead_letter(KeptMessage(0, d.body, d.headers)).attempts for d in world.broker.dead] == [1, 2, 2]


async def test_a_second_consent_is_to_the_second_doubt() -> None:
    world, dead = await a_held_letter()
    world.transport.lose_answer(times=1)
    await replay(world, dead)
    await world.run()

    await replay(world, world.broker.dead[-1], "replay-2")
    await world.run()

    assert len(world.transport.delivered) == 3
    assert len(world.results(MailSentEvent)) == 1


async def test_a_letter_that_was_replayed_twice_by_mistake_goes_once() -> None:
    """If the replay is killed between publishing and settling, then the next one publishes the letter once more."""
    world, dead = await a_held_letter()

    await replay(world, dead)
    await replay(world, dead)
    await world.run()

    assert len(world.transport.delivered) == 2
    assert len({sent.id for sent in world.results(MailSentEvent)}) == 1


async def test_a_worker_that_dies_on_a_replayed_letter_leaves_it_to_the_next() -> None:
    """It was reopened, and the worker died before it could claim it."""
    world, dead = await a_held_letter()
    arrival = await replay(world, dead)
    world.broker.take_ready()
    await world.ledger.reopen(EVENT.key, [0])
    await world.restart()

    world.broker.put(arrival)
    await world.run()

    assert len(world.transport.delivered) == 2
    assert len(world.results(MailSentEvent)) == 1


async def test_only_those_in_doubt_are_sent_to_again() -> None:
    """One letter each: the answer to the first was lost, the second was sent; the first waits in the dead queue."""
    event = a_comment_event(recipients=[a_recipient("one@example.net"), a_recipient("two@example.net")])
    world, dead = await a_held_letter(event)

    await replay(world, dead)
    await world.run()

    assert sorted(world.delivered_to) == ["one@example.net", "one@example.net", "two@example.net"]


async def test_the_consent_stays_while_the_letter_waits_for_its_mailbox() -> None:
    world, dead = await a_held_letter()
    world.transport.refuse(UNREACHABLE, times=1)
    await world.delivery.pipeline.handle(an_arrival(a_comment_event("another")))  # the mailbox rests after it

    await replay(world, dead)
    await world.run()

    assert world.broker.waits[TOPOLOGY.outbound][0] == 5
    assert len(world.transport.delivered) == 2
    assert len(world.results(MailSentEvent)) == 1


async def test_a_producer_cannot_give_the_consent() -> None:
    """If the same event comes with the header of a replay, then a letter that may have arrived is not sent again."""
    world, _ = await a_held_letter()
    forged = an_arrival(EVENT, sendas_replay_uncertain=1, sendas_first_seen=world.clock.now().isoformat())
    world.broker.put(await SIGNATURES.trusted(forged))
    await world.run()
    assert len(world.transport.delivered) == 1


async def test_without_a_consent_in_the_ledger_the_header_alone_sends_nothing() -> None:
    world, _ = await a_held_letter()
    world.broker.put(an_arrival(EVENT, sendas_replay_uncertain=1, sendas_first_seen=world.clock.now().isoformat()))
    await world.run()
    assert len(world.transport.delivered) == 1
