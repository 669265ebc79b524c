"""One letter on an open session: who was accepted, who was refused, and when nobody knows."""

import asyncio
import time
from dataclasses import replace

import pytest

from tests.doubles.smtp import EXTENSIONS, EXTENSIONS_WITHOUT_PIPELINING, Hook, hasty, letter, world
from worker.domain.transmission import FailureKind, Transmission
from worker.domain.vocabulary import Phase

A, B, C = "a@example.net", "b@example.net", "c@example.net"

both_ways = pytest.mark.parametrize(
    "extensions", [EXTENSIONS, EXTENSIONS_WITHOUT_PIPELINING], ids=["pipelined", "one by one"]
)


def codes(transmission: Transmission) -> dict[str, int | None]:
    """The reply code per refused recipient."""
    return {r: t.reply.code if t.reply else None for r, t in transmission.refused.items()}


@both_ways
async def test_a_letter_arrives_as_it_was_composed(extensions: tuple[str, ...]) -> None:
    body = b".\r\n..\r\n.x\r\n\r\n. \r\nend\r\n"
    async with world(extensions=extensions) as w:
        outcome = await w.send(A, B, body=body)
        assert set(outcome.accepted) == {A, B}
        assert (outcome.accepted[A].code, outcome.accepted[A].enhanced) == (250, "2.0.0")
        (arrived,) = w.server.letters
        assert arrived.wire == letter(body=body).wire
        assert arrived.recipients == (A, B)
        assert w.hook.letters_before == [0]


@both_ways
async def test_some_recipients_refused_the_others_get_the_letter(extensions: tuple[str, ...]) -> None:
    async with world("rcpt b@: 550 5.1.1 no such user|really not", extensions=extensions) as w:
        outcome = await w.send(A, B, C)
        assert set(outcome.accepted) == {A, C}
        refused = outcome.refused[B]
        assert (refused.phase, refused.fault) == (Phase.RCPT, FailureKind.REPLY)
        assert refused.reply is not None
        assert (refused.reply.enhanced, refused.reply.text) == ("5.1.1", "no such user really not")
        assert w.server.letters[0].recipients == (A, C)


@both_ways
async def test_all_refused_ends_with_rset_and_keeps_each_reply(extensions: tuple[str, ...]) -> None:
    async with world("rcpt a@: 550 5.1.1 no\nrcpt b@: 451 4.7.1 later", extensions=extensions) as w:
        assert codes(await w.send(A, B)) == {A: 550, B: 451}
        assert w.server.verbs()[-1] == "RSET"
        assert w.hook.times == 0
        w.server.play("")
        assert (await w.send(A)).is_connection_reused


async def test_354_although_nobody_was_accepted_is_ended_by_a_lone_dot() -> None:
    """A pipelined DATA may be granted all the same (RFC 2920); the next letter must not become this one's content."""
    script = "rcpt: 550 5.1.1 no\ndata: 354 go ahead\ndot: 554 5.5.1 no valid recipients"
    async with world(script, is_lax=True) as w:
        assert codes(await w.send(A)) == {A: 550}
        assert w.server.letters == []
        w.server.play("")
        outcome = await w.send(A)
        assert outcome.is_connection_reused
        assert outcome.accepted
        assert len(w.server.letters) == 1


async def test_recipients_accepted_without_a_sender_never_get_an_empty_letter() -> None:
    script = "mail: 451 4.3.0 not now\nrcpt: 250 2.1.5 fine\ndata: 354 go ahead"
    async with world(script, is_lax=True) as w:
        assert codes(await w.send(A)) == {A: 451}
        await w.server.until(lambda: w.server.open_connections == 0)
        assert w.server.letters == []


@both_ways
@pytest.mark.parametrize("act", ["stall", "close", "554 5.0.0 no", "raw nonsense\\r\\n"])
async def test_trouble_with_rset_does_not_mask_why_the_recipients_were_refused(
    act: str, extensions: tuple[str, ...]
) -> None:
    async with world(f"rcpt: 550 5.1.1 no\nrset: {act}", timeouts=hasty("reset_s"), extensions=extensions) as w:
        assert codes(await w.send(A)) == {A: 550}
        w.server.play("")
        outcome = await w.send(A)
        assert outcome.accepted
        assert not outcome.is_connection_reused


@both_ways
async def test_a_refused_sender_refuses_everybody_in_phase_mail(extensions: tuple[str, ...]) -> None:
    async with world("mail: 553 5.7.1 not owned by auth user", extensions=extensions) as w:
        outcome = await w.send(A, B)
        assert codes(outcome) == {A: 553, B: 553}
        assert {t.phase for t in outcome.refused.values()} == {Phase.MAIL}
        w.server.play("")
        assert (await w.send(A)).is_connection_reused


@both_ways
async def test_421_in_the_middle_of_the_recipients_goes_to_all_that_were_not_refused_before(
    extensions: tuple[str, ...],
) -> None:
    async with world("rcpt a@: 550 5.1.1 no\nrcpt c@: 421 4.3.2 bye, close", extensions=extensions) as w:
        outcome = await w.send(A, B, C)
        assert codes(outcome) == {A: 550, B: 421, C: 421}
        assert outcome.refused[B].phase is Phase.RCPT
        assert w.hook.times == 0
        assert w.transport.numbers.open == 0


@both_ways
async def test_a_refused_data_leaves_the_session_usable(extensions: tuple[str, ...]) -> None:
    async with world("once data: 451 4.3.0 not now", extensions=extensions) as w:
        outcome = await w.send(A)
        assert outcome.refused[A].phase is Phase.DATA
        assert w.server.verbs()[-1] == "RSET"
        assert (await w.send(A)).is_connection_reused


@both_ways
async def test_a_letter_refused_after_the_dot_is_refused_for_certain_and_needs_no_rset(
    extensions: tuple[str, ...],
) -> None:
    async with world("once dot: 550 5.7.1 spam", extensions=extensions) as w:
        outcome = await w.send(A, B)
        assert codes(outcome) == {A: 550, B: 550}
        assert (await w.send(A)).is_connection_reused
        assert "RSET" not in w.server.verbs()


async def test_421_after_the_dot_is_a_refusal_and_ends_the_connection() -> None:
    async with world("once dot: 421 4.3.2 bye, stall") as w:
        assert codes(await w.send(A)) == {A: 421}
        assert w.transport.numbers.open == 0


@pytest.mark.parametrize(
    ("act", "fault"),
    [
        ("accept, close", FailureKind.DISCONNECTED),
        ("accept, reset", FailureKind.DISCONNECTED),
        ("accept, half-close, stall", FailureKind.DISCONNECTED),
        ("accept, raw nonsense\\r\\n, stall", FailureKind.PROTOCOL),
        ("accept, 354 what, stall", FailureKind.PROTOCOL),
        ("accept, flood 10000000", FailureKind.PROTOCOL),
        ("accept, long-line 10000000", FailureKind.PROTOCOL),
        ("accept, raw 250-first, close", FailureKind.DISCONNECTED),
    ],
)
async def test_without_a_readable_answer_after_the_dot_nobody_knows(act: str, fault: FailureKind) -> None:
    async with world(f"rcpt b@: 550 5.1.1 no\ndot: {act}") as w:
        outcome = await w.send(A, B)
        assert codes(outcome) == {B: 550}
        assert (outcome.uncertain[A].phase, outcome.uncertain[A].fault) == (Phase.DATA, fault)
        assert w.transport.numbers.open == 0


async def test_no_answer_in_time_after_the_dot_is_uncertain_too() -> None:
    async with world("dot: accept, stall", timeouts=hasty("answer_s")) as w:
        assert (await w.send(A)).uncertain[A].fault is FailureKind.TIMEOUT


@both_ways
@pytest.mark.parametrize(
    ("step", "phase"), [("mail", Phase.MAIL), ("rcpt", Phase.RCPT), ("data", Phase.DATA), ("content", Phase.DATA)]
)
@pytest.mark.parametrize("act", ["close", "reset", "half-close, stall", "raw nonsense\\r\\n, stall"])
async def test_trouble_before_the_dot_is_certain(
    step: str, phase: Phase, act: str, extensions: tuple[str, ...]
) -> None:
    async with world(f"{step}: {act}", extensions=extensions) as w:
        outcome = await w.send(A, B, body=b"x" * 998 + b"\r\n" + b"large\r\n" * 2_000_000)
        assert not outcome.accepted
        assert not outcome.uncertain
        assert {t.phase for t in outcome.refused.values()} == {phase}
        assert w.hook.times == 0
        assert w.server.letters == []


@both_ways
@pytest.mark.parametrize(
    ("step", "limit"), [("mail", "mail_s"), ("rcpt", "rcpt_s"), ("data", "data_s"), ("content", "upload_s")]
)
async def test_each_step_has_its_timeout(step: str, limit: str, extensions: tuple[str, ...]) -> None:
    async with world(f"{step}: delay 30", timeouts=hasty(limit), extensions=extensions) as w:
        outcome = await w.send(A, body=b"large\r\n" * 3_000_000 if step == "content" else b"small\r\n")
        assert outcome.refused[A].fault is FailureKind.TIMEOUT


async def test_a_server_that_drips_its_replies_does_not_hold_a_letter_for_ever() -> None:
    async with world("rcpt: delay 0.02, 250 ok", timeouts=hasty("letter_s", 0.3), extensions=()) as w:
        outcome = await w.send(*(f"r{n}@example.net" for n in range(100)))
        assert len(outcome.refused) == 100
        assert {t.fault for t in outcome.refused.values()} == {FailureKind.TIMEOUT}
        assert w.transport.numbers.open == 0


async def test_a_verdict_in_the_middle_of_the_content_is_a_refusal_in_the_servers_words() -> None:
    """A server that has enough of a letter says so and reads no further."""
    async with world("content: read 1000, 552 5.3.4 too big, delay 30") as w:
        outcome = await w.send(A, body=b"large\r\n" * 3_000_000)
        assert codes(outcome) == {A: 552}
        assert w.hook.times == 0


async def test_a_verdict_before_the_server_hangs_up_in_the_content_is_not_lost() -> None:
    async with world("content: read 1000, 552 5.3.4 too big, close") as w:
        outcome = await w.send(A, body=b"large\r\n" * 3_000_000)
        assert outcome.refused[A].phase is Phase.DATA
        assert not outcome.uncertain


async def test_if_the_hook_raises_the_dot_is_never_written() -> None:
    async with world() as w:
        hook = Hook(error=RuntimeError("lost claim"))
        with pytest.raises(RuntimeError, match="lost claim"):
            await w.transport.send(w.route, letter(A), hook)
        await w.server.until(lambda: w.server.open_connections == 0)
        assert w.server.letters == []
        assert "." not in w.server.verbs()
        assert w.transport.numbers.open == 0


async def test_a_timeout_of_the_hook_itself_is_not_taken_for_the_servers() -> None:
    async with world() as w:
        with pytest.raises(TimeoutError, match="ledger"):
            await w.transport.send(w.route, letter(A), Hook(error=TimeoutError("ledger")))


async def test_a_server_that_leaves_during_the_hook_has_not_accepted() -> None:
    """If the connection is seen to be gone before the dot is written, nothing is uncertain."""
    async with world("content: read 1, reset") as w:

        async def hook(_: object) -> None:
            await w.server.until(lambda: w.server.open_connections == 0)
            for _ in range(10):
                await asyncio.sleep(0)  # the loop's turns in which the reset is read

        outcome = await w.transport.send(w.route, letter(A), hook)
        assert outcome.refused[A].fault is FailureKind.DISCONNECTED


async def test_size_is_compared_with_the_letter_before_mail() -> None:
    async with world(extensions=("SIZE 200",)) as w:
        outcome = await w.send(A, body=b"x\r\n" * 100)
        assert (outcome.refused[A].phase, outcome.refused[A].fault) == (Phase.MAIL, FailureKind.TOO_LARGE)
        assert "MAIL" not in w.server.verbs()
        assert (await w.send(A)).is_connection_reused


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE lots", "SIZE " + "9" * 5_000, "SIZE ٣"])
async def test_a_size_that_says_nothing_limits_nothing(size: str) -> None:
    async with world(extensions=(size,)) as w:
        assert (await w.send(A)).accepted


async def test_mail_has_only_the_parameters_that_were_offered() -> None:
    eight_bit = "Привет\r\n".encode()
    async with world() as w:
        await w.send(A, body=eight_bit)
        size = len(letter(A, body=eight_bit).wire)
        assert w.server.commands[1].line == f"MAIL FROM:<support@acme.example> SIZE={size} BODY=8BITMIME"
        await w.send(A)
        assert w.server.commands[5].line == f"MAIL FROM:<support@acme.example> SIZE={len(letter(A).wire)}"
    async with world(extensions=()) as w:
        await w.send(A, body=eight_bit)
        assert w.server.commands[1].line == "MAIL FROM:<support@acme.example>"


@pytest.mark.parametrize("recipient", ["клиент@example.net", A])
async def test_smtputf8_is_wanted_where_an_address_or_the_letter_needs_it(recipient: str) -> None:
    async with world(extensions=("8BITMIME",)) as w:
        outcome = await w.send(recipient, needs_smtputf8=recipient == A)
        assert (outcome.refused[recipient].phase, outcome.refused[recipient].fault) == (
            Phase.MAIL,
            FailureKind.NO_SMTPUTF8,
        )
        assert "MAIL" not in w.server.verbs()
    async with world(extensions=("8BITMIME", "SMTPUTF8")) as w:
        assert (await w.send(recipient, needs_smtputf8=recipient == A)).accepted
        assert "SMTPUTF8 BODY=8BITMIME" in w.server.commands[1].line


async def test_a_domain_that_is_not_ascii_goes_out_in_ascii_and_comes_back_as_it_was_written() -> None:
    async with world(extensions=()) as w:
        assert set((await w.send("client@пример.рф")).accepted) == {"client@пример.рф"}
        assert w.server.letters[0].recipients == ("client@xn--e1afmkfd.xn--p1ai",)


@pytest.mark.parametrize(
    "wrong",
    [
        letter("a@example.net>\r\nRCPT TO:<b@example.net"),
        letter(A, sender="a b@example.net"),
        letter(A, body=b"bare\n.\n feed\r\n"),
        letter(A, body=b"bare\r.\r return\r\n"),
        letter(A, body=b"no end"),
    ],
    ids=["recipient", "sender", "bare LF", "bare CR", "no last CRLF"],
)
async def test_a_letter_that_could_smuggle_commands_is_refused_before_anything_is_sent(wrong: object) -> None:
    async with world() as w:
        with pytest.raises(ValueError, match=r".+"):
            await w.transport.send(w.route, wrong, w.hook)  # type: ignore[arg-type] # letters by construction
        assert w.server.connections == 0


async def test_a_letter_without_recipients_is_the_callers_mistake() -> None:
    async with world() as w:
        with pytest.raises(ValueError, match="recipient"):
            await w.transport.send(w.route, replace(letter(A), envelope_to=()), w.hook)


async def test_a_large_letter_lets_others_run() -> None:
    """If 25 MB go out at once, the event loop must still turn many times meanwhile, never blocked for long."""
    async with world() as w:
        gaps: list[float] = []
        sending = asyncio.create_task(w.send(A, body=(b"x" * 76 + b"\r\n") * 320_000))
        last = time.perf_counter()
        while not sending.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
        assert (await sending).accepted
        assert len(gaps) > 300


async def test_replies_in_pieces_and_of_many_lines_are_whole() -> None:
    script = "mail: pieces 1 250 2.1.0 one|2.1.0 two\nrcpt: pieces 3 250 ok\ndot: accept, pieces 2 250 2.0.0 a|2.0.0 b"
    async with world(script, extensions=()) as w:
        outcome = await w.send(A)
        assert (outcome.accepted[A].enhanced, outcome.accepted[A].text) == ("2.0.0", "a b")


@both_ways
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
async def test_a_reply_too_many_never_answers_the_next_command(step: str, extensions: tuple[str, ...]) -> None:
    """A stray 250 must not be taken for the server's word on the next letter."""
    code = "354 go" if step == "data" else "250 ok"
    accept = "accept, " if step == "dot" else ""
    async with world(f"once {step}: {accept}raw {code}\\r\\n250 stray\\r\\n", extensions=extensions) as w:
        await w.send(A)
        w.server.play("rcpt: 550 5.1.1 no")
        second = await w.send(B)
        assert codes(second) == {B: 550}
        assert not second.is_connection_reused
