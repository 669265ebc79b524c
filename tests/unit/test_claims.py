"""Claims: what is asked for is answered recipient by recipient, and given back whatever happens."""

import asyncio

import pytest

from tests.builders import NOON, a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import DeliveryWorld, an_arrival
from worker.delivery.claims import Claims
from worker.delivery.context import EventContext, LetterContext
from worker.delivery.ledger import Done, Granted, HandOver, Held, Record, Uncertain
from worker.domain.letter.model import LetterMode, PlannedLetter
from worker.domain.snapshot.resolution import resolve
from worker.domain.vocabulary import Outcome
from worker.domain.work import Work
from worker.errors import ForeignEvent, Unavailable

EVENT = a_comment_event(recipients=[a_recipient(f"{n}@example.net") for n in range(4)])
ALL = (0, 1, 2, 3)
RESULT_ID = "0190b8a4-9f6e-7c3e-8f5a-1f2e3d4c5b6a"


class Scene:
    """A letter to four recipients, and the claims of the worker that has it."""

    def __init__(self) -> None:
        self.world = DeliveryWorld([an_account(mailboxes=[a_mailbox()])])
        self.ledger = self.world.ledger
        self.claims = Claims(self.ledger, letters_to_one=50)
        directory = self.world.snapshot.directory
        resolution = resolve(directory.account("acme"), EVENT.data, NOON)
        context = EventContext(an_arrival(EVENT), EVENT, Work(self.world.clock.now()), directory, resolution, NOON)
        self.letter = LetterContext(context, PlannedLetter(LetterMode.COMMON, ALL, ALL))

    async def states(self) -> list[type]:
        """What another worker would get of each recipient."""
        claims = await self.world.another_ledger("a stranger").claim(EVENT.key, "acme", ALL)
        return [type(claims[position]) for position in ALL]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_each_recipient_is_answered_for(scene: Scene) -> None:
    """If one is done, one uncertain, one another worker's, and one free, then the claim says so of each."""
    hand_over = HandOver("acme", "mb-support", "<1@acme.example>", 1, NOON)
    other = scene.world.another_ledger()
    await other.claim(EVENT.key, "acme", (0, 1, 2))
    await other.record(EVENT.key, [Record((0,), Outcome.SENT, RESULT_ID, b"{}")])
    await other.hand_over(EVENT.key, (1,), hand_over)
    await other.abandon(EVENT.key, (1,))

    claim = await scene.claims.claim(scene.letter, may_send=True)

    assert claim.done == {0: Done(Outcome.SENT, RESULT_ID, b"{}")}
    assert claim.uncertain == {1: Uncertain(hand_over)}
    assert claim.held == (2,)
    assert claim.granted == (3,)
    assert claim.over_limit == ()


async def test_addresses_over_the_limit_are_ours_and_not_granted(scene: Scene) -> None:
    claims = Claims(scene.ledger, letters_to_one=1)
    first = a_comment_event("evt-0", recipients=[a_recipient("2@example.net")])
    await scene.world.deliver(first)

    claim = await claims.claim(scene.letter, may_send=True, counts=True)

    assert (claim.granted, claim.over_limit) == ((0, 1, 3), (2,))


async def test_another_task_of_the_same_process_is_told_to_wait_until_the_first_is_through(scene: Scene) -> None:
    async with await scene.claims.claim(scene.letter, may_send=True) as claim:
        async with await scene.claims.claim(scene.letter, may_send=True) as second:
            assert (second.granted, second.held) == ((), ALL)
        assert claim.granted == ALL
    assert (await scene.claims.claim(scene.letter, may_send=True)).granted == ALL


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, Unavailable])
async def test_what_is_not_settled_is_abandoned_when_the_work_on_it_fails(
    scene: Scene, error: type[BaseException]
) -> None:
    async def fail() -> None:
        async with await scene.claims.claim(scene.letter, may_send=True):
            await scene.ledger.record(EVENT.key, [Record((0,), Outcome.SENT, RESULT_ID, b"{}")])
            raise error

    with pytest.raises(error):
        await fail()

    assert await scene.states() == [Done, Granted, Granted, Granted]


async def test_a_claim_is_kept_after_work_that_ended_well(scene: Scene) -> None:
    async with await scene.claims.claim(scene.letter, may_send=True):
        pass

    assert await scene.states() == [Held] * 4


async def test_a_claim_that_the_ledger_did_not_answer_leaves_nothing_in_progress(scene: Scene) -> None:
    scene.ledger.failures["claim"] = 1
    with pytest.raises(Unavailable):
        await scene.claims.claim(scene.letter, may_send=True)

    assert (await scene.claims.claim(scene.letter, may_send=True)).granted == ALL


async def test_another_accounts_event_with_the_same_identity_is_refused(scene: Scene) -> None:
    await scene.ledger.claim(EVENT.key, "another", (0,))

    with pytest.raises(ForeignEvent):
        await scene.claims.claim(scene.letter, may_send=True)
    with pytest.raises(ForeignEvent):
        await scene.claims.require_own(EVENT)
