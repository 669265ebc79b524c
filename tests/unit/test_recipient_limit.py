"""How many letters one address gets from one account: what counts, when, and what is remembered of it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.ledger_worlds import database_world, driver_url, sqlite_url
from worker.domain.identity import counted_letter, event_key
from worker.domain.recipient_limit import KEPT_SLOTS, SLOT_S, Letters, recipient_limit, slot_of

START = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)  # five minutes begin here
LIMIT = 3


def a_letter(number: int) -> bytes:
    return counted_letter(event_key("/limit", str(number)), 0)


def let_through(
    letters: Letters, numbers: range, came_at: datetime, now: datetime | None = None
) -> tuple[Letters, int]:
    """What is counted after these letters, and how many of them were let through."""
    through = 0
    for number in numbers:
        letters, may = letters.admit(a_letter(number), came_at, LIMIT, now or came_at)
        through += may
    return letters, through


def test_the_current_and_the_former_five_minutes_count_together() -> None:
    """If the former five minutes have used up the limit, then the current ones have none; after them there is."""
    letters, through = let_through(Letters(), range(5), START + timedelta(seconds=299))
    assert through == LIMIT
    assert let_through(letters, range(10, 15), START + timedelta(seconds=300))[1] == 0
    assert let_through(letters, range(10, 15), START + timedelta(seconds=599))[1] == 0
    assert let_through(letters, range(10, 15), START + timedelta(seconds=600))[1] == LIMIT


def test_letters_that_came_over_hours_and_leave_together_all_leave() -> None:
    """If a mailbox was suspended, then its letters count in the minutes in which they came, not in which they leave."""
    letters, now = Letters(), START + timedelta(hours=3)
    for number in range(36):
        came_at = START + timedelta(minutes=5 * number)
        letters, may = letters.admit(a_letter(number), came_at, LIMIT, now)
        assert may


def test_a_letter_that_comes_late_counts_with_the_five_minutes_after_its_own_too() -> None:
    """If letters overtake another, then no ten minutes have more than the limit all the same."""
    later, _ = let_through(Letters(), range(LIMIT), START + timedelta(seconds=SLOT_S))
    assert let_through(later, range(10, 11), START, now=START + timedelta(seconds=SLOT_S))[1] == 0


def test_letter_case_does_not_tell_addresses_apart_but_accounts_do() -> None:
    """If a robot writes its address in another way, then it is the same address."""
    of = {
        (account, address): recipient_limit(50, account, START, {0: address}).addresses[0]
        for account in ("acme", "other")
        for address in ("Bob@b.example", "bob@b.example", "eve@b.example")
    }
    assert of["acme", "Bob@b.example"] == of["acme", "bob@b.example"]
    assert len(set(of.values())) == 4


arrivals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1_500), st.integers(0, 400)), max_size=60)


@given(arrivals)
def test_no_two_slots_in_a_row_hold_more_than_the_limit(arriving: list[tuple[int, int, int]]) -> None:
    """If letters come in any order, late and again, then two slots in a row let through the limit at most, and none
    that was let through is ever refused.
    """
    letters, through = Letters(), dict[int, int]()
    for number, second, late in arriving:
        came_at = START + timedelta(seconds=second)
        letters, may = letters.admit(a_letter(number), came_at, LIMIT, came_at + timedelta(seconds=late))
        letters = Letters.from_bytes(letters.to_bytes())
        assert may or number not in through
        if may:
            through.setdefault(number, slot_of(came_at))
        slots = Counter(through.values())
        assert all(slots[slot] + slots[slot + 1] <= LIMIT for slot in slots)
        assert may or slots[slot_of(came_at)] + max(slots[slot_of(came_at) + 1], slots[slot_of(came_at) - 1]) == LIMIT


async def test_counts_are_forgotten_after_an_hour(tmp_path: Path) -> None:
    """If an address had no letter for an hour, then expiry deletes its count, also where there are many."""
    world = database_world(sqlite_url(tmp_path))
    ledger = await world.owner()
    for number in range(7):  # more than are deleted at a time
        limit = recipient_limit(LIMIT, "acme", world.clock.now(), {0: f"{number}@b.example"})
        await ledger.claim(event_key("/limit", str(number)), "acme", [0], limit)
    engine = create_async_engine(driver_url(sqlite_url(tmp_path)))
    numbers = []
    for seconds in (KEPT_SLOTS * SLOT_S - 1, 2 * SLOT_S):
        world.clock.advance(seconds)
        await ledger.expire()
        async with engine.connect() as connection:
            numbers.append((await connection.execute(text("SELECT count(*) FROM ledger_letters"))).scalar_one())
    await engine.dispose()
    await world.end()

    assert numbers == [7, 0]
