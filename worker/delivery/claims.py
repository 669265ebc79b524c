"""Claims: which recipients of a letter this worker may send to, so that none gets it twice."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import structlog

from worker.delivery.context import EventContext, LetterContext
from worker.delivery.in_progress import InProgress
from worker.delivery.ledger import Claim, Done, Granted, Ledger, Uncertain
from worker.domain.addresses import parse_address
from worker.domain.events.models import LetterEvent
from worker.domain.recipient_limit import RecipientLimit, recipient_limit
from worker.errors import ForeignEvent, Unavailable

log = structlog.get_logger(__name__)

HELD_WAIT_S = 30
"""How long a letter waits, in seconds, while another task or worker holds it."""


@dataclass(slots=True)
class Claimed:
    """The result of a letter's claim, recipient by recipient (positions).

    `granted`: ours to send to. `over_limit`: ours, but the address has had as many letters as the limit allows.
    `uncertain`: handed over before, with an unknown outcome. `done`: finished before. `held`: another task or worker
    holds them.

    A context: the claimed recipients are in progress inside it, and abandoned when it exits with an error or a
    cancellation, so that unsettled ones block no other worker.
    """

    _claims: "Claims"
    _event_key: str
    _in_progress: tuple[int, ...]
    granted: tuple[int, ...] = ()
    over_limit: tuple[int, ...] = ()
    uncertain: Mapping[int, Uncertain] = field(default_factory=dict)
    done: Mapping[int, Done] = field(default_factory=dict)
    held: tuple[int, ...] = ()

    async def __aenter__(self) -> "Claimed":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                await self._claims.abandon(self._event_key, self._in_progress)
        finally:
            self._claims.end(self._event_key, self._in_progress)


class Claims:
    """Lets one task at a time, in one worker at a time, work on a recipient.

    `letters_to_one`: how many letters from one account one address gets in five minutes; 0: no limit.
    """

    def __init__(self, ledger: Ledger, letters_to_one: int) -> None:
        self._ledger = ledger
        self._letters_to_one = letters_to_one
        self._in_progress = InProgress()

    async def claim(self, letter: LetterContext, *, may_send: bool, counts: bool = False) -> Claimed:
        """Claim the letter's recipients; returns a context to enter at once. Raises `Unavailable`.

        `may_send`: follow an operator's decision to send again. `counts`: apply the recipient limit.

        Raises:
            ForeignEvent: the recipients' entries belong to another account.
        """
        context = letter.context
        event_key, mine = context.event.key, self._in_progress.begin(context.event.key, letter.positions)
        try:
            if may_send and mine and context.work.is_replayed_doubt:
                await self._ledger.reopen(event_key, mine)
            claims = await self._claim(context, mine, counts=counts)
        except BaseException:  # the ledger itself abandons claims that it could not confirm
            self.end(event_key, mine)
            raise
        return self._claimed(letter, mine, claims)

    async def require_own(self, event: LetterEvent) -> None:
        """Raises `ForeignEvent` when another account has used an event with the same source and id."""
        owner = await self._ledger.account_of(event.key)
        if owner not in (None, event.data.account_id):
            raise ForeignEvent("id: an event of another account has the same source and id, and came before")

    async def abandon(self, event_key: str, positions: Sequence[int]) -> None:
        """Leave recipients to the next claim, whatever state they are in."""
        try:
            await asyncio.shield(self._ledger.abandon(event_key, positions))
        except Unavailable:
            log.warning("ledger.abandon_failed", event_key=event_key)  # the end of our lease frees them

    def end(self, event_key: str, positions: Sequence[int]) -> None:
        """Mark these as no longer in progress in this process."""
        self._in_progress.end(event_key, positions)

    async def _claim(self, context: EventContext, positions: tuple[int, ...], *, counts: bool) -> Mapping[int, Claim]:
        if not positions:
            return {}
        limit = self._limit(context, positions) if counts and self._letters_to_one else None
        return await self._ledger.claim(context.event.key, context.event.data.account_id, positions, limit)

    def _limit(self, context: EventContext, positions: Sequence[int]) -> RecipientLimit:
        recipients = context.event.data.recipients
        addresses = {position: parse_address(recipients[position].address).wire for position in positions}
        return recipient_limit(self._letters_to_one, context.event.data.account_id, context.work.first_seen, addresses)

    def _claimed(self, letter: LetterContext, mine: tuple[int, ...], claims: Mapping[int, Claim]) -> Claimed:
        claimed = Claimed(self, letter.context.event.key, mine)
        granted = {p: claim for p, claim in sorted(claims.items()) if isinstance(claim, Granted)}
        claimed.over_limit = tuple([p for p, claim in granted.items() if claim.is_over_limit])
        claimed.granted = tuple([p for p in granted if p not in claimed.over_limit])
        claimed.uncertain = {p: claim for p, claim in claims.items() if isinstance(claim, Uncertain)}
        claimed.done = {p: claim for p, claim in claims.items() if isinstance(claim, Done)}
        settled = {*granted, *claimed.uncertain, *claimed.done}
        claimed.held = tuple([p for p in letter.positions if p not in settled])
        return claimed
