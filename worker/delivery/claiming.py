"""Claims: who works on which recipient, so that nobody gets a letter twice."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from worker.delivery import requeueing
from worker.delivery.case import Case, LetterCase
from worker.delivery.doubts import Doubts
from worker.delivery.in_work import InWork
from worker.delivery.ledger import Claim, Granted, Held, InDoubt, Ledger
from worker.delivery.messages import Publication
from worker.delivery.repeating import Repeats
from worker.domain.addresses import parse_address
from worker.domain.event import LetterEvent
from worker.domain.recipient_limit import RecipientLimit, recipient_limit
from worker.domain.topology import Topology
from worker.errors import ForeignEvent, Unavailable

log = structlog.get_logger(__name__)

HELD_WAIT_S = 30

Act = Callable[[tuple[int, ...]], Awaitable[list[Publication]]]
"""What is to be done with the recipients that are ours; says what is to be published."""


class Claims:
    """Lets one task at a time, in one worker at a time, work on a recipient."""

    def __init__(
        self, ledger: Ledger, doubts: Doubts, repeats: Repeats, topology: Topology, letters_to_one: int
    ) -> None:
        self._ledger = ledger
        self._doubts = doubts
        self._repeats = repeats
        self._topology = topology
        self._letters_to_one = letters_to_one
        self._in_work = InWork()

    async def working_on(
        self, item: LetterCase, act: Act, *, can_send: bool, beyond: Act | None = None
    ) -> list[Publication]:
        """Claim the recipients, do with each what the ledger says of it, and `act` on those who are ours.

        `beyond` is for those of them whose addresses have had too many letters; without it none are counted.
        """
        event_key, wanted = item.case.event.key, item.letter.envelope
        with self._in_work.taking(event_key, wanted) as mine:
            if can_send:
                await self._reopen(item, mine)
            claims = await self._claim(item, mine, counts=beyond is not None)
            held = tuple(p for p in wanted if isinstance(claims.get(p), Held | None))
            publications = [self._later(item, held)] if held else []
            try:
                publications += await self._repeats.of(item, claims)
                settled = await self._doubts.settle(item, _in_doubt(claims), is_last=not can_send)
                publications += settled.publications
                granted = {p: claim for p, claim in sorted(claims.items()) if isinstance(claim, Granted)}
                over = tuple(p for p, claim in granted.items() if claim.is_over_limit)
                if beyond is not None and over:
                    publications += await beyond(over)
                free = tuple(p for p in granted if p not in over)
                for ours in filter(None, (free, *settled.send_again)):
                    publications += await act(ours)
            except BaseException:  # also cancellation: what is not settled must block nobody
                await self._let_go(event_key, mine)
                raise
        return publications

    async def require_own(self, event: LetterEvent) -> None:
        """Raises `ForeignEvent` when another account's event with the same source and id is known."""
        owner = await self._ledger.account_of(event.key)
        if owner not in (None, event.data.account_id):
            raise ForeignEvent("id: an event of another account has the same source and id, and came before")

    async def _claim(self, item: LetterCase, positions: tuple[int, ...], *, counts: bool) -> Mapping[int, Claim]:
        if not positions:
            return {}
        event = item.case.event
        limit = self._limit(item.case, positions) if counts and self._letters_to_one else None
        return await self._ledger.claim(event.key, event.data.account_id, positions, limit)

    def _limit(self, case: Case, positions: Sequence[int]) -> RecipientLimit:
        recipients = case.event.data.recipients
        addresses = {position: parse_address(recipients[position].address).wire for position in positions}
        return recipient_limit(self._letters_to_one, case.event.data.account_id, case.work.first_seen, addresses)

    async def _reopen(self, item: LetterCase, positions: tuple[int, ...]) -> None:
        """An operator may have decided that these go once more, although they may have arrived: the ledger knows it."""
        if item.case.work.is_replayed_doubt and positions:
            await self._ledger.reopen(item.case.event.key, positions)

    def _later(self, item: LetterCase, positions: Sequence[int]) -> Publication:
        work = item.work(positions)
        return requeueing.later(item.case.arrival, work.headers(), self._topology, HELD_WAIT_S)

    async def _let_go(self, event_key: str, positions: Sequence[int]) -> None:
        try:
            await asyncio.shield(self._ledger.let_go(event_key, positions))
        except Unavailable:
            log.warning("ledger.let_go_failed", event_key=event_key)  # the lease will do it


def _in_doubt(claims: Mapping[int, Claim]) -> dict[int, InDoubt]:
    return {position: claim for position, claim in claims.items() if isinstance(claim, InDoubt)}
