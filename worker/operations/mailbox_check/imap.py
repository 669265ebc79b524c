"""The IMAP part of a check: from resolving the server to the Sent folder, and the test letter as received."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from worker.delivery.sent_copy.jobs import copy_verdict, is_learned
from worker.domain.probe import SentFolderFacts
from worker.domain.results.models import ServerReply
from worker.domain.transmission import DeliveryFailure
from worker.domain.vocabulary import CopyOutcome, Phase, Reason, Security
from worker.operations.mailbox_check.messages import (
    FULL,
    IMAP_STARTTLS,
    LITTLE_ROOM,
    NO_SENT_FOLDER,
    READ_ONLY,
    imap_facts,
)
from worker.operations.mailbox_check.ports import ImapVisit, Subject, Visitors
from worker.operations.mailbox_check.smtp import (
    SmtpFindings,
    counted,
    is_worth_another_way,
    other_imap_way,
    test_message_id,
    tls_step,
)
from worker.operations.mailbox_check.steps import Part

READ_BACK_S = 30.0
READ_AGAIN_S = 2.0
LARGEST_LETTER_KIB = 14 * 1024
"""A letter with the maximum of attachments (10 MB), which base64 enlarges by a third, plus its text."""
_NAMES = ("imap_dns", "imap_connect", "imap_tls", "imap_greeting", "imap_auth", "sent_folder", "sent_writable")
_ENTRANCE = frozenset({"imap_connect", "imap_tls", "imap_greeting"})
_NOT_WANTED = {
    CopyOutcome.TURNED_OFF: "copies to Sent are turned off",
    CopyOutcome.NO_IMAP: "the mailbox has no IMAP server",
}


def imap_steps(subject: Subject) -> dict[str, bool]:
    """Step names, and whether each is required: they are if the worker saves the copies."""
    return dict.fromkeys(_NAMES, copy_verdict(subject.mailbox) is None)


class ImapPart:
    """Runs the IMAP steps and records each. `letter` is the test letter as received, if it was read back."""

    def __init__(
        self,
        part: Part,
        subject: Subject,
        visitors: Visitors,
        now: Callable[[], datetime],
        read_back_s: float = READ_BACK_S,
        read_again_s: float = READ_AGAIN_S,
    ) -> None:
        self._part = part
        self._subject = subject
        self._visitors = visitors
        self._now = now
        self._read_back_s = read_back_s
        self._read_again_s = read_again_s
        self.letter: bytes | None = None

    async def run(self, smtp: SmtpFindings) -> None:
        """Run the steps until one fails."""
        subject = self._subject
        verdict = copy_verdict(subject.mailbox)
        if subject.imap is None or verdict in _NOT_WANTED:
            self._part.skip(_NAMES[0], _NOT_WANTED[verdict or CopyOutcome.NO_IMAP])
            return
        visiting = self._visitors.imap(
            subject.account_id, subject.imap, subject.imap_auth, is_trusted=subject.is_trusted
        )
        async with visiting as visit:
            if await self._enter(visit) and await self._sign_in(visit, smtp):
                folder = await self._find_folder(visit)
                await self._read_back(visit, smtp)
                if folder is not None:
                    await self._write(visit, folder, smtp)
        await self._look_for_another_way()

    async def _enter(self, visit: ImapVisit) -> bool:
        part = self._part
        part.begin("imap_dns")
        resolved = await visit.resolve()
        if isinstance(resolved, DeliveryFailure):
            return self._fail(resolved)
        part.passed(detail=counted(resolved))
        part.begin("imap_connect")
        if (trouble := await visit.connect()) is not None:
            return self._fail(trouble)
        part.passed()
        part.begin("imap_tls")
        secured = await visit.secure()
        if isinstance(secured, DeliveryFailure):
            return self._fail(secured)
        if secured is None:
            part.skip("imap_tls", "the connection is configured without encryption")
        else:
            part.passed(**tls_step(secured, self._now()))
        part.begin("imap_greeting")
        words = await visit.greet()
        if isinstance(words, DeliveryFailure):
            return self._fail(words)
        part.passed(reply=ServerReply(code=None, text=words))
        return True

    async def _sign_in(self, visit: ImapVisit, smtp: SmtpFindings) -> bool:
        """Skip credentials that the SMTP server just refused: providers lock accounts for repeated failures."""
        if smtp.is_sign_in_refused and self._subject.imap_auth == self._subject.mailbox.smtp.auth:
            self._part.skip("imap_auth", "not tried: the SMTP server refused the same sign-in")
            return False
        self._part.begin("imap_auth")
        if (trouble := await visit.sign_in()) is not None:
            return self._fail(trouble)
        self._part.passed()
        return True

    async def _find_folder(self, visit: ImapVisit) -> SentFolderFacts | None:
        self._part.begin("sent_folder")
        message_id = test_message_id(self._subject.mailbox, self._subject.key)
        found = await visit.sent_folder(self._subject.mailbox.sent_copy.folder, message_id)
        if isinstance(found, DeliveryFailure):
            self._fail(found)
            return None
        if found is None:
            self._part.failed(Reason.SENT_FOLDER_MISSING, hint=NO_SENT_FOLDER, detail="no folder was recognised")
            return None
        self._part.passed(detail=f"{found.name}: it was not there, and has been made" if found.is_new else found.name)
        return found

    async def _write(self, visit: ImapVisit, folder: SentFolderFacts, smtp: SmtpFindings) -> None:
        """Test what the server actually does, beyond what it says: save a copy of the test letter as of any letter."""
        part = self._part
        part.begin("sent_writable")
        room = f"; {folder.free_kib} KiB free" if folder.free_kib is not None else ""
        is_little = folder.free_kib is not None and folder.free_kib < LARGEST_LETTER_KIB
        warning = LITTLE_ROOM if is_little else None
        if folder.may_append is False:
            part.failed(Reason.SENT_FOLDER_DENIED, hint=READ_ONLY)
        elif folder.free_kib == 0:
            part.failed(Reason.MAILBOX_FULL, hint=FULL)
        elif smtp.test_letter is not None and self._is_copy_wanted():
            saved = await visit.save(self._subject.mailbox.sent_copy.folder, smtp.test_letter)
            if saved.trouble is not None:
                self._fail(saved.trouble)
            else:
                done = "was there already" if saved.outcome is CopyOutcome.ALREADY_THERE else "was saved"
                part.passed(detail=f"the test letter's copy {done}{room}", hint=warning)
        elif folder.may_append is None:
            part.undecided(detail=f"the server does not say{room}", hint=warning)
        else:
            part.passed(detail=f"letters may be added{room}", hint=warning)

    def _is_copy_wanted(self) -> bool:
        """If the provider may save to Sent by itself, only after a letter has had time to appear there."""
        mailbox = self._subject.mailbox
        return copy_verdict(mailbox) is None and (not is_learned(mailbox) or self._subject.is_test_to_itself)

    async def _read_back(self, visit: ImapVisit, smtp: SmtpFindings) -> None:
        """Wait for the test letter that the mailbox sent to itself; the DKIM step reports the outcome."""
        if smtp.test_letter is None or not self._subject.is_test_to_itself:
            return
        try:
            async with asyncio.timeout(self._read_back_s):
                while True:
                    found = await visit.received(smtp.test_letter.message_id)
                    if found is not None:
                        break
                    await asyncio.sleep(self._read_again_s)
        except TimeoutError:
            return
        self.letter = found if isinstance(found, bytes) else None

    def _fail(self, trouble: DeliveryFailure) -> bool:
        facts = imap_facts(trouble, self._subject.provider, self._subject.imap_auth)
        imap = self._subject.imap
        if imap is not None and imap.security is Security.STARTTLS and trouble.phase is Phase.TLS:
            facts["hint"] = IMAP_STARTTLS
        self._part.failed(**facts)
        return False

    async def _look_for_another_way(self) -> None:
        failure = self._part.failure
        if failure is None or not is_worth_another_way(self._part, failure, _ENTRANCE):
            return
        if (hint := await other_imap_way(self._visitors, self._subject)) is not None:
            self._part.amend(failure.name, hint)
