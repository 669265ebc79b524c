"""What all workers share about mailboxes: in memory, in SQLite and in a real PostgreSQL the same happens."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.ledger_worlds import (
    LEASE_S,
    RETENTION_S,
    World,
    database_world,
    memory_world,
    postgresql_world,
    sqlite_url,
)
from worker.delivery.mailboxes.rules import CAP_STEP, PROOF
from worker.delivery.mailboxes.state import (
    Entered,
    Entry,
    Full,
    ImapRefusal,
    Limited,
    MailboxKey,
    MailboxLimits,
    MailboxStates,
    OutboxMessage,
    Outdated,
    Resting,
    Revision,
    Shut,
    Standing,
    Suspension,
)
from worker.domain.identity import result_id
from worker.domain.vocabulary import Reason
from worker.errors import Unavailable

SUPPORT = MailboxKey("acme", "mb-support")
SAME_ID_ELSEWHERE = MailboxKey("globex", "mb-support")
OLD, NEW = Revision("0" * 32, 7), Revision("1" * 32, 8)
TWO = MailboxLimits(2)


def told_by(name: str) -> OutboxMessage:
    return OutboxMessage(result_id(name, (), "suspended"), name.encode())


def a_suspension(world: World, key: MailboxKey = SUPPORT, revision: Revision = OLD) -> Suspension:
    return Suspension(
        key, revision, Reason.AUTH_FAILED, world.clock.now(), "support@acme.example", 535, "5.7.8", "nein \x00 «ё»"
    )


async def opened(world: World, name: str = "one") -> MailboxStates:
    return (await world.owner(name)).mailboxes


async def proven(world: World, limits: MailboxLimits = TWO) -> tuple[MailboxStates, MailboxStates]:
    """Two owners, and a mailbox that is known to work, of whose connections nobody has any."""
    one, two = await opened(world, "one"), await opened(world, "two")
    await one.enter(SUPPORT, OLD, limits, 1)
    await one.prove(SUPPORT, OLD)
    await one.keep(SUPPORT, 0)
    return one, two


def connections_of(*entries: Entry) -> list[int | None]:
    return [entry.connections if isinstance(entry, Entered) else None for entry in entries]


class MailboxStatesContract:
    """Run by the classes below, one for each kind of store."""

    # Connections.

    async def test_a_mailbox_that_nobody_has_tried_has_one_connection_over_all_workers(self, world: World) -> None:
        one, two = await opened(world, "one"), await opened(world, "two")

        assert await one.enter(SUPPORT, OLD, TWO, 1) == Entered(1, is_probe=True, needs_proof=True)
        assert await one.enter(SUPPORT, OLD, TWO, 2) == Full()
        assert await two.enter(SUPPORT, OLD, TWO, 1) == Full()

        await one.prove(SUPPORT, OLD)
        assert await two.enter(SUPPORT, OLD, TWO, 1) == Entered(1, is_probe=False, needs_proof=False)

    async def test_all_workers_together_have_as_many_connections_as_the_mailbox_may_have(self, world: World) -> None:
        one, two = await proven(world)

        granted = [await one.enter(SUPPORT, OLD, TWO, n) for n in (1, 2, 3)]

        assert connections_of(*granted) == [1, 2, None]
        assert await two.enter(SUPPORT, OLD, TWO, 1) == Full()
        await one.keep(SUPPORT, 1)
        assert connections_of(await two.enter(SUPPORT, OLD, TWO, 1)) == [1]
        assert await two.enter(SUPPORT, OLD, TWO, 2) == Full()

    async def test_the_same_total_can_be_asked_for_twice(self, world: World) -> None:
        """If nobody knows whether a call was carried out, then making it again is right."""
        one, two = await proven(world)
        for _ in range(3):
            await one.enter(SUPPORT, OLD, TWO, 1)

        assert connections_of(await two.enter(SUPPORT, OLD, TWO, 1)) == [1]

    async def test_of_many_that_enter_at_once_no_more_come_in_than_may(self, world: World) -> None:
        await proven(world)
        owners = [await opened(world, f"owner {number}") for number in range(5)]

        entries = await asyncio.gather(*(owner.enter(SUPPORT, OLD, MailboxLimits(3), 1) for owner in owners))

        assert connections_of(*entries).count(1) == 3

    async def test_connections_of_the_dead_are_free(self, world: World) -> None:
        one, two = await proven(world)
        await one.enter(SUPPORT, OLD, TWO, 2)
        world.clock.advance(LEASE_S)

        assert connections_of(await two.enter(SUPPORT, OLD, TWO, 2)) == [2]
        assert (await one.look()).held == {}

    async def test_a_proof_does_not_last_for_ever(self, world: World) -> None:
        """If a password is changed at the provider, then a burst of letters does not try the old one at once."""
        one, two = await proven(world)
        world.clock.advance(PROOF.total_seconds() / 2)
        assert await one.enter(SUPPORT, OLD, TWO, 1) == Entered(1, is_probe=False, needs_proof=True)
        await one.keep(SUPPORT, 0)
        world.clock.advance(PROOF.total_seconds() / 2)

        assert await one.enter(SUPPORT, OLD, TWO, 1) == Entered(1, is_probe=True, needs_proof=True)
        assert await two.enter(SUPPORT, OLD, TWO, 1) == Full()

    async def test_other_settings_are_proven_anew(self, world: World) -> None:
        one, two = await proven(world)
        assert await two.enter(SUPPORT, NEW, TWO, 1) == Entered(1, is_probe=True, needs_proof=True)
        await one.prove(SUPPORT, OLD)  # by a letter that was under way with the old ones
        assert await two.enter(SUPPORT, NEW, TWO, 2) == Full()

    async def test_who_lags_behind_with_its_snapshot_does_not_bring_old_settings_back(self, world: World) -> None:
        one, two = await proven(world)
        await two.enter(SUPPORT, NEW, TWO, 1)

        assert await one.enter(SUPPORT, OLD, TWO, 1) == Outdated()

    async def test_snapshots_whose_numbers_begin_again_are_believed_in_the_end(self, world: World) -> None:
        """If a product is set up anew, then its mailboxes must not wait until the numbers have caught up."""
        one, two = await proven(world)
        await two.enter(SUPPORT, NEW, TWO, 0)
        world.clock.advance(3600)

        assert connections_of(await one.enter(SUPPORT, OLD, TWO, 1)) == [1]

    async def test_who_has_connections_hears_that_another_one_wants_some(self, world: World) -> None:
        one, two = await proven(world)
        await one.enter(SUPPORT, OLD, TWO, 2)
        assert (await one.look()).held[SUPPORT].is_wanted is False
        await two.enter(SUPPORT, OLD, TWO, 1)

        assert (await one.look()).held[SUPPORT].is_wanted is True
        assert (await one.look()).held[SUPPORT].connections == 2
        assert (await two.look()).held == {}
        world.clock.advance(30)
        assert (await one.look()).held[SUPPORT].is_wanted is False

    # Rests and rates.

    async def test_a_rest_holds_for_all_workers_and_the_longer_one_counts(self, world: World) -> None:
        one, two = await proven(world)
        await one.enter(SUPPORT, OLD, TWO, 1)
        until = world.clock.now() + timedelta(seconds=300)
        await two.rest(SUPPORT, until, Reason.RATE_LIMITED)
        await two.rest(SUPPORT, until - timedelta(seconds=100), Reason.TOO_MANY_CONNECTIONS)

        resting = Resting(until, Reason.RATE_LIMITED)
        assert await one.enter(SUPPORT, OLD, TWO, 2) == resting
        assert (await one.look()).held[SUPPORT].resting == resting
        assert await one.permit(SUPPORT, TWO, 1) == resting
        world.clock.advance(300)
        assert connections_of(await one.enter(SUPPORT, OLD, TWO, 2)) == [2]

    async def test_a_server_that_says_too_many_gets_fewer_connections_and_slowly_more_again(self, world: World) -> None:
        """If the third of three connections is refused, then all workers together have two, and later three again."""
        limits = MailboxLimits(3)
        one, two = await proven(world, limits)
        await one.enter(SUPPORT, OLD, limits, 2)
        await two.enter(SUPPORT, OLD, limits, 1)
        until = world.clock.now() + timedelta(seconds=1)

        assert await two.rest(SUPPORT, until, Reason.TOO_MANY_CONNECTIONS) == 2
        assert await two.rest(SUPPORT, until, Reason.TOO_MANY_CONNECTIONS) is None, "the same call once more"

        world.clock.advance(1)
        for each in (one, two):
            await each.keep(SUPPORT, 0)
        assert connections_of(*[await one.enter(SUPPORT, OLD, limits, n) for n in (1, 2, 3)]) == [1, 2, None]
        assert await two.enter(SUPPORT, OLD, limits, 1) == Full()
        world.clock.advance(CAP_STEP.total_seconds())
        three = await opened(world, "three")  # the others are dead by now
        await three.enter(SUPPORT, OLD, limits, 1)
        await three.prove(SUPPORT, OLD)
        assert connections_of(await three.enter(SUPPORT, OLD, limits, 3)) == [3]

    async def test_each_refused_connection_takes_one_away_and_one_is_always_left(self, world: World) -> None:
        limits = MailboxLimits(4)
        one, _ = await proven(world, limits)
        await one.enter(SUPPORT, OLD, limits, 3)
        now = world.clock.now()

        lowered = [
            await one.rest(SUPPORT, now + timedelta(seconds=60 + number), Reason.TOO_MANY_CONNECTIONS)
            for number in range(4)
        ]

        assert lowered == [2, 1, 1, 1]

    async def test_another_rest_takes_no_connection_away(self, world: World) -> None:
        one, _ = await proven(world)
        await one.enter(SUPPORT, OLD, TWO, 2)

        assert await one.rest(SUPPORT, world.clock.now(), Reason.RATE_LIMITED) is None
        assert connections_of(await one.enter(SUPPORT, OLD, TWO, 2)) == [2]

    async def test_changed_settings_have_all_their_connections(self, world: World) -> None:
        """If somebody has written a lower limit, or another server, then what the former one said counts no more."""
        one, _ = await proven(world)
        await one.enter(SUPPORT, OLD, TWO, 2)
        await one.rest(SUPPORT, world.clock.now(), Reason.TOO_MANY_CONNECTIONS)

        await one.enter(SUPPORT, NEW, TWO, 1)
        await one.prove(SUPPORT, NEW)

        assert connections_of(await one.enter(SUPPORT, NEW, TWO, 2)) == [2]

    async def test_a_refused_sign_in_over_imap_is_known_to_all_and_stops_no_letter(self, world: World) -> None:
        one, two = await proven(world)
        refusal = ImapRefusal("0" * 32, world.clock.now() + timedelta(minutes=10), Reason.AUTH_FAILED)

        await one.refuse_imap(SUPPORT, refusal)

        assert await two.standing(SUPPORT) == Standing(None, refusal)
        assert await two.standing(SAME_ID_ELSEWHERE) == Standing()
        assert connections_of(await two.enter(SUPPORT, OLD, TWO, 1)) == [1]
        assert await two.permit(SUPPORT, TWO, 1) is None

    async def test_of_two_refusals_over_imap_the_later_end_counts_and_other_settings_begin_anew(
        self, world: World
    ) -> None:
        one, two = await opened(world, "one"), await opened(world, "two")
        now = world.clock.now()
        long, short, other = (
            ImapRefusal(digit * 32, now + timedelta(minutes=minutes), Reason.AUTH_FAILED)
            for digit, minutes in (("0", 10), ("0", 5), ("1", 5))
        )

        for refusal, known in ((long, long), (short, long), (other, other)):
            await one.refuse_imap(SUPPORT, refusal)
            assert await two.standing(SUPPORT) == Standing(None, known)

    async def test_resuming_a_mailbox_lets_it_sign_in_over_imap_too(self, world: World) -> None:
        one = await opened(world)
        suspension = a_suspension(world)
        await one.suspend(suspension, told_by("s"))
        until = world.clock.now() + timedelta(minutes=10)
        await one.refuse_imap(SUPPORT, ImapRefusal("0" * 32, until, Reason.AUTH_FAILED))
        assert (await one.standing(SUPPORT)).suspension == suspension

        await one.resume(suspension, told_by("r"))

        assert await one.standing(SUPPORT) == Standing()

    async def test_two_workers_together_send_no_more_a_minute_than_the_mailbox_may(self, world: World) -> None:
        limits = MailboxLimits(2, per_minute=5)
        one, two = await proven(world, limits)
        permits = [await (one, two)[n % 2].permit(SUPPORT, limits, 10) for n in range(7)]

        assert permits[:5] == [None] * 5
        [sixth, seventh] = permits[5:]
        assert isinstance(sixth, Limited)
        assert sixth == seventh
        assert not sixth.is_of_day
        assert timedelta(seconds=60) <= sixth.until - world.clock.now() <= timedelta(seconds=66)
        world.clock.advance((sixth.until - world.clock.now()).total_seconds())
        assert await two.permit(SUPPORT, limits, 1) is None

    async def test_a_day_is_counted_in_recipients_and_what_nobody_accepted_is_taken_back(self, world: World) -> None:
        limits = MailboxLimits(2, per_day=100)
        one, two = await proven(world, limits)
        assert await one.permit(SUPPORT, limits, 60) is None
        assert await two.permit(SUPPORT, limits, 40) is None
        limited = await two.permit(SUPPORT, limits, 1)
        assert isinstance(limited, Limited)
        assert limited.is_of_day
        await one.refund(SUPPORT, 40)

        assert await two.permit(SUPPORT, limits, 40) is None
        assert isinstance(await one.permit(SUPPORT, limits, 1), Limited)

    async def test_a_letter_larger_than_the_whole_limit_goes_alone(self, world: World) -> None:
        limits = MailboxLimits(2, per_day=100)
        one, _ = await proven(world, limits)
        assert await one.permit(SUPPORT, limits, 500) is None
        assert isinstance(await one.permit(SUPPORT, limits, 1), Limited)

    # Suspensions.

    async def test_a_suspension_is_made_by_one_and_shuts_out_all(self, world: World) -> None:
        one, two = await proven(world)
        mine = a_suspension(world)
        theirs = replace(mine, reason=Reason.SENDER_NOT_OWNED, words=None)

        made = await asyncio.gather(one.suspend(mine, told_by("one")), two.suspend(theirs, told_by("two")))

        assert made[0] == made[1]
        assert made[0] in (mine, theirs)
        for owner in (one, two):
            assert await owner.enter(SUPPORT, OLD, TWO, 1) == Shut(made[0])
            assert await owner.permit(SUPPORT, TWO, 1) == Shut(made[0])
            assert (await owner.look()).suspended == [made[0]]
            assert await owner.suspended() == [made[0]]

    async def test_an_operator_sees_what_is_held_up_and_why(self, world: World) -> None:
        one, _ = await proven(world)
        now = world.clock.now()
        rests, refused = MailboxKey("acme", "mb-rests"), MailboxKey("acme", "mb-refused")
        assert await one.held_up(10) == {}

        await one.rest(rests, now + timedelta(minutes=5), Reason.RATE_LIMITED)
        await one.refuse_imap(refused, ImapRefusal("0" * 32, now + timedelta(minutes=5), Reason.AUTH_FAILED))
        await one.suspend(a_suspension(world), told_by("one"))

        held_up = await one.held_up(10)
        assert next(iter(held_up)) == SUPPORT
        assert held_up.keys() == {SUPPORT, rests, refused}
        assert held_up[rests].resting == Resting(now + timedelta(minutes=5), Reason.RATE_LIMITED)
        assert held_up[SUPPORT] == await one.state(SUPPORT)
        assert list(await one.held_up(1)) == [SUPPORT]
        elsewhere = MailboxKey("globex", "mb-rests")
        await one.rest(elsewhere, now + timedelta(minutes=5), Reason.RATE_LIMITED)
        assert list(await one.held_up(1, frozenset({"globex", "initech"}))) == [elsewhere]
        assert await one.held_up(1, frozenset()) == {}
        world.clock.advance(301)
        assert list(await one.held_up(10)) == [SUPPORT]
        assert (await one.state(MailboxKey("acme", "mb-never-seen"))).suspension is None

    async def test_the_same_suspension_can_be_made_twice_and_is_told_of_once(self, world: World) -> None:
        one, _ = await proven(world)
        mine = a_suspension(world)
        for _ in range(2):
            assert await one.suspend(mine, told_by("one")) == mine
        world.clock.advance(31)

        assert [overdue.announcement for overdue in (await one.look()).overdue] == [told_by("one")]

    async def test_a_refusal_of_old_settings_says_nothing_about_new_ones(self, world: World) -> None:
        one, two = await proven(world)
        await two.enter(SUPPORT, NEW, TWO, 1)

        assert await one.suspend(a_suspension(world), told_by("one")) is None
        assert await two.suspended() == []
        world.clock.advance(31)
        assert (await one.look()).overdue == []

    async def test_a_suspension_ends_once_and_the_mailbox_is_tried_by_one_at_first(self, world: World) -> None:
        one, two = await proven(world)
        mine = a_suspension(world)
        await one.suspend(mine, told_by("one"))
        ended = await asyncio.gather(*(owner.resume(mine, told_by("resumed")) for owner in (one, two, one)))

        assert sorted(ended) == [False, False, True]
        assert (await two.look()).suspended == []
        resumed_at = world.clock.now()
        assert await one.enter(SUPPORT, OLD, TWO, 1) == Entered(1, True, True, resumed_at)
        assert await two.enter(SUPPORT, OLD, TWO, 1) == Full()

    async def test_settings_that_ended_a_suspension_are_the_ones_that_count(self, world: World) -> None:
        """If one worker resumes a mailbox, then another with the old password does not try that once more."""
        one, two = await proven(world)
        mine = a_suspension(world)
        await one.suspend(mine, told_by("one"))
        await one.resume(mine, told_by("resumed"), NEW)

        assert await two.enter(SUPPORT, OLD, TWO, 1) == Outdated()
        again = replace(mine, since=mine.since + timedelta(seconds=1))
        assert await two.suspend(again, told_by("two")) is None
        assert connections_of(await one.enter(SUPPORT, NEW, TWO, 1)) == [1]

    async def test_an_old_suspension_ends_no_new_one(self, world: World) -> None:
        one, two = await proven(world)
        first = a_suspension(world)
        await one.suspend(first, told_by("first"))
        await one.resume(first, told_by("resumed"))
        world.clock.advance(1)
        second = a_suspension(world)
        await one.suspend(second, told_by("second"))

        assert await two.resume(first, told_by("resumed")) is False
        assert await two.suspended() == [second]

    async def test_a_mailbox_that_was_resumed_goes_on_slowly_at_first(self, world: World) -> None:
        """If a thousand letters have waited, then the provider that locked the mailbox shall not see them at once."""
        one, _ = await proven(world)
        mine = a_suspension(world)
        await one.suspend(mine, told_by("one"))
        await one.resume(mine, told_by("resumed"))

        first_minute = [await one.permit(SUPPORT, TWO, 1) for _ in range(40)]
        assert first_minute.count(None) == 30
        world.clock.advance(601)
        assert [await one.permit(SUPPORT, TWO, 1) for _ in range(200)] == [None] * 200

    async def test_what_was_told_is_not_told_again_and_what_was_not_is_taken_over_by_one(self, world: World) -> None:
        """If a worker dies between a suspension and telling of it, then another worker tells."""
        one, two = await proven(world)
        for key, name in ((SUPPORT, "told"), (SAME_ID_ELSEWHERE, "left behind")):
            await one.suspend(a_suspension(world, key), told_by(name))
        await one.told(told_by("told").id)
        assert (await two.look()).overdue == []
        world.clock.advance(31)

        [overdue] = (await two.look()).overdue
        assert overdue.announcement == told_by("left behind")
        taken = await asyncio.gather(one.take_over(overdue), two.take_over(overdue))
        assert sorted(taken) == [False, True]
        assert (await two.look()).overdue == []
        await two.told(overdue.announcement.id)
        world.clock.advance(31)
        assert (await two.look()).overdue == []

    async def test_nobody_hears_of_the_same_suspensions_twice_in_vain(self, world: World) -> None:
        """Thousands of them must not be read every two seconds. In memory that costs nothing."""
        one, two = await proven(world)
        mine = a_suspension(world)
        await one.suspend(mine, told_by("one"))
        assert (await two.look()).suspended == [mine]

        assert (await two.look()).suspended in (None, [mine])
        await one.resume(mine, told_by("resumed"))
        assert (await two.look()).suspended == []

    # Tenants, time and trouble.

    async def test_the_same_id_in_another_account_is_another_mailbox(self, world: World) -> None:
        limits = MailboxLimits(1, per_minute=1, per_day=1)
        one, two = await opened(world, "one"), await opened(world, "two")
        await one.enter(SUPPORT, OLD, limits, 1)
        await one.permit(SUPPORT, limits, 1)
        await one.rest(SUPPORT, world.clock.now() + timedelta(hours=1), Reason.QUOTA_EXCEEDED)
        await one.suspend(a_suspension(world), told_by("one"))

        assert connections_of(await two.enter(SAME_ID_ELSEWHERE, OLD, limits, 1)) == [1]
        assert await two.permit(SAME_ID_ELSEWHERE, limits, 1) is None
        assert list((await two.look()).held) == [SAME_ID_ELSEWHERE]

    async def test_what_nobody_uses_is_forgotten_but_never_a_suspension(self, world: World) -> None:
        ledger = await world.owner("one")
        states = ledger.mailboxes
        await states.enter(SAME_ID_ELSEWHERE, NEW, TWO, 0)
        await states.suspend(a_suspension(world), told_by("one"))
        world.clock.advance(RETENTION_S + 1)
        await ledger.expire()

        assert len(await states.suspended()) == 1
        assert connections_of(await states.enter(SAME_ID_ELSEWHERE, OLD, TWO, 1)) == [1]

    async def test_who_is_closed_has_given_everything_back(self, world: World) -> None:
        one, two = await world.owner("one"), await opened(world, "two")
        await one.mailboxes.enter(SUPPORT, OLD, TWO, 1)
        await one.close()

        assert connections_of(await two.enter(SUPPORT, OLD, TWO, 1)) == [1]
        with pytest.raises(Unavailable):
            await one.mailboxes.enter(SUPPORT, OLD, TWO, 1)

    @pytest.mark.parametrize("key", [MailboxKey("a\0b", "c"), MailboxKey("a", "\ud800")])
    async def test_a_text_that_no_database_stores_is_refused(self, world: World, key: MailboxKey) -> None:
        states = await opened(world)
        with pytest.raises(ValueError, match="cannot store"):
            await states.enter(key, OLD, TWO, 1)

    async def test_many_at_once_are_each_answered_for_themselves(self, world: World) -> None:
        one, two = await opened(world, "one"), await opened(world, "two")
        keys = [MailboxKey(f"account {number}", "mb") for number in range(50)]
        entries = await asyncio.gather(*(owner.enter(key, OLD, TWO, 1) for key in keys for owner in (one, two)))

        assert connections_of(*entries).count(1) == 50
        assert len({*(await one.look()).held, *(await two.look()).held}) == 50


class TestMemory(MailboxStatesContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        world = memory_world()
        yield world
        await world.end()


class TestSqlite(MailboxStatesContract):
    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        world = database_world(sqlite_url(tmp_path))
        yield world
        await world.end()


class TestPostgresql(MailboxStatesContract):
    @pytest.fixture
    async def world(self, database_url: str) -> AsyncIterator[World]:
        world = await postgresql_world(database_url)
        yield world
        await world.end()
