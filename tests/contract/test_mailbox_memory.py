"""What workers share about mailboxes: the memory in the process, SQLite and PostgreSQL pass the same tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.builders import a_mailbox
from tests.doubles.mailbox_memory import MemoryRefreshTokens, MemorySentHabits
from tests.ledger_worlds import HandClock, sqlite_url
from worker.adapters.ledger import migrate
from worker.adapters.ledger.sent_autosave import RecalledSentHabits
from worker.adapters.ledger.shared_memory import mailbox_memory
from worker.delivery.sent_copy.autosave_detection import SentHabits, SentPlace, sent_place
from worker.delivery.token_rotation import RefreshTokens, Rotation
from worker.domain.snapshot.model import SealedSecret
from worker.errors import ConfigurationError, Unavailable

GRANT, OTHER_GRANT = b"g" * 32, b"o" * 32
PLACE = SentPlace("acme", "mb-support", b"s" * 32)
DAY_S = 24 * 3_600.0


@dataclass
class Memory:
    """One worker's way to the memory, another's, and their clock."""

    tokens: RefreshTokens
    others_tokens: RefreshTokens
    habits: SentHabits
    others_habits: SentHabits
    clock: HandClock

    def rotation(self, sealed: str = "main.one", grant: bytes = GRANT, known: tuple[bytes, ...] = ()) -> Rotation:
        return Rotation(
            grant, "acme", "support@acme.example", sealed, known or (b"a" * 16, b"b" * 16), self.clock.now()
        )


class MemoryContract:
    """Run by the classes below, one for each kind of store."""

    async def test_one_holder_at_a_time_may_renew(self, memory: Memory) -> None:
        assert await memory.tokens.take_turn(GRANT, "one", 60)
        assert not await memory.others_tokens.take_turn(GRANT, "two", 60)
        assert await memory.others_tokens.take_turn(OTHER_GRANT, "two", 60)
        assert await memory.tokens.take_turn(GRANT, "one", 60), "its own turn"

    async def test_of_many_that_want_a_turn_at_once_one_gets_it(self, memory: Memory) -> None:
        takers = [memory.tokens, memory.others_tokens] * 4
        got = await asyncio.gather(*(taker.take_turn(GRANT, f"{n}", 60) for n, taker in enumerate(takers)))
        assert sum(got) == 1

    async def test_a_turn_ends_by_its_holder_or_with_its_time(self, memory: Memory) -> None:
        await memory.tokens.take_turn(GRANT, "one", 60)
        await memory.others_tokens.end_turn(GRANT, "two")
        assert not await memory.others_tokens.take_turn(GRANT, "two", 60)
        await memory.tokens.end_turn(GRANT, "one")
        assert await memory.others_tokens.take_turn(GRANT, "two", 60)
        memory.clock.advance(60)
        assert await memory.tokens.take_turn(GRANT, "one", 60)

    async def test_a_turn_says_nothing_about_tokens(self, memory: Memory) -> None:
        await memory.tokens.take_turn(GRANT, "one", 60)
        assert await memory.tokens.newest(GRANT) is None
        assert list(await memory.tokens.untold(10)) == []

    @pytest.mark.parametrize("is_in_turn", [True, False])
    async def test_what_one_keeps_another_finds(self, memory: Memory, is_in_turn: bool) -> None:
        if is_in_turn:
            await memory.tokens.take_turn(GRANT, "one", 60)
        await memory.tokens.keep(memory.rotation())
        assert await memory.others_tokens.newest(GRANT) == memory.rotation()
        assert await memory.others_tokens.newest(OTHER_GRANT) is None

    async def test_a_newer_token_takes_the_place_and_is_told_of_once_more(self, memory: Memory) -> None:
        await memory.tokens.keep(memory.rotation())
        await memory.tokens.told(memory.rotation())
        assert list(await memory.others_tokens.untold(10)) == []
        newer = memory.rotation("main.two", known=(b"a" * 16, b"b" * 16, b"c" * 16))
        await memory.others_tokens.keep(newer)
        assert await memory.tokens.newest(GRANT) == newer
        assert list(await memory.tokens.untold(10)) == [newer]

    async def test_who_tells_of_a_token_says_nothing_about_a_newer_one(self, memory: Memory) -> None:
        """If it is rotated again while it is told of, then the newer one is still to be told."""
        first = memory.rotation()
        await memory.tokens.keep(first)
        newer = memory.rotation("main.two")
        await memory.tokens.keep(newer)
        await memory.others_tokens.told(first)
        assert list(await memory.tokens.untold(10)) == [newer]

    async def test_what_is_untold_comes_in_the_order_of_its_time(self, memory: Memory) -> None:
        second = memory.rotation(grant=OTHER_GRANT)
        await memory.tokens.keep(replace(second, rotated_at=second.rotated_at))
        memory.clock.advance(-5)
        first = memory.rotation()
        await memory.tokens.keep(first)
        assert list(await memory.tokens.untold(10)) == [first, second]
        assert list(await memory.tokens.untold(1)) == [first]

    async def test_three_letters_that_agree_make_a_habit_for_all_workers(self, memory: Memory) -> None:
        for _ in range(2):
            await memory.habits.saw(PLACE, was_there=True)
        assert await memory.others_habits.saves(PLACE) is None
        await memory.others_habits.saw(PLACE, was_there=True)
        assert await memory.habits.saves(PLACE) is True

    async def test_a_provider_that_does_not_save_is_learned_too(self, memory: Memory) -> None:
        for _ in range(3):
            await memory.habits.saw(PLACE, was_there=False)
        assert await memory.habits.saves(PLACE) is False

    async def test_one_letter_that_contradicts_unlearns(self, memory: Memory) -> None:
        for was_there in (True, True, True, False):
            await memory.habits.saw(PLACE, was_there=was_there)
        assert await memory.habits.saves(PLACE) is None

    async def test_a_habit_is_believed_for_a_day_and_one_more_look_renews_it(self, memory: Memory) -> None:
        for _ in range(3):
            await memory.habits.saw(PLACE, was_there=True)
        memory.clock.advance(DAY_S)
        assert await memory.habits.saves(PLACE) is None
        await memory.habits.saw(PLACE, was_there=True)
        assert await memory.habits.saves(PLACE) is True

    @pytest.mark.parametrize(
        "change",
        [{"account_id": "other"}, {"mailbox_id": "mb-sales"}, {"settings": b"t" * 32}],
        ids=lambda c: next(iter(c)),
    )
    async def test_another_place_is_not_known(self, memory: Memory, change: dict[str, str]) -> None:
        for _ in range(3):
            await memory.habits.saw(PLACE, was_there=True)
        assert await memory.habits.saves(replace(PLACE, **change)) is None  # type: ignore[arg-type]  # as it stands above

    async def test_after_a_change_of_settings_it_is_learned_anew(self, memory: Memory) -> None:
        for _ in range(3):
            await memory.habits.saw(PLACE, was_there=True)
        changed = replace(PLACE, settings=b"t" * 32)
        for _ in range(3):
            await memory.habits.saw(changed, was_there=False)
        assert await memory.habits.saves(changed) is False


class TestInMemory(MemoryContract):
    @pytest.fixture
    def memory(self) -> Memory:
        clock = HandClock()
        tokens, habits = MemoryRefreshTokens(clock), MemorySentHabits(clock)
        return Memory(tokens, tokens, habits, habits, clock)


@asynccontextmanager
async def database_memory(url: str) -> AsyncIterator[Memory]:
    await migrate(url)
    clock = HandClock()
    async with mailbox_memory(url, clock) as one, mailbox_memory(url, clock) as two:
        yield Memory(one.refresh_tokens, two.refresh_tokens, one.sent_habits, two.sent_habits, clock)


class TestRecalled(MemoryContract):
    @pytest.fixture
    def memory(self) -> Memory:
        clock = HandClock()
        tokens, shared = MemoryRefreshTokens(clock), MemorySentHabits(clock)
        one, two = RecalledSentHabits(shared, clock), RecalledSentHabits(shared, clock)
        return Memory(tokens, tokens, one, two, clock)

    async def test_what_is_known_is_not_asked_nor_told_again_for_some_minutes(self) -> None:
        clock, calls = HandClock(), 0

        class Counted(MemorySentHabits):
            async def saves(self, place: SentPlace) -> bool | None:
                nonlocal calls
                calls += 1
                return await super().saves(place)

            async def saw(self, place: SentPlace, *, was_there: bool) -> None:
                nonlocal calls
                calls += 1
                await super().saw(place, was_there=was_there)

        habits = RecalledSentHabits(Counted(clock), clock)
        for _ in range(100):
            assert await habits.saves(PLACE) in (None, False)
            await habits.saw(PLACE, was_there=False)
        assert calls == 7, "three letters to learn it, and the look that found it known"
        clock.advance(600)
        await habits.saw(PLACE, was_there=False)
        assert calls == 8, "and now and then one that renews it"


class TestInSqlite(MemoryContract):
    @pytest.fixture
    async def memory(self, tmp_path: Path) -> AsyncIterator[Memory]:
        async with database_memory(sqlite_url(tmp_path)) as memory:
            yield memory

    async def test_it_survives_a_restart_and_is_forgotten_in_the_end(self, tmp_path: Path) -> None:
        url, clock = sqlite_url(tmp_path), HandClock()
        await migrate(url)
        async with mailbox_memory(url, clock) as memory:
            rotation = Rotation(GRANT, "acme", "u", "main.one", (b"a" * 16,), clock.now())
            await memory.refresh_tokens.keep(rotation)
            for _ in range(3):
                await memory.sent_habits.saw(PLACE, was_there=True)
        async with mailbox_memory(url, clock) as memory:
            assert await memory.refresh_tokens.newest(GRANT) == rotation
            assert await memory.sent_habits.saves(PLACE) is True
            clock.advance(199 * DAY_S)
            await memory.forget()
            assert await memory.refresh_tokens.newest(GRANT) == rotation
            clock.advance(2 * DAY_S)
            await memory.forget()
            assert await memory.refresh_tokens.newest(GRANT) is None

    async def test_without_its_tables_it_is_unavailable(self, tmp_path: Path) -> None:
        async with mailbox_memory(sqlite_url(tmp_path), HandClock()) as memory:
            with pytest.raises(Unavailable):
                await memory.sent_habits.saves(PLACE)

    async def test_a_url_of_something_else_is_a_mistake_in_the_settings(self) -> None:
        with pytest.raises(ConfigurationError):
            async with mailbox_memory("mysql://host/ledger", HandClock()):
                pass


class TestInPostgresql(MemoryContract):
    @pytest.fixture
    async def memory(self, database_url: str) -> AsyncIterator[Memory]:
        async with database_memory(database_url) as memory:
            yield memory


def test_every_change_of_server_or_of_the_copys_settings_is_another_place() -> None:
    before = a_mailbox()
    places = {sent_place("acme", before)}
    for changed in (
        before.model_copy(update={"smtp": before.smtp.model_copy(update={"host": "smtp.other.example"})}),
        before.model_copy(update={"sent_copy": before.sent_copy.model_copy(update={"folder": "Archive"})}),
        before.model_copy(update={"id": "mb-other"}),
    ):
        places.add(sent_place("acme", changed))
    assert len(places) == 4
    assert sent_place("acme", before.model_copy(update={"display_name": "New"})) in places
    new_secret = before.smtp.auth.model_copy(update={"secret": SealedSecret(sealed="main.new")})
    resealed = before.model_copy(update={"smtp": before.smtp.model_copy(update={"auth": new_secret})})
    assert sent_place("acme", resealed) in places, "a rotated token is no other folder"
