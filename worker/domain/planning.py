"""Which letters an event becomes: one common letter that names everybody, or one each that names nobody else.

The same address written twice gets one letter: the first position wins, with its name and its role. Domains are
compared as they stand on the wire (ASCII, lower case), local parts exactly: only the receiving server knows whether
case matters there (RFC 5321 section 2.4), and to write to two readings of one mailbox is a smaller harm than to
leave one of two people out.
"""

from collections.abc import Sequence

from worker.domain.addresses import parse_address
from worker.domain.events import LetterData, Recipient
from worker.domain.letters import LetterMode, PlannedLetter
from worker.domain.snapshot import AccountSettings


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
