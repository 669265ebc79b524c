"""Places are shared out: who gets one, who has to wait, and that some stay free for who comes next."""

import asyncio

import pytest

from worker.delivery.places import WHOLE, Exhausted, FairShares, Holder, Places, act_for, acting_for

HALF = FairShares(account=0.5, mailbox=0.25)


def take_all(places: Places, account_id: str, mailboxes: int = 100) -> int:
    """How many places an account gets that asks for all, from many mailboxes in turn."""
    took = 0
    while any(places.take(Holder(account_id, f"mb-{n}")) is None for n in range(mailboxes)):
        took += 1
    return took


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class TestSharing:
    def test_one_account_alone_gets_its_share_and_no_more(self) -> None:
        places = Places(64, HALF)
        assert take_all(places, "greedy") == 32 == places.most_of_account
        assert places.exhausted(Holder("greedy", "another")) is Exhausted.ACCOUNT

    def test_one_mailbox_alone_gets_its_share_and_its_account_still_has_room(self) -> None:
        places = Places(64, HALF)
        assert take_all(places, "acme", mailboxes=1) == 16
        assert places.exhausted(Holder("acme", "mb-0")) is Exhausted.MAILBOX
        assert places.exhausted(Holder("acme", "mb-1")) is None

    def test_the_relay_of_all_counts_for_accounts_only(self) -> None:
        places = Places(64, HALF)
        while places.take(Holder("acme")) is None:
            pass
        assert places.held == 32

    def test_each_further_greedy_account_gets_less_and_a_newcomer_always_finds_a_place(self) -> None:
        places = Places(128, HALF)
        got = [take_all(places, f"greedy-{n}") for n in range(5)]
        assert got == sorted(got, reverse=True)
        assert places.take(Holder("newcomer", "mb")) is None

    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_of_few_places_everybody_may_still_have_one(self, size: int) -> None:
        places = Places(size, FairShares(0.1, 0.1))
        for number in range(size):
            assert places.take(Holder(f"account-{number}", "mb")) is None
        assert places.take(Holder("one too many", "mb")) is Exhausted.ACCOUNT

    def test_of_four_places_one_account_leaves_two(self) -> None:
        """If all checks of an account hang, then two of four places are there for the others."""
        places = Places(4, HALF)
        assert take_all(places, "greedy") == 2

    def test_without_bounds_one_account_may_have_all(self) -> None:
        assert take_all(Places(8, WHOLE), "only") == 8

    def test_what_is_given_back_is_there_again_and_leaves_no_trace(self) -> None:
        places = Places(8, HALF)
        holder = Holder("acme", "mb")
        for _ in range(100):
            assert places.take(holder) is None
            places.give_back(holder)
        assert places.held == 0
        assert take_all(places, "acme") == places.most_of_account


class TestWaiting:
    async def test_accounts_are_served_in_turn_whatever_each_has_waiting(self) -> None:
        places = Places(1, WHOLE)
        order: list[str] = []

        async def use(account_id: str) -> None:
            async with places.place(Holder(account_id, "mb")):
                order.append(account_id)

        first = Holder("first", "mb")
        assert places.take(first) is None
        tasks = [asyncio.create_task(use(each)) for each in ("a", "a", "a", "b", "b", "c")]
        await settle()
        assert places.waiting == 6
        places.give_back(first)
        await asyncio.gather(*tasks)
        assert order == ["a", "b", "c", "a", "b", "a"]
        assert (places.held, places.waiting) == (0, 0)

    async def test_who_is_over_its_share_waits_while_others_pass(self) -> None:
        places = Places(4, HALF)
        take_all(places, "greedy")
        waiter = asyncio.create_task(places.wait(Holder("greedy", "mb")))
        await settle()
        assert places.take(Holder("other", "mb")) is None
        places.give_back(Holder("other", "mb"))
        await settle()
        assert not waiter.done()
        places.give_back(Holder("greedy", "mb-0"))
        assert await waiter is True

    async def test_a_waiter_whose_mailbox_is_full_does_not_hold_up_its_account(self) -> None:
        places = Places(8, HALF)
        holders = [Holder("acme", "slow")] * 2
        assert all(places.take(holder) is None for holder in holders)
        slow = asyncio.create_task(places.wait(Holder("acme", "slow")))
        await settle()
        assert await places.wait(Holder("acme", "fast")) is True
        assert not slow.done()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert places.waiting == 0

    async def test_patience_has_an_end(self) -> None:
        places = Places(1, HALF)
        assert places.take(Holder("first", "mb")) is None
        async with places.place(Holder("second", "mb"), patience_s=0.01) as has_place:
            assert has_place is False
        assert (places.held, places.waiting) == (1, 0)

    async def test_a_place_that_comes_in_the_moment_of_cancellation_goes_on_to_the_next(self) -> None:
        places = Places(1, HALF)
        first = Holder("first", "mb")
        assert places.take(first) is None
        cancelled = asyncio.create_task(places.wait(Holder("second", "mb")))
        third = asyncio.create_task(places.wait(Holder("third", "mb")))
        await settle()
        places.give_back(first)
        cancelled.cancel()
        assert await third is True
        assert cancelled.cancelled()
        assert places.held == 1
        places.give_back(Holder("third", "mb"))
        assert places.held == 0


async def test_what_a_task_does_counts_for_whom_it_acts_and_for_nobody_else() -> None:
    async def acting(holder: Holder) -> Holder:
        act_for(holder)
        await asyncio.sleep(0)
        return acting_for()

    holders = [Holder("a", "mb"), Holder("b")]
    assert list(await asyncio.gather(*map(acting, holders))) == holders
    assert acting_for() == Holder("")
