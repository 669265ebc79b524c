"""Learning from copies whether a mailbox's provider saves letters to Sent by itself, and going by it."""

from contextlib import suppress

from worker.delivery.copy_jobs import CopyJob, is_learned
from worker.delivery.ports import SavedCopy
from worker.delivery.sent_habits import SentHabits, sent_place
from worker.domain.snapshot import Mailbox
from worker.domain.vocabulary import CopyOutcome
from worker.errors import Unavailable

_TELLING = frozenset({CopyOutcome.ALREADY_THERE, CopyOutcome.SAVED})


class CopyLearning:
    """For mailboxes of whose provider nothing is known, in the mode `auto`."""

    def __init__(self, habits: SentHabits) -> None:
        self._habits = habits

    async def verdict(self, job: CopyJob, mailbox: Mailbox) -> CopyOutcome | None:
        """That the provider saves by itself, as letters before this one showed: then nothing is looked for.

        Raises:
            Unavailable: what was learned cannot be read now.
        """
        if is_learned(mailbox) and await self._habits.saves(sent_place(job.account_id, mailbox)):
            return CopyOutcome.PROVIDER_SAVES
        return None

    async def learn(self, job: CopyJob, mailbox: Mailbox, saved: SavedCopy, *, is_first_look: bool) -> None:
        """Remember whether the provider's own copy was there.

        Only of a first look for a letter that has no other transactions: else what was found may be our own copy.
        """
        if job.is_whole and is_first_look and is_learned(mailbox) and saved.outcome in _TELLING:
            was_there = saved.outcome is CopyOutcome.ALREADY_THERE
            with suppress(Unavailable):  # the next letter shows it too, and this one's outcome is worth more
                await self._habits.saw(sent_place(job.account_id, mailbox), was_there=was_there)
