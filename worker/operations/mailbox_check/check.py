"""A whole check: its parts side by side and after one another, bounded in time, and a report whatever happens."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from worker.delivery.ports import Clock
from worker.domain.failure.hints import Hint
from worker.domain.results.models import CheckStepResult
from worker.domain.snapshot.model import PasswordAuth, SealedSecret, secrets_of
from worker.domain.vocabulary import Reason
from worker.operations.mailbox_check.dns_records import Deliverability
from worker.operations.mailbox_check.imap import READ_AGAIN_S, READ_BACK_S, ImapPart, imap_steps
from worker.operations.mailbox_check.messages import OTHER_SIGN_IN
from worker.operations.mailbox_check.ports import NameServer, SignatureReader, Subject, Visitors
from worker.operations.mailbox_check.smtp import SmtpPart, smtp_steps
from worker.operations.mailbox_check.steps import OnStep, Part

STEP = "settings"
_REFERS_OUTSIDE = Hint(
    en="The password of a mailbox that is not saved yet must come sealed. Please tell support: this cannot be mended "
    "in the mailbox's settings.",
    ru="Пароль ещё не сохранённого ящика должен передаваться зашифрованным. Сообщите в поддержку: настройками ящика "
    "это не исправить.",
)
_TOO_MANY = Hint(
    en="Too many checks of your mailboxes are under way at the same time. Please wait until they have ended, and check "
    "this one again.",
    ru="Одновременно идёт слишком много проверок ваших ящиков. Дождитесь их окончания и проверьте этот ящик ещё раз.",
)


def check_settings(subject: Subject, monotonic: Callable[[], float], on_step: OnStep = lambda _: None) -> Part:
    """The step, as a part of its own."""
    part = _begun(monotonic, on_step)
    auths = [subject.mailbox.smtp.auth, subject.imap_auth]
    secrets = [secret for auth in auths for secret in secrets_of(auth)]
    if not subject.is_trusted and not all(isinstance(secret, SealedSecret) for secret in secrets):
        # Variables and files are the operator's: see `SealedOnlyCredentials`, which holds whatever happens here.
        part.failed(
            Reason.SENDER_NOT_PERMITTED,
            hint=_REFERS_OUTSIDE,
            detail="variables and files of the worker are no mailbox's secrets",
        )
    else:
        part.passed(detail=f"provider: {subject.provider.name}", **_warning(subject))
    return part


def _warning(subject: Subject) -> dict[str, Any]:
    """A password where the provider takes none any more."""
    provider = subject.provider
    if provider.takes_password is not False or not isinstance(subject.mailbox.smtp.auth, PasswordAuth):
        return {}
    return {"hint": OTHER_SIGN_IN, "help_url": provider.help_oauth}


def failed_settings(reason: Reason, why: str, monotonic: Callable[[], float]) -> Part:
    """The step where there is nothing to be looked at: the snapshot has no such mailbox, for example."""
    part = _begun(monotonic)
    part.failed(reason, detail=why)
    return part


def too_many_checks(monotonic: Callable[[], float]) -> Part:
    """The step where the account had as many checks under way as it may have, for as long as one waits for them."""
    part = _begun(monotonic)
    part.failed(Reason.RATE_LIMITED, hint=_TOO_MANY, detail="the account has too many checks under way")
    return part


def _begun(monotonic: Callable[[], float], on_step: OnStep = lambda _: None) -> Part:
    part = Part({STEP: True}, monotonic, on_step)
    part.begin(STEP)
    return part


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """Seconds for each part, and for the test letter to come back. An answer to a letter handed over comes on top."""

    smtp_s: float = 90.0
    imap_s: float = 100.0
    deliverability_s: float = 40.0
    read_back_s: float = READ_BACK_S
    read_again_s: float = READ_AGAIN_S


class MailboxCheck:
    """Checks mailboxes, one after another or several at a time; nothing is shared between checks."""

    def __init__(
        self,
        visitors: Visitors,
        names: NameServer,
        signatures: SignatureReader,
        clock: Clock,
        limits: CheckLimits | None = None,
    ) -> None:
        self._visitors = visitors
        self._names = names
        self._signatures = signatures
        self._clock = clock
        self._limits = limits or CheckLimits()

    async def run(self, subject: Subject, on_step: OnStep = lambda _: None) -> tuple[CheckStepResult, ...]:
        """The steps of the check. Never raises for what a mailbox, a server or the network does.

        `on_step` takes each step as it ends.
        """
        monotonic, limits = self._clock.monotonic, self._limits
        settings = check_settings(subject, monotonic, on_step)
        if settings.failure is not None:
            return settings.results()
        smtp_part = Part(smtp_steps(subject), monotonic, on_step)
        imap_part = Part(imap_steps(subject), monotonic, on_step)
        smtp = SmtpPart(smtp_part, subject, self._visitors, self._clock.now)
        imap = ImapPart(imap_part, subject, self._visitors, self._clock.now, limits.read_back_s, limits.read_again_s)
        deliverability = Deliverability(subject, self._names, self._signatures, monotonic, on_step)
        await _bounded(smtp.run(), [smtp_part], limits.smtp_s)
        await _bounded(imap.run(smtp.findings), [imap_part], limits.imap_s)
        await _bounded(
            deliverability.run(smtp.findings.addresses, imap.letter),
            list(deliverability.parts.values()),
            limits.deliverability_s,
        )
        return (*settings.results(), *smtp_part.results(), *imap_part.results(), *deliverability.results())


async def _bounded(run: Awaitable[None], parts: list[Part], limit_s: float) -> None:
    """Run a part; whatever ends it before its time is told in the step that was under way."""
    try:
        async with asyncio.timeout(limit_s):
            await run
    except TimeoutError:
        for part in parts:
            part.interrupted(Reason.TIMEOUT, f"the check gives this part {limit_s:g} s")
    except Exception as error:  # a mistake of ours: the report tells of it, and of what was found before
        log.exception("mailbox_check.unhandled")
        for part in parts:
            part.interrupted(Reason.INTERNAL_ERROR, type(error).__name__)


def is_good(steps: tuple[CheckStepResult, ...]) -> bool:
    """Whether letters leave: no required step failed, and none was left out because of that."""
    return not any(step.required and step.ok is False for step in steps)
