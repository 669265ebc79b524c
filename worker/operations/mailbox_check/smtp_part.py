"""The SMTP part of a check: from the server's name to a test letter."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.domain.hints import hint_for
from worker.domain.hosts import IpAddress
from worker.domain.inspection import SmtpOffer, TlsFacts
from worker.domain.letters import ComposedLetter
from worker.domain.results import server_reply
from worker.domain.snapshot import NoAuth
from worker.domain.transmission import Reply, Transmission, Trouble
from worker.domain.vocabulary import Reason, Scope, Security
from worker.operations.mailbox_check.connecting import counted, is_worth_another_way, other_smtp_way, tls_step
from worker.operations.mailbox_check.explaining import SIGN_IN_REASONS, judge_smtp, smtp_facts
from worker.operations.mailbox_check.letter import compose_test_letter
from worker.operations.mailbox_check.part import Part
from worker.operations.mailbox_check.ports import SmtpVisit, Visitors
from worker.operations.mailbox_check.subject import Subject
from worker.operations.mailbox_check.texts import offers_no_tls

_ENTRANCE = frozenset({"connect", "tls", "greeting"})
_MEETING = {
    Security.TLS: ("tls", "greeting"),
    Security.STARTTLS: ("greeting", "tls"),
    Security.NONE: ("greeting",),
}


@dataclass(slots=True)
class SmtpFindings:
    """What the other parts go on with."""

    addresses: tuple[IpAddress, ...] = ()
    is_sign_in_refused: bool = False
    test_letter: ComposedLetter | None = None  # that the server took


def smtp_steps(subject: Subject) -> dict[str, bool]:
    """The names of the steps in the order in which they happen, and which of them are required."""
    meeting = _MEETING[subject.mailbox.smtp.security]
    return dict.fromkeys(("dns", "connect", *meeting, "capabilities", "auth", "sender", "test_letter"), True)


class SmtpPart:
    """Takes the steps, and notes each in the part."""

    def __init__(self, part: Part, subject: Subject, visitors: Visitors, now: Callable[[], datetime]) -> None:
        self._part = part
        self._subject = subject
        self._visitors = visitors
        self._now = now
        self.findings = SmtpFindings()
        self._is_without_tls = False

    async def run(self) -> None:
        """All steps, as far as they come."""
        async with self._visitors.smtp(self._subject.route, is_trusted=self._subject.is_trusted) as visit:
            if await self._enter(visit) and await self._sign_in(visit):
                await self._propose(visit)
                await self._send_test(visit)
        await self._look_for_another_way()

    async def _enter(self, visit: SmtpVisit) -> bool:
        part = self._part
        part.begin("dns")
        resolved = await visit.resolve()
        if isinstance(resolved, Trouble):
            return self._fail(resolved)
        self.findings.addresses = resolved.addresses
        part.passed(detail=counted(resolved))
        part.begin("connect")
        if (trouble := await visit.connect()) is not None:
            return self._fail(trouble)
        part.passed()
        for name in _MEETING[self._subject.mailbox.smtp.security]:
            if not await self._meet(visit, name):
                return False
        part.begin("capabilities")
        part.passed(detail=_offered(visit.offer()))
        return True

    async def _meet(self, visit: SmtpVisit, name: str) -> bool:
        self._part.begin(name)
        met: TlsFacts | str | Trouble = await (visit.secure() if name == "tls" else visit.greet())
        if isinstance(met, Trouble):
            is_greeted = name == "tls" and self._subject.mailbox.smtp.security is Security.STARTTLS
            self._is_without_tls = is_greeted and "starttls" not in visit.offer().extensions
            return self._fail(met)
        if isinstance(met, TlsFacts):
            self._part.passed(**tls_step(met, self._now()))
        else:
            self._part.passed(reply=server_reply(Reply(220, None, met)))
        return True

    async def _sign_in(self, visit: SmtpVisit) -> bool:
        self._part.begin("auth")
        trouble = await visit.sign_in()
        if trouble is not None:
            self.findings.is_sign_in_refused = judge_smtp(trouble, self._subject.provider).reason in SIGN_IN_REASONS
            return self._fail(trouble)
        is_without = isinstance(self._subject.mailbox.smtp.auth, NoAuth)
        self._part.passed(detail="no sign-in is configured" if is_without else None)
        return True

    async def _propose(self, visit: SmtpVisit) -> None:
        """A refusal that concerns the mailbox's own address as a recipient says nothing of it as a sender."""
        self._part.begin("sender")
        answer = await visit.propose(self._subject.mailbox.address)
        if not isinstance(answer, Trouble):
            self._part.passed(reply=server_reply(answer))
            return
        judged = judge_smtp(answer, self._subject.provider)
        detail = "the sender was accepted; the server would not take a letter to the same address now"
        if judged.reason is Reason.RECIPIENT_REFUSED:  # in words that may mean either, such as `relaying denied`
            self._part.undecided(
                reply=server_reply(answer.reply), hint=hint_for(judged.reason, judged.remedy), detail=detail
            )
        elif judged.scope is Scope.RECIPIENT:
            self._part.passed(reply=server_reply(answer.reply), detail=detail)
        else:
            self._fail(answer)

    async def _send_test(self, visit: SmtpVisit) -> None:
        subject, part = self._subject, self._part
        if subject.test_to is None:
            part.skip("test_letter", subject.why_no_test)
            return
        if part.failure is not None:
            return
        part.begin("test_letter")
        letter = compose_test_letter(subject.mailbox, subject.test_to, subject.key, self._now())
        self._judge_test(await visit.send(letter), letter)

    def _judge_test(self, transmission: Transmission, letter: ComposedLetter) -> None:
        for reply in transmission.accepted.values():
            self.findings.test_letter = letter
            self._part.passed(reply=server_reply(reply))
            return
        for trouble in transmission.uncertain.values():
            self._part.failed(Reason.OUTCOME_UNKNOWN, reply=server_reply(trouble.reply), detail=trouble.detail or None)
            return
        self._fail(next(iter(transmission.refused.values())))

    def _fail(self, trouble: Trouble) -> bool:
        self._part.failed(**smtp_facts(trouble, self._subject.provider, self._subject.mailbox.smtp.auth))
        return False

    async def _look_for_another_way(self) -> None:
        failure = self._part.failure
        if failure is None or not is_worth_another_way(self._part, failure, _ENTRANCE):
            return
        hint = await other_smtp_way(self._visitors, self._subject)
        if hint is None and self._is_without_tls:
            hint = offers_no_tls(self._subject.mailbox.smtp.port)
        if hint is not None:
            self._part.amend(failure.name, hint)


def _offered(offer: SmtpOffer) -> str:
    size = f"letters up to {offer.max_letter_bytes} bytes; " if offer.max_letter_bytes is not None else ""
    mechanisms = ", ".join(offer.mechanisms) or "none"
    return f"{size}sign-in by: {mechanisms}; extensions: {', '.join(offer.extensions) or 'none'}"
