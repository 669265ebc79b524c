"""What every mail transport does: the double of the fast tests and the real one pass the same suite."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol

import pytest

from tests.doubles.mail_transport import FakeMailTransport
from tests.doubles.smtp import Hook, World, letter, route, world
from worker.delivery.ports import MailTransport, Route
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply, Transmission
from worker.domain.vocabulary import Phase

A, B, C = "a@example.net", "b@example.net", "c@example.net"


class Rig(Protocol):
    """A transport, and a server's behaviour behind it."""

    transport: MailTransport
    route: Route

    def refuse_recipient(self, recipient: str) -> None: ...

    def refuse_sender(self) -> None: ...

    def refuse_letter(self) -> None: ...

    def hang_up_before_data(self) -> None: ...

    def lose_answer(self) -> None: ...

    def recover(self) -> None: ...

    def hold_answer(self) -> None: ...

    async def handed_over(self) -> None: ...

    def release_answer(self) -> None: ...

    def delivered(self) -> list[tuple[str, ...]]: ...


class FakeRig:
    """The double."""

    def __init__(self) -> None:
        self.fake = FakeMailTransport()
        self.transport: MailTransport = self.fake
        self.route = route(25)

    def refuse_recipient(self, recipient: str) -> None:
        trouble = DeliveryFailure(Phase.RCPT, FailureKind.REPLY, Reply(550, "5.1.1", "no such user"))
        self.fake.refuse(trouble, recipient=recipient)

    def refuse_sender(self) -> None:
        self.fake.refuse(DeliveryFailure(Phase.MAIL, FailureKind.REPLY, Reply(553, "5.7.1", "not yours")))

    def refuse_letter(self) -> None:
        self.fake.refuse(DeliveryFailure(Phase.DATA, FailureKind.REPLY, Reply(554, "5.7.1", "spam")))

    def hang_up_before_data(self) -> None:
        self.fake.refuse(DeliveryFailure(Phase.DATA, FailureKind.DISCONNECTED))

    def lose_answer(self) -> None:
        self.fake.lose_answer()

    def recover(self) -> None:
        self.fake.recover()

    def hold_answer(self) -> None:
        self.fake.pause_after_dot.clear()

    async def handed_over(self) -> None:
        await self.fake.after_dot.wait()

    def release_answer(self) -> None:
        self.fake.pause_after_dot.set()

    def delivered(self) -> list[tuple[str, ...]]:
        return [delivered.recipients for delivered in self.fake.delivered]


class RealRig:
    """The adapter, against a scripted server."""

    def __init__(self, w: World) -> None:
        self.transport: MailTransport = w.transport
        self.route = w.route
        self._server = w.server

    def refuse_recipient(self, recipient: str) -> None:
        self._server.play(f"rcpt {recipient}: 550 5.1.1 no such user")

    def refuse_sender(self) -> None:
        self._server.play("mail: 553 5.7.1 not yours")

    def refuse_letter(self) -> None:
        self._server.play("dot: 554 5.7.1 spam")

    def hang_up_before_data(self) -> None:
        self._server.play("data: close")

    def lose_answer(self) -> None:
        self._server.play("dot: accept, close")

    def recover(self) -> None:
        self._server.play("")

    def hold_answer(self) -> None:
        self._server.play("dot: hold, proceed")

    async def handed_over(self) -> None:
        await self._server.seen(".")

    def release_answer(self) -> None:
        self._server.release.set()

    def delivered(self) -> list[tuple[str, ...]]:
        return [accepted.recipients for accepted in self._server.letters]


@pytest.fixture(params=["double", "pipelined", "one by one"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "double":
        yield FakeRig()
        return
    async with world(extensions=("PIPELINING",) if request.param == "pipelined" else ()) as w:
        yield RealRig(w)


def stands_once(outcome: Transmission, *recipients: str) -> None:
    """Every recipient stands in exactly one of the mappings, and nobody else does."""
    standing = [*outcome.accepted, *outcome.refused, *outcome.uncertain]
    assert sorted(standing) == sorted(recipients)


async def test_an_accepted_letter_is_accepted_for_all(rig: Rig) -> None:
    hook = Hook()
    outcome = await rig.transport.send(rig.route, letter(A, B), hook)
    stands_once(outcome, A, B)
    assert outcome.accepted[A].code == outcome.accepted[B].code == 250
    assert hook.times == 1
    assert rig.delivered() == [(A, B)]


async def test_a_refused_recipient_is_refused_alone(rig: Rig) -> None:
    rig.refuse_recipient(B)
    hook = Hook()
    outcome = await rig.transport.send(rig.route, letter(A, B, C), hook)
    stands_once(outcome, A, B, C)
    reply = outcome.refused[B].reply
    assert outcome.refused[B].phase is Phase.RCPT
    assert reply is not None
    assert (reply.code, reply.enhanced) == (550, "5.1.1")
    assert set(outcome.accepted) == {A, C}
    assert (hook.times, hook.accepted) == (1, (A, C))


async def test_with_nobody_accepted_the_hook_is_not_called(rig: Rig) -> None:
    rig.refuse_recipient(A)
    hook = Hook()
    outcome = await rig.transport.send(rig.route, letter(A), hook)
    stands_once(outcome, A)
    assert set(outcome.refused) == {A}
    assert hook.times == 0
    assert rig.delivered() == []


async def test_a_refused_sender_is_everybodys_trouble_in_phase_mail(rig: Rig) -> None:
    rig.refuse_sender()
    hook = Hook()
    outcome = await rig.transport.send(rig.route, letter(A, B), hook)
    assert {(r, t.phase, t.fault) for r, t in outcome.refused.items()} == {
        (A, Phase.MAIL, FailureKind.REPLY),
        (B, Phase.MAIL, FailureKind.REPLY),
    }
    assert hook.times == 0


async def test_a_letter_refused_after_the_dot_is_refused_for_certain(rig: Rig) -> None:
    rig.refuse_letter()
    hook = Hook()
    outcome = await rig.transport.send(rig.route, letter(A, B), hook)
    stands_once(outcome, A, B)
    assert {t.phase for t in outcome.refused.values()} == {Phase.DATA}
    assert hook.times == 1
    assert rig.delivered() == []


async def test_a_server_that_hangs_up_before_the_dot_has_not_accepted(rig: Rig) -> None:
    rig.hang_up_before_data()
    hook = Hook()
    outcome = await rig.transport.send(rig.route, letter(A), hook)
    assert outcome.refused[A].fault is FailureKind.DISCONNECTED
    assert hook.times == 0


async def test_a_lost_answer_leaves_the_outcome_uncertain(rig: Rig) -> None:
    rig.lose_answer()
    hook = Hook()
    outcome = await rig.transport.send(rig.route, letter(A, B), hook)
    stands_once(outcome, A, B)
    assert set(outcome.uncertain) == {A, B}
    assert outcome.uncertain[A].phase is Phase.DATA
    assert hook.times == 1


async def test_if_the_hook_raises_nothing_is_sent_and_the_error_passes_on(rig: Rig) -> None:
    with pytest.raises(LookupError, match="lost"):
        await rig.transport.send(rig.route, letter(A), Hook(error=LookupError("lost")))
    assert rig.delivered() == []
    assert (await rig.transport.send(rig.route, letter(A), Hook())).accepted


async def test_after_trouble_the_next_letter_goes_out(rig: Rig) -> None:
    rig.lose_answer()
    await rig.transport.send(rig.route, letter(A), Hook())
    rig.recover()
    assert set((await rig.transport.send(rig.route, letter(B), Hook())).accepted) == {B}


async def test_cancelled_before_the_dot_nothing_is_sent(rig: Rig) -> None:
    reached = asyncio.Event()

    async def hook(_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    sending = asyncio.create_task(rig.transport.send(rig.route, letter(A), hook))
    await reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert rig.delivered() == []


async def test_cancelled_after_the_dot_the_outcome_is_still_returned(rig: Rig) -> None:
    rig.hold_answer()
    sending = asyncio.create_task(rig.transport.send(rig.route, letter(A), Hook()))
    await rig.handed_over()
    sending.cancel()
    await asyncio.sleep(0)
    assert not sending.done()
    rig.release_answer()
    assert set((await sending).accepted) == {A}


async def test_recipients_named_twice_stand_once(rig: Rig) -> None:
    stands_once(await rig.transport.send(rig.route, letter(A, A), Hook()), A)


async def test_a_letter_without_recipients_is_the_callers_mistake(rig: Rig) -> None:
    with pytest.raises(ValueError, match="recipient"):
        await rig.transport.send(rig.route, replace(letter(A), envelope_to=()), Hook())


async def test_it_can_be_closed_more_than_once(rig: Rig) -> None:
    await rig.transport.send(rig.route, letter(A), Hook())
    await rig.transport.close()
    await rig.transport.close()
