"""A complete check: its parts run concurrently or in turn, bounded in time, and always produce a report."""

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
    """The settings step, as its own part."""
    part = _begun(monotonic, on_step)
    auths = [subject.mailbox.smtp.auth, subject.imap_auth]
    secrets = [secret for auth in auths for secret in secrets_of(auth)]
    if not subject.is_trusted and not all(isinstance(secret, SealedSecret) for secret in secrets):
        # Variables and files belong to the operator: see `SealedOnlyCredentials`, which holds in every case.
        part.failed(
            Reason.SENDER_NOT_PERMITTED,
            hint=_REFERS_OUTSIDE,
            detail="variables and files of the worker are no mailbox's secrets",
        )
    else:
        part.passed(detail=f"provider: {subject.provider.name}", **_warning(subject))
    return part


def _warning(subject: Subject) -> dict[str, Any]:
    """Warn about a password where the provider no longer accepts any."""
    provider = subject.provider
    if provider.takes_password is not False or not isinstance(subject.mailbox.smtp.auth, PasswordAuth):
        return {}
    return {"hint": OTHER_SIGN_IN, "help_url": provider.help_oauth}


def failed_settings(reason: Reason, why: str, monotonic: Callable[[], float]) -> Part:
    """The settings step when there is nothing to check, for example because the snapshot lacks the mailbox."""
    part = _begun(monotonic)
    part.failed(reason, detail=why)
    return part


def too_many_checks(monotonic: Callable[[], float]) -> Part:
    """The settings step when the account's checks used up all its places for the whole waiting time."""
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
    """Time limits in seconds: per part, and for the test letter's return. The reply to its DATA comes on top."""

    smtp_s: float = 90.0
    imap_s: float = 100.0
    deliverability_s: float = 40.0
    read_back_s: float = READ_BACK_S
    read_again_s: float = READ_AGAIN_S


class MailboxCheck:
    """Checks mailboxes, in turn or concurrently; checks share no state."""

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
        """Run the check's steps. Never raises because of a mailbox, a server or the network.

        `on_step` receives each step as it ends.
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
    """Run a part; if it is cut short, the step in progress reports why."""
    try:
        async with asyncio.timeout(limit_s):
            await run
    except TimeoutError:
        for part in parts:
            part.interrupted(Reason.TIMEOUT, f"the check gives this part {limit_s:g} s")
    except Exception as error:  # our own bug: the report names it, along with the findings so far
        log.exception("mailbox_check.unhandled")
        for part in parts:
            part.interrupted(Reason.INTERNAL_ERROR, type(error).__name__)


def is_good(steps: tuple[CheckStepResult, ...]) -> bool:
    """Whether letters can be sent: no required step failed or was skipped after a failure."""
    return not any(step.required and step.ok is False for step in steps)
