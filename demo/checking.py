"""What came of the scenes, compared with what was written beside them; each difference is one line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parseaddr

from demo.inboxes import MailProgram, attachment_names, html_of, opened
from demo.results import Outcome
from demo.scenes import SAVED, SENT, Scene

Played = Sequence[tuple[Scene, Outcome]]


@dataclass(frozen=True)
class Found:
    """A letter in somebody's inbox."""

    inbox: str
    raw: bytes
    letter: EmailMessage

    @property
    def subject(self) -> str:
        """Its subject, decoded."""
        return str(self.letter["Subject"])


def differences(scene: Scene, outcome: Outcome) -> Iterator[str]:
    """What the results say otherwise than the scene."""
    sender = outcome.sender or {"address": None, "tier": None}
    for what, expected, found in (
        ("sender", scene.sender, sender["address"]),
        ("tier", scene.tier, sender["tier"]),
        ("recipients", dict(scene.recipients), outcome.recipients),
        ("copies in Sent", scene.copies, outcome.copies),
        ("announcements", scene.announcements, outcome.announcements),
    ):
        if expected != found:
            yield f"{what}: expected {expected}, found {found}"


def read_inboxes(program: MailProgram, played: Played) -> list[Found]:
    """The inboxes of all who were written to, as soon as each has as many letters as the results tell of.

    Raises TimeoutError when they do not come.
    """
    expected: dict[str, int] = {}
    for scene, outcome in played:
        for address in {*scene.sent_to, *outcome.recipients} - {""}:
            expected[address] = expected.get(address, 0) + (outcome.recipients.get(address) == SENT)
    return [
        Found(address, raw, opened(raw))
        for address, count in expected.items()
        if count
        for raw in program.read(address, "INBOX", at_least=count)
    ]


def letter_differences(scene: Scene, outcome: Outcome, inboxes: Sequence[Found]) -> Iterator[str]:
    """What is otherwise in the recipients' inboxes than the scene says."""
    message_ids = {result["data"]["message_id"] for result in outcome.of_kind("mail.sent")}
    for address in scene.sent_to:
        mine = [found for found in inboxes if found.inbox == address and found.subject == scene.subject]
        if len(mine) != 1:
            yield f"{address} has {len(mine)} letters with the subject {scene.subject!r}"
        for found in mine:
            yield from _letter_differences(scene, found, message_ids)


def _letter_differences(scene: Scene, found: Found, message_ids: set[str]) -> Iterator[str]:
    letter = found.letter
    answers_to = parseaddr(str(letter["Reply-To"] or letter["From"]))[1]
    named = {parseaddr(address)[1] for address in str(letter["To"]).split(",")}
    for what, expected, seen in (
        ("From", scene.sender, parseaddr(str(letter["From"]))[1]),
        ("answers go to", scene.letter.reply_to or scene.sender, answers_to),
        ("attachments", list(scene.letter.attachments), attachment_names(letter)),
        ("To", set(scene.sent_to) if scene.is_common else {found.inbox}, named),
    ):
        if expected != seen:
            yield f"{found.inbox}: {what}: expected {expected}, found {seen}"
    if scene.letter.contains not in html_of(letter):
        yield f"{found.inbox}: the letter does not contain {scene.letter.contains!r}"
    if str(letter["Message-ID"]) not in message_ids:
        yield f"{found.inbox}: no result tells of the Message-ID {letter['Message-ID']}"


def copy_differences(program: MailProgram, played: Played, inboxes: Sequence[Found]) -> Iterator[str]:
    """Whether each copy in Sent is the very letter that arrived, to the byte, and nothing else is there.

    Raises TimeoutError when copies are missing that the results tell of.
    """
    expected: dict[str, list[str]] = {}
    for scene, outcome in played:
        if outcome.sender and SAVED in outcome.copies:
            expected.setdefault(outcome.sender["address"], []).append(scene.subject)
    for address, wanted in expected.items():
        copies = program.read(address, "Sent", at_least=len(wanted))
        subjects = [str(opened(copy)["Subject"]) for copy in copies]
        if sorted(subjects) != sorted(wanted):
            yield f"Sent of {address}: expected {sorted(wanted)}, found {sorted(subjects)}"
        for copy, subject in zip(copies, subjects, strict=True):
            # The way put some lines above what was sent.
            if not any(found.raw.endswith(copy) for found in inboxes if found.subject == subject):
                yield f"Sent of {address}: {subject!r} is not the letter that arrived"
