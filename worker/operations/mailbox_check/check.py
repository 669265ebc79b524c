"""A whole check: its parts side by side and after one another, bounded in time, and a report whatever happens."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

import structlog

from worker.delivery.ports import Clock
from worker.domain.results import CheckStepResult
from worker.domain.vocabulary import Reason
from worker.operations.mailbox_check.deliverability import Deliverability
from worker.operations.mailbox_check.imap_part import READ_AGAIN_S, READ_BACK_S, ImapPart, imap_steps
from worker.operations.mailbox_check.part import OnStep, Part
from worker.operations.mailbox_check.ports import NameServer, SignatureReader, Visitors
from worker.operations.mailbox_check.settings_part import check_settings
from worker.operations.mailbox_check.smtp_part import SmtpPart, smtp_steps
from worker.operations.mailbox_check.subject import Subject

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
