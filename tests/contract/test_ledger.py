"""What every ledger does: the one in memory, SQLite and a real PostgreSQL pass the same tests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.ledger_worlds import (
    LEASE_S,
    RETENTION_S,
    AnyLedger,
    World,
    database_world,
    driver_url,
    memory_world,
    postgresql_world,
    sqlite_url,
)
from tests.property.test_ledger_machine import run_machine
from worker.adapters.ledger import State, migrate
from worker.delivery.ledger import Done, Granted, HandOver, Held, Record, Uncertain
from worker.domain.identity import event_key, result_id
from worker.domain.recipient_limit import SLOT_S, RecipientLimit, recipient_limit
from worker.domain.vocabulary import Outcome
from worker.errors import ForeignEvent, LostClaim, Unavailable

EVENT = event_key("/product/comments", "1")
OTHER_EVENT = event_key("/product/comments", "2")
LETTERS_TO_ONE = 5


def a_hand_over(world: World, attempt: int = 1) -> HandOver:
    return HandOver("acme", "mb-support", "<letter@acme.example>", attempt, world.clock.now())


def a_record(*recipients: int, event: str = EVENT, outcome: Outcome = Outcome.SENT) -> Record:
    return Record(recipients, outcome, result_id(event, recipients, outcome), b'{"outcome": "of %d"}' % recipients[0])


def done_with(record: Record) -> Done:
    return Done(record.outcome, record.result_id, record.result)


async def claimed(ledger: AnyLedger, *recipients: int, event: str = EVENT) -> None:
    claims = await ledger.claim(event, "acme", recipients)
    assert claims == dict.fromkeys(recipients, Granted())


async def handed_over(world: World, ledger: AnyLedger, *recipients: int) -> HandOver:
    hand_over = a_hand_over(world)
    await claimed(ledger, *recipients)
    await ledger.hand_over(EVENT, recipients, hand_over)
    return hand_over


def a_limit(world: World, *addresses: str, account_id: str = "acme") -> RecipientLimit:
    return recipient_limit(LETTERS_TO_ONE, account_id, world.clock.now(), dict(enumerate(addresses)))


async def at_its_limit(world: World, ledger: AnyLedger, but: int = 0) -> None:
    """Claims as many letters to bob as may be, but so many."""
    for number in range(LETTERS_TO_ONE - but):
        key = event_key("/before", str(number))
        assert await ledger.claim(key, "acme", [0], a_limit(world, "bob@b.example")) == {0: Granted()}


class LedgerContract:
    """Run by the classes below, one for each kind of store."""

    async def test_what_is_free_is_granted_and_held_against_others(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0, 1)

        assert await two.claim(EVENT, "acme", [1, 2]) == {1: Held("one"), 2: Granted()}

    async def test_a_repeated_claim_of_the_same_owner_is_granted_again(self, world: World) -> None:
        one = await world.owner()
        await claimed(one, 0)
        await claimed(one, 0, 1)

    async def test_owners_together_let_as_many_letters_to_one_address_through_as_the_limit_allows(
        self, world: World
    ) -> None:
        """If owners claim letters to one address at the same time, then exactly the limit is let through."""
        one, two = await world.owner("one"), await world.owner("two")
        answers = await asyncio.gather(
            *(
                owner.claim(
                    event_key("/limit", f"{number} {owner is one}"), "acme", [0], a_limit(world, "bob@b.example")
                )
                for number in range(6)
                for owner in (one, two)
            )
        )

        verdicts = [claims[0] for claims in answers]
        assert verdicts.count(Granted()) == LETTERS_TO_ONE
        assert verdicts.count(Granted(is_over_limit=True)) == 12 - LETTERS_TO_ONE

    async def test_another_address_and_another_account_have_limits_of_their_own(self, world: World) -> None:
        """If one address of a letter is at its limit, then the letter's other recipients are let through."""
        one = await world.owner()
        await at_its_limit(world, one)
        both = a_limit(world, "bob@b.example", "eve@b.example")
        others = a_limit(world, "bob@b.example", account_id="other")

        assert await one.claim(EVENT, "acme", [0, 1], both) == {0: Granted(is_over_limit=True), 1: Granted()}
        assert await one.claim(OTHER_EVENT, "other", [0], others) == {0: Granted()}
        assert await one.claim(event_key("/limit", "no limit"), "acme", [0]) == {0: Granted()}

    async def test_a_letter_counts_once_whatever_becomes_of_its_claim(self, world: World) -> None:
        """If a letter is claimed again, by whomever, then it is not counted again and may leave."""
        one = await world.owner("one")
        limit = a_limit(world, "bob@b.example")
        await at_its_limit(world, one, but=1)
        assert await one.claim(EVENT, "acme", [0], limit) == {0: Granted()}
        assert await one.claim(EVENT, "acme", [0], limit) == {0: Granted()}
        await one.release(EVENT, [0])
        assert await one.claim(EVENT, "acme", [0], limit) == {0: Granted()}
        world.clock.advance(LEASE_S)
        two = await world.owner("two")

        assert await two.claim(EVENT, "acme", [0], limit) == {0: Granted()}
        assert await two.claim(OTHER_EVENT, "acme", [0], limit) == {0: Granted(is_over_limit=True)}
        world.clock.advance(LEASE_S)
        assert await one.claim(OTHER_EVENT, "acme", [0], limit) == {0: Granted(is_over_limit=True)}

    async def test_letters_of_ten_minutes_ago_are_forgotten(self, world: World) -> None:
        """If ten minutes have passed, then the address gets letters again."""
        one = await world.owner()
        await at_its_limit(world, one)
        world.clock.advance(2 * SLOT_S)
        assert await one.claim(EVENT, "acme", [0], a_limit(world, "bob@b.example")) == {0: Granted()}

    async def test_entries_of_another_event_are_other_entries(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0)
        await claimed(two, 0, event=OTHER_EVENT)

    async def test_of_many_that_claim_at_once_one_gets_each_entry(self, world: World) -> None:
        owners = [await world.owner(f"owner {number}") for number in range(4)]
        recipients = range(20)
        answers = await asyncio.gather(
            *(owner.claim(EVENT, "acme", [recipient]) for recipient in recipients for owner in owners)
        )

        granted = [recipient for claims in answers for recipient, claim in claims.items() if claim == Granted()]
        assert sorted(granted) == list(recipients)

    async def test_what_is_released_is_free(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await handed_over(world, one, 0)
        await claimed(one, 1)
        await one.release(EVENT, [0, 1])
        await one.release(EVENT, [0, 1])

        await claimed(two, 0, 1)

    async def test_what_is_not_ours_or_done_is_not_released_nor_let_go(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0, 1)
        await one.record(EVENT, [a_record(1)])
        for owner in (one, two):
            await owner.release(EVENT, [1, 5] if owner is one else [0, 1])
            await owner.abandon(EVENT, [1, 5] if owner is one else [0, 1])

        assert await two.claim(EVENT, "acme", [0, 1]) == {0: Held("one"), 1: done_with(a_record(1))}

    async def test_what_was_handed_over_is_never_granted_also_not_to_who_did_it(self, world: World) -> None:
        one = await world.owner()
        hand_over = await handed_over(world, one, 0)

        assert await one.claim(EVENT, "acme", [0]) == {0: Uncertain(hand_over)}

    async def test_the_last_hand_over_of_each_recipient_is_known_however_it_ended(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        first = await handed_over(world, one, 0, 1, 2)
        await claimed(one, 3)
        await one.record(EVENT, [a_record(0)])
        await one.release(EVENT, [1])
        second = a_hand_over(world, attempt=2)
        await one.hand_over(EVENT, [3], second)
        await one.abandon(EVENT, [3])
        await claimed(one, 4)

        assert await two.hand_overs(EVENT) == {0: first, 2: first, 3: second, 4: None}
        assert await two.hand_overs(OTHER_EVENT) == {}

    async def test_what_a_living_owner_handed_over_is_held(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await handed_over(world, one, 0)
        world.clock.advance(LEASE_S - 1)

        assert await two.claim(EVENT, "acme", [0]) == {0: Held("one")}

    async def test_what_a_dead_owner_handed_over_is_in_doubt_for_one_taker(self, world: World) -> None:
        one, two, three = [await world.owner(name) for name in ("one", "two", "three")]
        hand_over = await handed_over(world, one, 0)
        world.clock.advance(LEASE_S)

        assert await two.claim(EVENT, "acme", [0]) == {0: Uncertain(hand_over)}
        assert await three.claim(EVENT, "acme", [0]) == {0: Held("two")}

    async def test_takers_at_once_share_what_the_dead_left(self, world: World) -> None:
        crashed = await world.owner("crashed")
        await handed_over(world, crashed, *range(10))
        world.clock.advance(LEASE_S)
        takers = [await world.owner(f"taker {number}") for number in range(3)]
        answers = await asyncio.gather(
            *(taker.claim(EVENT, "acme", [recipient]) for recipient in range(10) for taker in takers)
        )

        doubtful = [number for claims in answers for number, claim in claims.items() if isinstance(claim, Uncertain)]
        assert len(doubtful) == len(set(doubtful))
        # Whoever met a rival just then was told "held", and comes again.
        rest = await takers[0].claim(EVENT, "acme", range(10))
        assert all(isinstance(claim, Uncertain | Held) for claim in rest.values())

    async def test_claims_of_the_dead_are_free(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0)
        world.clock.advance(LEASE_S)

        await claimed(two, 0)

    async def test_keeping_alive_keeps_all_claims(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0, 1)
        for _ in range(5):
            world.clock.advance(LEASE_S / 3)
            await one.keep_alive()

        assert await two.claim(EVENT, "acme", [0, 1]) == {0: Held("one"), 1: Held("one")}

    async def test_any_write_keeps_alive(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0)
        world.clock.advance(LEASE_S - 1)
        await claimed(one, 7, event=OTHER_EVENT)
        world.clock.advance(LEASE_S - 1)

        assert await two.claim(EVENT, "acme", [0]) == {0: Held("one")}

    async def test_who_lost_a_claim_hands_nothing_over(self, world: World) -> None:
        """If a worker stalls and another one takes its letter, then it must not send when it goes on."""
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0, 1)
        world.clock.advance(LEASE_S)
        await claimed(two, 1)

        with pytest.raises(LostClaim):
            await one.hand_over(EVENT, [0, 1], a_hand_over(world))
        await two.release(EVENT, [1])
        await claimed(one, 0)  # granted: of the whole letter nothing was noted

    async def test_who_lost_a_claim_records_nothing(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        hand_over = await handed_over(world, one, 0, 1)
        world.clock.advance(LEASE_S)
        assert await two.claim(EVENT, "acme", [1]) == {1: Uncertain(hand_over)}

        with pytest.raises(LostClaim):
            await one.record(EVENT, [a_record(0), a_record(1)])
        assert await one.claim(EVENT, "acme", [0, 1]) == {0: Uncertain(hand_over), 1: Held("two")}

    async def test_who_was_silent_keeps_what_nobody_took_and_lives_again(self, world: World) -> None:
        """If nobody took the entry, then handing it over is safe: from that very moment its owner lives."""
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0)
        world.clock.advance(10 * LEASE_S)
        await one.hand_over(EVENT, [0], a_hand_over(world))

        assert await two.claim(EVENT, "acme", [0]) == {0: Held("one")}

    async def test_nothing_that_was_not_claimed_is_handed_over_or_recorded(self, world: World) -> None:
        one = await world.owner()
        with pytest.raises(LostClaim):
            await one.hand_over(EVENT, [0], a_hand_over(world))
        with pytest.raises(LostClaim):
            await one.record(EVENT, [a_record(0)])
        await claimed(one, 0)

    async def test_the_loss_of_one_does_not_fail_others_at_the_same_time(self, world: World) -> None:
        one = await world.owner()
        await claimed(one, *range(20))
        answers = await asyncio.gather(
            *(one.hand_over(EVENT, [number], a_hand_over(world)) for number in range(40)), return_exceptions=True
        )

        assert [type(answer) for answer in answers] == [type(None)] * 20 + [LostClaim] * 20

    async def test_what_is_done_stays_done_with_the_same_result(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await handed_over(world, one, 0, 1, 2)
        sent, failed = a_record(0, 2), a_record(1, outcome=Outcome.FAILED)
        await one.record(EVENT, [sent, failed])

        expected = {0: done_with(sent), 1: done_with(failed), 2: done_with(sent)}
        assert await one.claim(EVENT, "acme", [0, 1, 2]) == expected
        world.clock.advance(10 * LEASE_S)
        assert await two.claim(EVENT, "acme", [0, 1, 2]) == expected

    async def test_the_same_record_can_be_made_twice_and_no_other(self, world: World) -> None:
        """If nobody knows whether a record was written, then making it again is right."""
        one = await world.owner()
        await claimed(one, 0, 1)
        await one.record(EVENT, [a_record(0)])
        await one.record(EVENT, [a_record(0)])
        with pytest.raises(LostClaim):
            await one.record(EVENT, [a_record(0, outcome=Outcome.FAILED)])
        with pytest.raises(LostClaim):
            await one.record(EVENT, [a_record(0), a_record(1)])
        with pytest.raises(LostClaim):
            await one.hand_over(EVENT, [0], a_hand_over(world))

        assert await one.claim(EVENT, "acme", [0, 1]) == {0: done_with(a_record(0)), 1: Granted()}

    async def test_a_hand_over_can_be_made_twice(self, world: World) -> None:
        one = await world.owner()
        hand_over = await handed_over(world, one, 0)
        await one.hand_over(EVENT, [0], hand_over)

        assert await one.claim(EVENT, "acme", [0]) == {0: Uncertain(hand_over)}

    async def test_what_is_in_doubt_can_be_sent_again(self, world: World) -> None:
        one, two, three = [await world.owner(name) for name in ("one", "two", "three")]
        await handed_over(world, one, 0)
        world.clock.advance(LEASE_S)
        await two.claim(EVENT, "acme", [0])
        second = a_hand_over(world, attempt=2)
        await two.hand_over(EVENT, [0], second)
        world.clock.advance(LEASE_S)

        assert await three.claim(EVENT, "acme", [0]) == {0: Uncertain(second)}

    @pytest.mark.parametrize("settle", ["record", "release"])
    async def test_what_is_in_doubt_can_be_settled(self, world: World, settle: str) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await handed_over(world, one, 0)
        world.clock.advance(LEASE_S)
        await two.claim(EVENT, "acme", [0])
        if settle == "record":
            await two.record(EVENT, [a_record(0)])
        else:
            await two.release(EVENT, [0])

        expected = done_with(a_record(0)) if settle == "record" else Granted()
        assert await one.claim(EVENT, "acme", [0]) == {0: expected}

    async def test_what_is_done_as_uncertain_is_free_when_it_is_reopened(self, world: World) -> None:
        """If an operator replays a held letter, then any worker may send it, also while the one that held it lives."""
        one, two = await world.owner("one"), await world.owner("two")
        await handed_over(world, one, 0, 1)
        await one.record(EVENT, [a_record(0, 1, outcome=Outcome.UNCERTAIN)])
        await two.consent(EVENT, [0, 7], up_to_attempt=1)
        await two.reopen(EVENT, [0])
        await two.reopen(EVENT, [0, 1, 7])

        held = done_with(a_record(0, 1, outcome=Outcome.UNCERTAIN))
        assert await two.claim(EVENT, "acme", [0, 1]) == {0: Granted(), 1: held}

    async def test_a_doubt_that_arose_after_the_decision_is_not_reopened(self, world: World) -> None:
        """If a replayed letter becomes uncertain once more and its message comes twice, then it stays held."""
        one = await world.owner()
        await claimed(one, 0)
        await one.hand_over(EVENT, [0], a_hand_over(world, attempt=2))
        await one.record(EVENT, [a_record(0, outcome=Outcome.UNCERTAIN)])
        await one.consent(EVENT, [0], up_to_attempt=1)
        await one.reopen(EVENT, [0])

        assert await one.claim(EVENT, "acme", [0]) == {0: done_with(a_record(0, outcome=Outcome.UNCERTAIN))}

    async def test_without_consent_nothing_is_reopened_and_a_narrower_one_takes_none_back(self, world: World) -> None:
        """If anybody else than an operator asks for it, then a letter that may have arrived stays held."""
        one = await world.owner()
        await claimed(one, 0)
        await one.hand_over(EVENT, [0], a_hand_over(world, attempt=2))
        await one.record(EVENT, [a_record(0, outcome=Outcome.UNCERTAIN)])
        await one.reopen(EVENT, [0])
        held = done_with(a_record(0, outcome=Outcome.UNCERTAIN))
        assert await one.claim(EVENT, "acme", [0]) == {0: held}

        await one.consent(EVENT, [0], up_to_attempt=2)
        await one.consent(EVENT, [0], up_to_attempt=1)
        await one.reopen(EVENT, [0])
        assert await one.claim(EVENT, "acme", [0]) == {0: Granted()}

    async def test_what_is_another_accounts_is_neither_claimed_nor_repeated(self, world: World) -> None:
        """If two accounts' events have one source and id, then the first one's results are nobody else's."""
        one, two = await world.owner("one"), await world.owner("two")
        assert await one.account_of(EVENT) is None
        await claimed(one, 0)
        assert await two.account_of(EVENT) == "acme"
        with pytest.raises(ForeignEvent, match="same source and id"):
            await two.claim(EVENT, "globex", [0, 1])
        with pytest.raises(ForeignEvent):
            await one.claim(EVENT, "globex", [0])
        await handed_over(world, one, 0)
        await one.record(EVENT, [a_record(0)])
        with pytest.raises(ForeignEvent):
            await two.claim(EVENT, "globex", [0])
        assert await two.claim(EVENT, "acme", [0, 1]) == {0: done_with(a_record(0)), 1: Granted()}

    async def test_nothing_else_is_reopened(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        hand_over = await handed_over(world, one, 0, 1, 2)
        await claimed(one, 3)
        sent, failed = a_record(1), a_record(2, outcome=Outcome.FAILED)
        await one.record(EVENT, [sent, failed])
        await one.abandon(EVENT, [0])
        await two.consent(EVENT, [0, 1, 2, 3], up_to_attempt=1)
        await two.reopen(EVENT, [0, 1, 2, 3])

        assert await two.claim(EVENT, "acme", [0, 1, 2, 3]) == {
            0: Uncertain(hand_over),
            1: done_with(sent),
            2: done_with(failed),
            3: Held("one"),
        }

    async def test_what_is_let_go_is_free_or_in_doubt_for_a_living_worker(self, world: World) -> None:
        """If a letter in doubt waits in a delay queue, then whoever gets it next settles it."""
        one, two = await world.owner("one"), await world.owner("two")
        hand_over = await handed_over(world, one, 0)
        await claimed(one, 1)
        await one.abandon(EVENT, [0, 1])
        await one.abandon(EVENT, [0, 1])

        assert await two.claim(EVENT, "acme", [0, 1]) == {0: Uncertain(hand_over), 1: Granted()}
        with pytest.raises(LostClaim):
            await one.record(EVENT, [a_record(0)])

    async def test_who_closes_lets_everything_go(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        hand_over = await handed_over(world, one, 0)
        await claimed(one, 1)
        await one.close()

        assert await two.claim(EVENT, "acme", [0, 1]) == {0: Uncertain(hand_over), 1: Granted()}
        with pytest.raises(Unavailable):
            await one.claim(EVENT, "acme", [0])

    async def test_closing_twice_is_harmless(self, world: World) -> None:
        one = await world.owner()
        await claimed(one, 0)
        await one.close()
        await one.close()

    async def test_what_is_old_is_forgotten_but_never_a_doubt(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        hand_over = await handed_over(world, one, 0)
        await claimed(one, 1, *range(2, 12))
        await one.record(EVENT, [a_record(number) for number in range(2, 12)])
        world.clock.advance(RETENTION_S + LEASE_S + 1)
        await claimed(two, 20)
        await two.record(EVENT, [a_record(20)])

        assert await two.expire() == 11
        assert await two.expire() == 0
        assert await two.claim(EVENT, "acme", [0, 1, 2, 20]) == {
            0: Uncertain(hand_over),
            1: Granted(),
            2: Granted(),
            20: done_with(a_record(20)),
        }

    async def test_claims_of_the_living_are_not_forgotten(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0)
        world.clock.advance(RETENTION_S + 1)
        await one.keep_alive()

        assert await two.expire() == 0
        assert await two.claim(EVENT, "acme", [0]) == {0: Held("one")}

    async def test_who_was_forgotten_has_lost_its_claims_and_can_go_on(self, world: World) -> None:
        """If a host sleeps for longer than the retention, then it holds nothing when it wakes."""
        one, two = await world.owner("one"), await world.owner("two")
        await claimed(one, 0)
        world.clock.advance(RETENTION_S + LEASE_S + 1)
        await two.expire()

        with pytest.raises(LostClaim):
            await one.hand_over(EVENT, [0], a_hand_over(world))
        await claimed(one, 0)
        assert await two.claim(EVENT, "acme", [0]) == {0: Held("one")}

    async def test_a_result_can_be_of_any_bytes_and_large(self, world: World) -> None:
        one = await world.owner()
        await claimed(one, 0)
        record = Record((0,), Outcome.UNCERTAIN, result_id(EVENT, [0], "large"), bytes(range(256)) * 4000)
        await one.record(EVENT, [record])

        assert await one.claim(EVENT, "acme", [0]) == {0: done_with(record)}

    async def test_nothing_to_do_is_done(self, world: World) -> None:
        one = await world.owner()
        assert await one.claim(EVENT, "acme", []) == {}
        await one.hand_over(EVENT, [], a_hand_over(world))
        await one.record(EVENT, [])
        await one.release(EVENT, [])
        await one.abandon(EVENT, [])

    async def test_an_operator_sees_how_far_each_recipient_has_come(self, world: World) -> None:
        one, two = await world.owner("one"), await world.owner("two")
        started = world.clock.now()
        hand_over = await handed_over(world, one, 0, 1)
        await claimed(one, 2)
        world.clock.advance(LEASE_S)
        await one.record(EVENT, [a_record(0)])
        ended = world.clock.now()
        world.clock.advance(LEASE_S)
        sent, doubtful, waiting = await two.entries(EVENT)

        assert (sent.recipient, sent.state, sent.outcome) == (0, State.DONE, Outcome.SENT)
        assert (sent.hand_over, sent.result_id, sent.recorded_at) == (hand_over, a_record(0).result_id, ended)
        assert (doubtful.state, doubtful.is_owner_alive, doubtful.is_in_doubt) == (State.HANDED_OVER, False, True)
        assert (doubtful.hand_over, doubtful.claimed_at) == (hand_over, started)
        assert (waiting.state, waiting.owner, waiting.account_id) == (State.CLAIMED, "one", "acme")
        assert (waiting.hand_over, waiting.outcome, waiting.is_in_doubt) == (None, None, False)
        assert await two.entries(OTHER_EVENT) == []

    @pytest.mark.parametrize("key", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "é" * 32])
    async def test_a_key_that_is_none_is_refused(self, world: World, key: str) -> None:
        one = await world.owner()
        with pytest.raises(ValueError, match="32 hexadecimal digits"):
            await one.claim(key, "acme", [0])

    @pytest.mark.parametrize("recipient", [-1, 2**31])
    async def test_a_position_that_is_none_is_refused(self, world: World, recipient: int) -> None:
        one = await world.owner()
        with pytest.raises(ValueError, match="number"):
            await one.claim(EVENT, "acme", [recipient])

    @pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
    async def test_a_text_that_no_database_stores_is_refused(self, world: World, text: str) -> None:
        one = await world.owner()
        with pytest.raises(ValueError, match="cannot store"):
            await one.claim(EVENT, text, [0])
        with pytest.raises(ValueError, match="cannot store"):
            await one.hand_over(EVENT, [0], HandOver("acme", None, text, 1, world.clock.now()))

    async def test_a_record_that_contradicts_itself_is_refused(self, world: World) -> None:
        one = await world.owner()
        with pytest.raises(ValueError, match="two outcomes"):
            await one.record(EVENT, [a_record(0), a_record(0, outcome=Outcome.FAILED)])
        with pytest.raises(ValueError, match="UUID"):
            await one.record(EVENT, [Record((0,), Outcome.SENT, "1", b"")])


class TestMemory(LedgerContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        world = memory_world()
        yield world
        await world.end()


class TestSqlite(LedgerContract):
    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        world = database_world(sqlite_url(tmp_path))
        yield world
        await world.end()


class TestPostgresql(LedgerContract):
    @pytest.fixture
    async def world(self, database_url: str) -> AsyncIterator[World]:
        world = await postgresql_world(database_url)
        yield world
        await world.end()

    async def test_owners_keep_their_promises_whatever_they_do(self, database_url: str) -> None:
        """A few histories of the state machine, which runs thousands in memory."""
        await migrate(database_url)

        async def empty() -> None:
            engine = create_async_engine(driver_url(database_url))
            async with engine.begin() as connection:
                await connection.execute(text("TRUNCATE ledger_owners, ledger_entries, ledger_results, ledger_letters"))
            await engine.dispose()

        def new_world() -> World:
            asyncio.run(empty())  # in the machine's own thread, before its loop runs
            return database_world(database_url)

        await asyncio.to_thread(run_machine, new_world, 4, 20)
