"""Which letters an event becomes: one common letter that names all recipients, or one each that names no other.

An address listed twice gets one letter: the first position wins, with its name and its role. Domains are compared in
wire form (ASCII, lower case), local parts exactly: only the receiving server knows whether case matters there
(RFC 5321 section 2.4), and writing to two spellings of one mailbox does less harm than leaving one of two people out.

And which of the event's files go with a letter: as attachments, as pictures in its HTML, or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.domain.addresses import parse_address
from worker.domain.events.models import File, LetterData, Recipient
from worker.domain.letter.html import author_texts
from worker.domain.letter.model import LetterMode, PlannedLetter
from worker.domain.letter.pictures import MAX_INLINE_BYTES, embedded_bytes, referenced_content_ids
from worker.domain.snapshot.model import AccountSettings
from worker.domain.snapshot.resolution import Sender


def plan(
    data: LetterData,
    settings: AccountSettings,
    mode: LetterMode | None = None,
    wanted: Sequence[int] | None = None,
    most: int | None = None,
) -> tuple[PlannedLetter, ...]:
    """The letters still to be sent for an event, in the order of its recipients.

    Args:
        data: the event's data.
        settings: the account's; they decide the mode of a first plan.
        mode: the mode of an earlier plan of the same event; it stays even when the account's settings have changed.
        wanted: positions in `data.recipients` that do not have the letter yet, None for all. A common letter still
            names the others. A position whose address is invalid, or occurs at an earlier position, is never planned.
        most: the provider's limit of recipients per letter; a common letter to more is submitted several times. It is
            the same letter each time, with the same Message-ID, and each recipient gets it once.
    """
    if mode is None:
        mode = LetterMode.COMMON if settings.name_all_recipients else LetterMode.EACH
    named = tuple(p for p in distinct_positions(data.recipients) if data.recipients[p].problem is None)
    envelope = named if wanted is None else tuple(sorted(set(named).intersection(wanted)))
    if mode is LetterMode.EACH:
        return tuple(PlannedLetter(mode, (position,), (position,)) for position in envelope)
    step = most or max(len(envelope), 1)
    return tuple(PlannedLetter(mode, named, envelope[at : at + step]) for at in range(0, len(envelope), step))


def unreadable(data: LetterData, wanted: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The wanted positions whose address cannot receive a letter, by the problem with it."""
    positions: dict[str, tuple[int, ...]] = {}
    for position in wanted:
        if (problem := data.recipients[position].problem) is not None:
            positions[problem] = (*positions.get(problem, ()), position)
    return positions


def distinct_positions(recipients: Sequence[Recipient]) -> tuple[int, ...]:
    """The first position of each distinct address; an invalid address equals no other."""
    firsts: dict[str | int, int] = {}
    for position, recipient in enumerate(recipients):
        key = position if recipient.problem is not None else parse_address(recipient.address).wire
        firsts.setdefault(key, position)
    return tuple(firsts.values())


@dataclass(frozen=True, slots=True)
class FilePlan:
    """The event's files by how they are sent; those in neither set are linked.

    `room` is how many bytes the fetched files may have in total: what pictures in the HTML itself leave of the 10 MB.
    `shown` are the content IDs that the HTML refers to, whether their files fit or not.
    """

    attached: frozenset[File]
    inline: frozenset[File]
    room: int
    shown: frozenset[str]

    @property
    def fetched(self) -> frozenset[File]:
        """The files to download."""
        return self.attached | self.inline


def plan_files(data: LetterData, sender: Sender) -> FilePlan:
    """Pictures first, as they are part of the text; attachments all or none, when the account wants them.

    Declared sizes decide, so that the letter is the same whether or not the files can be downloaded today.
    """
    texts = author_texts(data, sender)
    shown = referenced_content_ids(texts)
    room = MAX_INLINE_BYTES - embedded_bytes(texts)
    inline = _fitting([file for file in data.files if file.content_id in shown], room)
    others = frozenset(data.files) - inline
    left = room - sum(file.size for file in inline)
    wants_attachments = sender.is_entitled and sender.account.settings.attach_files
    fits = sum(file.size for file in data.files if file in others) <= left
    return FilePlan(others if wants_attachments and fits else frozenset(), inline, room, shown)


def _fitting(files: Sequence[File], room: int) -> frozenset[File]:
    """The files that fit, earlier ones first."""
    fitting: set[File] = set()
    for file in files:
        if file.size <= room:
            fitting.add(file)
            room -= file.size
    return frozenset(fitting)
