"""If a letter is cancelled anywhere, no later letter ever gets its reply, and after the dot the outcome is not lost."""

import asyncio
from itertools import count

import pytest

from tests.doubles.smtp import EXTENSIONS, RECIPIENT, World, letter, password, world
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import Security


async def _send_and_cancel(w: World, turns: int) -> tuple[Transmission | None, bool]:
    """Send, and cancel after so many turns of the event loop: the outcome (None when the cancellation passed on),
    and whether the letter was through before."""
    sending = asyncio.create_task(w.send("first@example.net"))
    for _ in range(turns):
        await asyncio.sleep(0)
        if sending.done():
            break
    was_through = not sending.cancel()
    try:
        return await sending, was_through
    except asyncio.CancelledError:
        return None, was_through


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("is_warm", [True, False])
async def test_at_every_turn_of_the_loop_a_cancelled_letter_leaves_nothing_behind(
    is_warm: bool, extensions: tuple[str, ...]
) -> None:
    """Each await point is met by some number of turns; the run ends when a letter is through before its turn."""
    for turns in count():
        async with world(extensions=extensions) as w:
            if is_warm:
                await w.send("warm@example.net")
            before = len(w.server.letters)
            cancelled, was_through = await _send_and_cancel(w, turns)
            if cancelled is not None:
                assert "first@example.net" in cancelled.accepted
                assert len(w.server.letters) == before + 1
            w.server.play("rcpt second@: 550 5.1.1 second is unknown\nmail: 250 2.1.0 ok\nrcpt third@: 250 ok")
            second = await w.send("second@example.net", "third@example.net")
            assert set(second.accepted) == {"third@example.net"}
            refused = second.refused["second@example.net"].reply
            assert refused is not None
            assert refused.text == "second is unknown"
            assert w.server.letters[-1].recipients == ("third@example.net",)
            numbers = w.transport.numbers
            assert (numbers.open, numbers.waiting) == (1, 0)
        if was_through:
            return


@pytest.mark.parametrize("step", ["banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "content"])
async def test_a_letter_cancelled_while_the_server_is_silent_ends_its_connection(step: str) -> None:
    async with world(f"{step}: stall", security=Security.STARTTLS, opened=password()) as w:
        sending = asyncio.create_task(w.send(body=b"large\r\n" * 1_000_000))
        verb = {"banner": None, "content": "DATA"}.get(step, step.upper())
        await (w.server.seen(verb) if verb else w.server.until(lambda: w.server.connections == 1))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await w.server.until(lambda: w.server.open_connections == 0)
        assert w.transport.numbers.open == 0
        w.server.play("")
        assert (await w.send()).accepted


async def test_a_letter_cancelled_during_the_hook_is_not_sent() -> None:
    async with world() as w:
        reached = asyncio.Event()

        async def hook(_: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        sending = asyncio.create_task(w.transport.send(w.route, letter(), hook))
        await reached.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await w.server.until(lambda: w.server.open_connections == 0)
        assert w.server.letters == []


@pytest.mark.parametrize(("answer", "is_accepted"), [("accept, delay 0.05, 250 2.0.0 ok", True), ("stall", False)])
async def test_after_the_dot_a_cancelled_letter_still_brings_its_outcome(answer: str, is_accepted: bool) -> None:
    """If the worker is told to stop just after the dot, the letter must not be lost track of."""
    async with world(f"dot: {answer}") as w:
        sending = asyncio.create_task(w.send())
        await w.server.seen(".")
        sending.cancel()
        await asyncio.sleep(0)
        sending.cancel()
        if not is_accepted:
            await w.server.close()
        outcome = await sending
        assert bool(outcome.accepted) == is_accepted
        assert bool(outcome.uncertain) != is_accepted
        assert sending.cancelling() == 2


async def test_a_timeout_around_a_letter_after_its_dot_does_not_hide_the_outcome() -> None:
    async with world("dot: accept, delay 0.1, 250 2.0.0 ok") as w:
        async with asyncio.timeout(None) as limit:
            sending = asyncio.create_task(w.server.seen("."))
            sending.add_done_callback(lambda _: limit.reschedule(asyncio.get_running_loop().time()))
            outcome = await w.send()
        assert outcome.accepted[RECIPIENT].code == 250
