"""Operators' view of mailboxes: suspensions and cooldowns, limits, and resuming."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.console.auth.people import Person
from worker.console.ports import Snapshots
from worker.delivery.limits import Limits
from worker.delivery.mailboxes.rules import capped, resting_of
from worker.delivery.mailboxes.state import (
    ImapRefusal,
    MailboxKey,
    MailboxLimits,
    MailboxState,
    MailboxStates,
    Resting,
    Suspension,
)
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.ports import Clock
from worker.domain.rate_window import DAY, MINUTE
from worker.domain.snapshot.model import Mailbox
from worker.domain.vocabulary import ResumedBy
from worker.errors import Unavailable

MOST_LISTED = 500


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds a mailbox up now, and its recent use of its limits.

    `cap` is the number of connections its server accepts, if fewer than granted. `minute` counts letters in the last
    minute, `day` recipients in the last day.
    """

    key: MailboxKey
    suspension: Suspension | None
    resting: Resting | None
    imap_refusal: ImapRefusal | None
    cap: int | None
    minute: int
    day: int
    proven_at: datetime | None

    @property
    def is_held_up(self) -> bool:
        return any((self.suspension, self.resting, self.imap_refusal, self.cap is not None))


class MailboxDesk:
    """All operations on mailboxes except checks."""

    def __init__(
        self, states: MailboxStates, suspensions: Suspensions, snapshots: Snapshots, limits: Limits, clock: Clock
    ) -> None:
        self._states = states
        self._suspensions = suspensions
        self._snapshots = snapshots
        self._limits = limits
        self._clock = clock

    @property
    def most_connections(self) -> int:
        """The highest number of connections of any mailbox."""
        return self._limits.mailbox_connections_max

    async def held_up(self, person: Person) -> list[Standing]:
        """What holds up the mailboxes that a person may see, at most 500 of them."""
        found: Mapping[MailboxKey, MailboxState] = await self._states.held_up(MOST_LISTED, person.accounts)
        standings = [self._standing(key, state) for key, state in found.items()]
        return [standing for standing in standings if standing.is_held_up]

    async def standing(self, key: MailboxKey) -> Standing:
        """The state of one mailbox."""
        return self._standing(key, await self._states.state(key))

    def settings(self, key: MailboxKey) -> tuple[Mailbox, MailboxLimits] | None:
        """The mailbox in the current snapshot, and its limits; None without a snapshot or if that lacks it."""
        try:
            account = self._snapshots.directory.account(key.account_id)
        except Unavailable:
            return None
        mailboxes = account.mailboxes if account is not None else ()
        found = next((mailbox for mailbox in mailboxes if mailbox.id == key.mailbox_id), None)
        return None if found is None else (found, self._limits.of(found))

    async def resume(self, key: MailboxKey, person: Person, why: str) -> Suspension | None:
        """Resume a mailbox and publish that; None if it was not suspended."""
        suspension = (await self._states.state(key)).suspension
        if suspension is None:
            return None
        now = self._clock.now()
        is_ended = await self._suspensions.resume(suspension, now, ResumedBy.OPERATOR, person.name, why)
        return suspension if is_ended else None

    def _standing(self, key: MailboxKey, state: MailboxState) -> Standing:
        now = self._clock.now()
        refusal = state.imap_refusal
        return Standing(
            key=key,
            suspension=state.suspension,
            resting=resting_of(state, now),
            imap_refusal=refusal if refusal is not None and refusal.until > now else None,
            cap=capped(state, now),
            minute=sum(number for _, number in MINUTE.recent(state.minute, now)),
            day=sum(number for _, number in DAY.recent(state.day, now)),
            proven_at=state.proven_at,
        )
