"""A mail transport without a network; passes the same contract suite as the real one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from worker.delivery.ports import BeforeFinalDot, Route
from worker.domain.letter.model import ComposedLetter
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply, Transmission
from worker.domain.vocabulary import Phase

OK = Reply(250, "2.0.0", "queued")

_PHASES = (Phase.CONNECT, Phase.GREETING, Phase.TLS, Phase.AUTH, Phase.MAIL, Phase.RCPT, Phase.DATA)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A letter that a server accepted for these recipients."""

    route: Route
    letter: ComposedLetter
    recipients: tuple[str, ...]


@dataclass(slots=True)
class _Plan:
    trouble: DeliveryFailure
    fits: Callable[[Route, str], bool]
    is_after_dot: bool
    times: int | None

    def take(self, route: Route, recipient: str, is_after_dot: bool) -> bool:
        return self.times != 0 and self.is_after_dot == is_after_dot and self.fits(route, recipient)


class FakeMailTransport:
    """Accepts everything until scripted otherwise.

    `delivered` holds accepted letters, `attempts` every letter passed in. `pause_before_dot` and `pause_after_dot` hold
    letters there until set; `before_dot` and `after_dot` signal that one has arrived. `reply` answers accepted letters.
    """

    def __init__(self) -> None:
        self.delivered: list[Delivered] = []
        self.attempts: list[tuple[Route, ComposedLetter]] = []
        self.closed_idle: list[tuple[str, str, int]] = []
        self.is_closed = False
        self.reply = OK
        self.pause_before_dot, self.pause_after_dot = asyncio.Event(), asyncio.Event()
        self.pause_before_dot.set()
        self.pause_after_dot.set()
        self.before_dot, self.after_dot = asyncio.Event(), asyncio.Event()
        self._plans: list[_Plan] = []

    def refuse(
        self,
        trouble: DeliveryFailure,
        *,
        recipient: str | None = None,
        mailbox_id: str | None = None,
        times: int | None = None,
    ) -> None:
        """Fail like this from now on, for one recipient or all, one mailbox or all, for a number of letters or always.

        A DeliveryFailure in phase data with a reply comes after the final dot; any other before it.
        """
        is_verdict = trouble.phase is Phase.DATA and trouble.fault is FailureKind.REPLY
        self._plans.append(_Plan(trouble, _fitting(recipient, mailbox_id), is_verdict, times))

    def lose_answer(
        self, fault: FailureKind = FailureKind.DISCONNECTED, *, mailbox_id: str | None = None, times: int | None = None
    ) -> None:
        """From now on accept the letter, but do not answer after the final dot."""
        trouble = DeliveryFailure(Phase.DATA, fault, detail="no answer")
        self._plans.append(_Plan(trouble, _fitting(None, mailbox_id), True, times))

    def recover(self) -> None:
        """Accept everything again."""
        self._plans.clear()

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        """See `MailTransport.send`; fails as scripted."""
        self.attempts.append((route, letter))
        if not letter.envelope_to:
            raise ValueError("the letter has no recipient")
        recipients = tuple(dict.fromkeys(letter.envelope_to))
        refused = self._troubles(route, recipients, is_after_dot=False)
        taken = tuple(recipient for recipient in recipients if recipient not in refused)
        if not taken:
            return Transmission(refused=refused, timings_s={"connect": 0.0})
        self.before_dot.set()
        await self.pause_before_dot.wait()
        await before_final_dot(taken)
        self.after_dot.set()
        await _uninterrupted(self.pause_after_dot)
        return self._answered(route, letter, taken, refused)

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None:
        """Do nothing but record the call: there are no connections to keep."""
        self.closed_idle.append((account_id, mailbox_id, keep))

    async def close(self) -> None:
        """Record the call."""
        self.is_closed = True

    def _answered(
        self, route: Route, letter: ComposedLetter, taken: tuple[str, ...], refused: dict[str, DeliveryFailure]
    ) -> Transmission:
        timings_s = {"connect": 0.0, "mail": 0.0, "data": 0.0}
        verdicts = self._troubles(route, taken, is_after_dot=True)
        if any(trouble.fault is FailureKind.REPLY for trouble in verdicts.values()):
            return Transmission(refused={**refused, **verdicts}, timings_s=timings_s)
        self.delivered.append(Delivered(route, letter, taken))
        if verdicts:
            return Transmission(refused=refused, uncertain=verdicts, timings_s=timings_s)
        return Transmission(accepted=dict.fromkeys(taken, self.reply), refused=refused, timings_s=timings_s)

    def _troubles(self, route: Route, recipients: tuple[str, ...], *, is_after_dot: bool) -> dict[str, DeliveryFailure]:
        """Each recipient's failure; one that ends the session or the letter applies to all others too."""
        found: dict[str, DeliveryFailure] = {}
        for plan in sorted(self._plans, key=lambda plan: _PHASES.index(plan.trouble.phase)):
            hit = [r for r in recipients if r not in found and plan.take(route, r, is_after_dot)]
            if not hit:
                continue
            if plan.times is not None:
                plan.times -= 1
            is_everybodys = plan.trouble.phase is not Phase.RCPT or plan.trouble.fault is not FailureKind.REPLY
            for recipient in recipients if is_everybodys else hit:
                found.setdefault(recipient, plan.trouble)
        return found


def _fitting(recipient: str | None, mailbox_id: str | None) -> Callable[[Route, str], bool]:
    def fits(route: Route, candidate: str) -> bool:
        return recipient in (None, candidate) and mailbox_id in (None, route.mailbox_id)

    return fits


async def _uninterrupted(event: asyncio.Event) -> None:
    """Wait despite cancellation, as after a final dot."""
    waiting = asyncio.ensure_future(event.wait())
    while not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            continue  # the caller gets the outcome instead
