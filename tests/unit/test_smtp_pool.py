"""Connections kept for the next letter: whose they are, how many, how long, and who gets the next one."""

import asyncio
from dataclasses import replace

import pytest

from tests.doubles.smtp import RECIPIENT, FakeMonotonic, hasty, letter, password, world
from worker.adapters.smtp import PoolLimits
from worker.domain.transmission import FailureKind, Reply, Transmission
from worker.domain.vocabulary import Phase, Security


async def test_the_next_letter_of_a_route_uses_the_same_connection_without_rset() -> None:
    async with world() as w:
        assert not (await w.send()).is_connection_reused
        assert (await w.send()).is_connection_reused
        assert w.server.connections == 1
        assert "RSET" not in w.server.verbs()
        numbers = w.transport.numbers
        assert (numbers.open, numbers.idle, numbers.opened_total, numbers.reused_total) == (1, 1, 1, 1)


@pytest.mark.parametrize(("account_id", "mailbox_id"), [("other", "mb-support"), ("acme", "mb-other")])
async def test_a_connection_is_never_shared_between_accounts_or_mailboxes(account_id: str, mailbox_id: str) -> None:
    """If two mailboxes have the very same server and user, each still has its own connection."""
    async with world() as w:
        await w.send()
        other = replace(w.route, account_id=account_id, mailbox_id=mailbox_id)
        assert not (await w.transport.send(other, letter(), w.hook)).is_connection_reused
        assert w.server.connections == 2


async def test_the_platforms_relay_is_shared() -> None:
    async with world() as w:
        relay = replace(w.route, account_id="", mailbox_id=None)
        await w.transport.send(relay, letter(), w.hook)
        assert (await w.transport.send(replace(relay), letter(), w.hook)).is_connection_reused


async def test_a_changed_routes_old_connection_is_closed() -> None:
    async with world() as w:
        await w.send()
        changed = replace(w.route, smtp=w.route.smtp.model_copy(update={"host": "new.acme.example"}))
        await w.transport.send(changed, letter(), w.hook)
        await w.server.seen("QUIT")
        await w.server.until(lambda: w.server.open_connections == 1)
        assert w.transport.numbers.open == 1


async def test_a_connection_in_use_when_its_route_changes_is_closed_afterwards() -> None:
    async with world("once dot: accept, delay 0.05, 250 ok") as w:
        sending = asyncio.create_task(w.send())
        await w.server.seen(".")
        changed = replace(w.route, max_connections=2)
        await w.transport.send(changed, letter(), w.hook)
        assert (await sending).accepted
        await w.server.seen("QUIT")
        await w.server.until(lambda: w.server.open_connections == 1)


async def test_a_route_has_no_more_connections_than_its_cap_and_serves_in_order() -> None:
    async with world(max_connections=2) as w:
        sendings = [asyncio.create_task(w.send(message_id=f"<{n}@acme.example>")) for n in range(20)]
        assert all(outcome.accepted for outcome in await asyncio.gather(*sendings))
        assert w.server.most_open_connections == 2
        ids = [bytes(accepted.wire).split(b"<")[1].split(b"@")[0] for accepted in w.server.letters]
        assert ids[:2] in ([b"0", b"1"], [b"1", b"0"])
        assert all(abs(int(n) - place) <= 2 for place, n in enumerate(ids))


async def test_letters_wait_while_the_route_is_at_its_cap() -> None:
    async with world("once mail: delay 0.05, 250 ok") as w:
        first, second = asyncio.create_task(w.send()), asyncio.create_task(w.send())
        await w.server.seen("MAIL")
        assert w.transport.numbers.waiting == 1
        assert (await first).accepted
        assert (await second).is_connection_reused


async def test_a_cancelled_waiter_costs_nobody_a_place() -> None:
    async with world("once mail: delay 0.05, 250 ok") as w:
        sendings = [asyncio.create_task(w.send()) for _ in range(5)]
        await w.server.seen("MAIL")
        for sending in sendings[1:4]:
            sending.cancel()
        done = await asyncio.gather(*sendings, return_exceptions=True)
        assert [type(outcome) for outcome in done[1:4]] == [asyncio.CancelledError] * 3
        assert isinstance(done[4], Transmission)
        assert done[4].accepted
        numbers = w.transport.numbers
        assert (numbers.open, numbers.idle, numbers.waiting) == (1, 1, 0)


async def test_a_waiter_that_is_cancelled_when_its_turn_comes_passes_it_on() -> None:
    """The grant and the cancellation may come in the same turn of the loop."""
    async with world() as w:
        for turns in range(60):
            first = asyncio.create_task(w.send())
            second = asyncio.create_task(w.send())
            third = asyncio.create_task(w.send())
            for _ in range(turns):
                await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(first, second, third, return_exceptions=True)
            assert third.result().accepted
            numbers = w.transport.numbers
            assert numbers.waiting == 0
            assert numbers.open == numbers.idle


async def test_over_all_routes_the_least_recently_used_idle_connection_makes_room() -> None:
    async with world(limits=PoolLimits(max_connections=2, close_s=1)) as w:
        a, b, c = (replace(w.route, mailbox_id=name) for name in "abc")
        for way in (a, b, a, c):
            assert (await w.transport.send(way, letter(), w.hook)).accepted
        assert w.transport.numbers.open == 2
        assert (await w.transport.send(a, letter(), w.hook)).is_connection_reused
        assert w.server.verbs(connection=2)[-1] == "QUIT"
        assert w.server.most_open_connections == 2


async def test_a_busy_route_does_not_keep_the_last_place_for_itself() -> None:
    """If one mailbox always has a letter waiting, another still gets its turn, in the order of coming."""
    async with world(limits=PoolLimits(max_connections=1, close_s=1)) as w:
        busy = [asyncio.create_task(w.send(message_id=f"<busy{n}@x.example>")) for n in range(3)]
        await w.server.seen("EHLO")
        other_route = replace(w.route, mailbox_id="other")
        other = asyncio.create_task(w.transport.send(other_route, letter(message_id="<other@x.example>"), w.hook))
        await asyncio.sleep(0)
        busy += [asyncio.create_task(w.send(message_id=f"<late{n}@x.example>")) for n in range(5)]
        await asyncio.gather(other, *busy)
        order = [accepted.wire.split(b"<")[1].split(b"@")[0] for accepted in w.server.letters]
        assert order.index(b"other") == 3
        assert w.server.most_open_connections == 1


async def test_many_routes_and_letters_at_once_all_come_through() -> None:
    async with world(limits=PoolLimits(max_connections=3, max_letters=4, close_s=1)) as w:
        ways = [replace(w.route, mailbox_id=f"mb-{n}", max_connections=2) for n in range(12)]
        sendings = [asyncio.create_task(w.transport.send(ways[n % 12], letter(), w.hook)) for n in range(150)]
        for victim in sendings[::7]:
            victim.cancel()
        done = await asyncio.gather(*sendings, return_exceptions=True)
        assert all(isinstance(o, asyncio.CancelledError) or (isinstance(o, Transmission) and o.accepted) for o in done)
        assert w.server.most_open_connections <= 3
        assert w.transport.numbers.waiting == 0


async def test_after_so_many_letters_a_connection_is_replaced() -> None:
    async with world(limits=PoolLimits(max_letters=2, close_s=1)) as w:
        reused = [(await w.send()).is_connection_reused for _ in range(5)]
        assert reused == [False, True, False, True, False]
        assert w.server.most_open_connections == 1


async def test_what_has_been_idle_for_too_long_is_closed_without_anybody_asking() -> None:
    monotonic = FakeMonotonic()
    async with world(monotonic=monotonic, limits=PoolLimits(max_idle_s=0.05, close_s=1)) as w:
        await w.send()
        monotonic.now_s += 1
        await w.server.seen("QUIT")
        await w.server.until(lambda: w.server.open_connections == 0)


async def test_what_is_not_idle_for_long_stays() -> None:
    monotonic = FakeMonotonic()
    async with world(monotonic=monotonic, limits=PoolLimits(max_idle_s=60, close_s=1)) as w:
        await w.send()
        monotonic.now_s += 59
        w.transport._pool.sweep()
        assert (await w.send()).is_connection_reused
        monotonic.now_s += 61
        w.transport._pool.sweep()
        assert not (await w.send()).is_connection_reused


@pytest.mark.parametrize("security", [Security.NONE, Security.STARTTLS])
@pytest.mark.parametrize(
    "act", ["421 4.4.2 idle for too long, close", "close", "reset", "421 4.4.2 idle for too long, stall"]
)
async def test_a_connection_that_died_at_rest_is_replaced_without_trouble(act: str, security: Security) -> None:
    async with world(f"once idle: {act}", security=security, opened=password()) as w:
        await w.send()
        outcome = await w.send()
        assert outcome.accepted
        assert not outcome.is_connection_reused
        assert w.server.connections == 2


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "content"])
@pytest.mark.parametrize("act", ["421 4.3.2 bye, close", "close", "reset"])
async def test_a_reused_connection_found_dead_before_the_dot_is_tried_anew_once(
    step: str, act: str, extensions: tuple[str, ...]
) -> None:
    async with world(extensions=extensions) as w:
        await w.send()
        w.server.play(f"once {step}: {act}")
        outcome = await w.send(body=b"large\r\n" * 1_000_000)
        assert outcome.accepted
        assert not outcome.is_connection_reused
        assert len(w.server.letters) == 2
        assert w.hook.times == 2


@pytest.mark.parametrize("step", ["banner", "ehlo", "mail", "rcpt", "data"])
@pytest.mark.parametrize("act", ["421 4.3.2 bye, close", "421 4.3.2 bye, stall", "close"])
async def test_a_new_connection_that_the_server_ends_is_tried_once_more_at_once(step: str, act: str) -> None:
    """If a server that restarts ends a connection, then the letter still leaves, without waiting half a minute."""
    async with world(f"once {step}: {act}") as w:
        assert (await w.send()).accepted
        assert w.server.connections == 2
        assert len(w.server.letters) == w.hook.times == 1


@pytest.mark.parametrize("step", ["banner", "ehlo", "mail"])
async def test_a_second_new_connection_that_ends_is_the_result(step: str) -> None:
    async with world(f"{step}: 421 4.3.2 bye, close") as w:
        assert (await w.send()).refused[RECIPIENT].reply == Reply(421, "4.3.2", "bye")
        assert w.server.connections == 2


async def test_an_old_connection_that_ends_is_nobodys_failure_and_a_new_one_is_tried_twice() -> None:
    async with world() as w:
        await w.send()
        w.server.play("mail: 421 4.3.2 bye, close")
        outcome = await w.send()
        assert outcome.refused[RECIPIENT].phase is Phase.MAIL
        assert w.server.connections == 3


async def test_421_to_a_sign_in_is_not_tried_again_at_once() -> None:
    """If it is a sign-in that the server ends, then another one at once would count as a second failure."""
    async with world("auth: 421 4.7.0 too many errors, close", opened=password()) as w:
        assert (await w.send()).refused[RECIPIENT].phase is Phase.AUTH
        assert w.server.connections == 1


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelined", "one by one"])
@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("mail", "451 Requested action aborted|Mails per session limit"),
        ("mail", "452 4.4.5 Maximum number of messages per session exceeded."),
        ("mail", "450 4.3.0 no reason at all"),
        ("rcpt", "451 4.7.0 too many messages in this connection"),
        ("data", "452 4.4.5 Maximum number of messages per session exceeded."),
        ("mail", "550 5.7.0 too many messages for this session"),
    ],
)
async def test_a_server_that_takes_no_more_letters_over_a_connection_gets_the_next_over_another(
    step: str, reply: str, extensions: tuple[str, ...]
) -> None:
    async with world(extensions=extensions) as w:
        await w.send()
        w.server.play(f"once {step}: {reply}")
        assert (await w.send()).accepted
        assert w.server.connections == 2
        assert len(w.server.letters) == 2


async def test_a_new_connection_that_takes_no_letter_is_the_result() -> None:
    async with world("mail: 452 4.4.5 Maximum number of messages per session exceeded.") as w:
        assert (await w.send()).refused[RECIPIENT].reply
        assert w.server.connections == 1


@pytest.mark.parametrize("reply", ["550 5.7.1 no", "450 4.7.0 too fast, slow down", "452 4.7.1 hourly limit exceeded"])
async def test_a_refusal_of_the_letter_or_a_limit_of_the_mailbox_is_no_reason_to_try_anew(reply: str) -> None:
    async with world() as w:
        await w.send()
        w.server.play(f"mail: {reply}")
        assert (await w.send()).refused
        assert w.server.connections == 1


async def test_after_the_dot_nothing_is_tried_anew() -> None:
    """If a reused connection breaks after the final dot, the letter may have been accepted: no second one."""
    async with world() as w:
        await w.send()
        w.server.play("once dot: accept, close")
        assert (await w.send()).uncertain
        assert w.hook.times == 2
        assert len(w.server.letters) == 2


async def test_closing_says_quit() -> None:
    async with world() as w:
        await w.send()
        await w.transport.close()
        assert w.server.verbs()[-1] == "QUIT"
        assert w.transport.numbers.open == 0


@pytest.mark.parametrize("answer", ["250 2.0.0 resetting", "502 5.5.1 no such command", "close", "garbage"])
async def test_whatever_quit_is_answered_the_letter_before_it_stays_accepted(answer: str) -> None:
    """If a server ends a session in a way of its own, then nothing is sent again for it."""
    async with world(f"quit: {answer}") as w:
        assert (await w.send()).accepted
        await w.transport.close()
        assert len(w.server.letters) == 1
        assert w.server.verbs().count("QUIT") == 1


async def test_closing_does_not_wait_for_a_server_that_does_not_answer_quit() -> None:
    async with world("quit: stall", timeouts=hasty("quit_s")) as w:
        await w.send()
        await w.transport.close()
        assert w.transport.numbers.open == 0


async def test_closing_refuses_who_waits_and_cuts_off_who_takes_too_long() -> None:
    async with world("mail: stall", limits=PoolLimits(close_s=0.05)) as w:
        first, second = asyncio.create_task(w.send()), asyncio.create_task(w.send())
        await w.server.seen("MAIL")
        await w.transport.close()
        assert (await second).refused[RECIPIENT].phase is Phase.CONNECT
        assert (await first).refused[RECIPIENT].fault is FailureKind.DISCONNECTED
        assert (await w.send()).refused[RECIPIENT].phase is Phase.CONNECT


async def test_a_connection_that_opens_while_the_pool_closes_carries_no_letter() -> None:
    async with world("banner: hold, proceed", limits=PoolLimits(close_s=0.05)) as w:
        sending = asyncio.create_task(w.send())
        await w.server.until(lambda: w.server.connections == 1)
        await w.transport.close()
        w.server.release.set()
        assert (await sending).refused[RECIPIENT].phase is Phase.CONNECT
        assert "MAIL" not in w.server.verbs()


async def test_a_new_snapshot_with_the_same_settings_keeps_the_connections() -> None:
    async with world() as w:
        await w.send()
        same = replace(w.route, smtp=w.route.smtp.model_copy(deep=True))
        assert (await w.transport.send(same, letter(), w.hook)).is_connection_reused


async def test_of_one_accounts_connections_only_its_share_is_kept() -> None:
    """If an account has many mailboxes, then its connections at rest do not fill the pool for the others."""
    async with world(limits=PoolLimits(max_connections=8, max_of_account=2)) as w:
        for number in range(6):
            route = replace(w.route, mailbox_id=f"mb-{number}")
            assert (await w.transport.send(route, letter(), w.hook)).accepted
        await w.server.until(lambda: w.server.open_connections == 2)
        assert w.transport.numbers.idle == 2
