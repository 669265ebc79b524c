"""Which letters an event becomes: one common letter that names everybody, or one each that names nobody else.

The same address written twice gets one letter: the first position wins, with its name and its role. Domains are
compared as they stand on the wire (ASCII, lower case), local parts exactly: only the receiving server knows whether
case matters there (RFC 5321 section 2.4), and to write to two readings of one mailbox is a smaller harm than to
leave one of two people out.

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
        mode: the mode of an earlier plan of the same event; it stays when the account has changed its mind since.
        wanted: positions in `data.recipients` that do not have the letter yet, None for all. A common letter still
            names the others. A position whose address already stands at an earlier one, or cannot be read, is never
            planned.
        most: to how many recipients the provider takes one letter; a common letter to more is handed in several
            times. It is the same letter each time, with the same Message-ID, and each recipient gets it once.
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
    """Those of the wanted positions whose address no letter can be sent to, by what is wrong with it."""
    positions: dict[str, tuple[int, ...]] = {}
    for position in wanted:
        if (problem := data.recipients[position].problem) is not None:
            positions[problem] = (*positions.get(problem, ()), position)
    return positions


def distinct_positions(recipients: Sequence[Recipient]) -> tuple[int, ...]:
    """The position of each address where it stands first; one that cannot be read is like no other."""
    firsts: dict[str | int, int] = {}
    for position, recipient in enumerate(recipients):
        key = position if recipient.problem is not None else parse_address(recipient.address).wire
        firsts.setdefault(key, position)
    return tuple(firsts.values())


@dataclass(frozen=True, slots=True)
class FilePlan:
    """The event's files by what becomes of them; what is in neither goes as a link.

    `room` is how many bytes the fetched files may have together: what pictures in the HTML itself leave of the 10 MB.
    `shown` are the content IDs that the HTML refers to, whether their files fit or not.
    """

    attached: frozenset[File]
    inline: frozenset[File]
    room: int
    shown: frozenset[str]

    @property
    def fetched(self) -> frozenset[File]:
        """What has to be downloaded."""
        return self.attached | self.inline


def plan_files(data: LetterData, sender: Sender) -> FilePlan:
    """Pictures first, as they are part of what was written; attachments all or none, when the account wants them.

    Declared sizes decide, so that the letter is the same whether the files can be downloaded today or not.
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
    """The files for which there is room, the first ones first."""
    fitting: set[File] = set()
    for file in files:
        if file.size <= room:
            fitting.add(file)
            room -= file.size
    return frozenset(fitting)
