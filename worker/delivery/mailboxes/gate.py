"""The gate: acquires everything that a letter needs before it may leave, and releases it, in one place.

A letter takes one of the worker's places in hand, then one in its mailbox's lane, then one of the connections that
all workers share. `acquire` returns a `Slot` that holds all of them, or says why the letter has to wait.
"""

from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from worker.delivery.context import LetterContext
from worker.delivery.instrumentation import Observer, Stage
from worker.delivery.limits import Limits
from worker.delivery.mailboxes.backlog import CoolingDown, Denied, StaleSettings, Suspended
from worker.delivery.mailboxes.connection_leases import ConnectionLease, ConnectionLeases
from worker.delivery.mailboxes.in_hand import InHand, PlaceInHand
from worker.delivery.mailboxes.lanes import Lane, Lanes, Place
from worker.delivery.mailboxes.state import (
    Entered,
    Entry,
    Limited,
    MailboxKey,
    MailboxLimits,
    MailboxStates,
    Outdated,
    Resting,
    Revision,
    Shut,
    Suspension,
)
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.mailboxes.sync import PATIENCE_S, NewerSettings
from worker.delivery.places import Holder, Places
from worker.delivery.ports import Clock, Route, SnapshotService
from worker.domain.identity import lane_token
from worker.domain.snapshot.model import Mailbox
from worker.domain.snapshot.secret_references import PLATFORM, fingerprint
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import Phase, Reason
from worker.errors import FileUnavailable, Unavailable

log = structlog.get_logger(__name__)

_BEYOND_SIGN_IN = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})
_FILES_PATIENCE_S = 5.0  # as long as the shortest delay queue: a letter that has to wait longer waits there
_STALE_WAIT_S = 5.0
_DAYS_LIMIT_LOOK = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Common:
    """What the slots of all mailboxes use."""

    states: MailboxStates
    shares: ConnectionLeases
    suspensions: Suspensions
    snapshot: SnapshotService
    newer_settings: NewerSettings
    clock: Clock
    observer: Observer


@dataclass(frozen=True, slots=True)
class Bulkheads:
    """The worker's places, shared by account and mailbox: letters in hand, with their files, in transmission."""

    in_hand: InHand
    files: Places
    transmissions: Places


class Slot:
    """A letter's right to leave, until released; this class serves the platform's own relay.

    The relay's capacity is per worker, so the slot is a place in hand and one in the relay's lane. `letter` is the
    letter as admitted, with its files; `missing_file` says why it lacks one: then it has no connection either.
    """

    def __init__(self, letter: LetterContext, route: Route, lane: Lane, bulkheads: Bulkheads) -> None:
        self.letter = letter
        self.missing_file: FileUnavailable | None = None
        self.route = route
        self.lane = lane
        self._holder = letter.holder
        self._turn = letter.context.work.turn
        self._bulkheads = bulkheads
        self._place_in_hand: PlaceInHand | None = None
        self._files_place: Holder | None = None
        self._place: Place | None = None

    def admit(self) -> Denied | None:
        """Take a place in hand. Never waits."""
        place = self._bulkheads.in_hand.acquire(self._holder, self._turn, self.lane.wait_for_turn)
        if isinstance(place, Denied):
            return place
        self._place_in_hand = place
        return None

    async def reserve_files(self) -> Denied | None:
        """Take a place among the letters whose files the worker holds, waiting seconds for it."""
        if await self._bulkheads.files.wait(self._holder, _FILES_PATIENCE_S):
            self._files_place = self._holder
            return None
        return self._bulkheads.in_hand.wait_for_turn(self._holder, self._turn)

    async def denied(self) -> Denied | None:
        """Why the letter would get no connection now. Raises `Unavailable`."""
        return self.lane.denied(self._turn)

    async def connect(self) -> Denied | None:
        """Take one of the connections, waiting moments for it at most. Raises `Unavailable`."""
        place = await self.lane.acquire(self._turn)
        if isinstance(place, Denied):
            return place
        self._place = place
        return None

    def transmitting(self) -> AbstractAsyncContextManager[bool]:
        """A context: one of the worker's transmissions; accounts that wait take turns."""
        return self._bulkheads.transmissions.place(self._holder)

    async def consume(self, recipients: int) -> Denied | None:  # noqa: ARG002 - the interface
        """Count the letter against the rate limits, if they allow it now. Raises `Unavailable`."""
        return None

    async def ended(self, transmission: Transmission, recipients: int) -> None:
        """Learn from the letter's outcome."""

    async def cool_down(self, seconds: float, reason: Reason) -> None:
        """Start a cooldown."""
        self.lane.pause(seconds, reason)

    def release_connection(self) -> None:
        """The server has the letter: the next one may use its connection while this outcome is recorded."""
        if self._place is not None:
            self._place.release()

    async def release(self) -> None:
        """Give back everything that the letter holds. Idempotent."""
        if self._place is not None:
            self._place.release()
        if self._files_place is not None:
            self._bulkheads.files.give_back(self._files_place)
            self._files_place = None
        if self._place_in_hand is not None:
            self._place_in_hand.release(is_served=self._place is not None)
            self._place_in_hand = None

    async def __aenter__(self) -> "Slot":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()


class MailboxSlot(Slot):
    """A letter's right to leave through a customer's mailbox, whose connections and rates all workers share."""

    def __init__(
        self,
        letter: LetterContext,
        route: Route,
        lane: Lane,
        bulkheads: Bulkheads,
        common: Common,
        limits: MailboxLimits,
    ) -> None:
        super().__init__(letter, route, lane, bulkheads)
        self._common = common
        self._limits = limits
        self.key = MailboxKey(route.account_id, route.mailbox_id or "")
        self.revision = Revision(lane.fingerprint, letter.context.directory.version)
        self._share: ConnectionLease | None = None  # as long as the letter has one of its connections

    async def denied(self) -> Denied | None:
        """As for the relay; also denies letters of a suspended mailbox."""
        if suspension := await self._suspension():
            return Suspended(suspension.reason)
        return await super().denied()

    async def connect(self) -> Denied | None:
        """As for the relay; the connection is one of those that all workers share."""
        if suspension := await self._suspension():
            return Suspended(suspension.reason)
        if denied := await super().connect():
            return denied
        share = self._common.shares.of(self.key)
        try:
            denied = await self._enter(share)
        finally:
            self._resize_lane(share)
        if denied is None:
            self._share = share
        return denied

    async def _suspension(self) -> Suspension | None:
        return await self._common.suspensions.in_the_way_of(self.key, self.revision)

    def _resize_lane(self, share: ConnectionLease) -> None:
        """Admit as many letters as can have a connection."""
        self.lane.resize(share.room(self._limits.connections))

    async def _enter(self, share: ConnectionLease) -> Denied | None:
        if suspension := self._common.suspensions.of(self.key):  # an obstacle met by earlier letters applies to us too
            return Suspended(suspension.reason)
        entry = await share.take(self.revision, self._limits)
        if isinstance(entry, Shut):
            self._common.suspensions.learn_one(entry.suspension)
            if await self._suspension() is None:
                entry = await share.take(self.revision, self._limits)
        return await self._denied_by(entry)

    async def _denied_by(self, entry: Entry | None) -> Denied | None:
        if entry is None or isinstance(entry, Entered):
            return None
        if isinstance(entry, Shut):
            return Suspended(entry.suspension.reason)
        if isinstance(entry, Resting):
            return self._cooling_down(entry)
        if isinstance(entry, Outdated):
            await self._common.snapshot.refresh()
            return StaleSettings(_STALE_WAIT_S, self._turn or self._common.clock.now(), self.lane.backlog.token)
        return self.lane.wait_for_turn(self._turn)

    def _cooling_down(self, resting: Resting) -> CoolingDown:
        left_s = max((resting.until - self._common.clock.now()).total_seconds(), 0.0)
        self.lane.pause(left_s, resting.reason)
        return CoolingDown(resting.reason, left_s)

    async def consume(self, recipients: int) -> Denied | None:
        """As for the relay, which has no rates."""
        if not self._common.shares.of(self.key).needs_permits(self._limits):
            return None
        obstacle = await self._common.states.permit(self.key, self._limits, recipients)
        if isinstance(obstacle, Shut):
            self._common.suspensions.learn_one(obstacle.suspension)
            return Suspended(obstacle.suspension.reason)
        if isinstance(obstacle, Resting):
            return self._cooling_down(obstacle)
        return None if obstacle is None else self._limited(obstacle)

    def _limited(self, limited: Limited) -> Denied:
        """Report a reached daily limit; at a per-minute limit the letter waits in the backlog."""
        if limited.is_of_day:
            # Not for the whole time at once: refunds meanwhile leave room.
            soon = self._common.clock.now() + _DAYS_LIMIT_LOOK
            return self._cooling_down(Resting(min(limited.until, soon), Reason.QUOTA_EXCEEDED))
        self.lane.hold(limited.until)
        return self.lane.wait_for_turn(None)

    async def ended(self, transmission: Transmission, recipients: int) -> None:
        """Record whether the sign-in succeeded, and refund what was counted in vain."""
        share = self._common.shares.of(self.key)
        with suppress(Unavailable):  # the next letter reports it too; a count too high only makes letters wait
            if _shows_sign_in(transmission) and self._common.suspensions.of(self.key) is None:
                await share.prove(self.revision)
            if share.needs_permits(self._limits) and not (transmission.accepted or transmission.uncertain):
                await self._common.states.refund(self.key, recipients)

    async def cool_down(self, seconds: float, reason: Reason) -> None:
        """Start a cooldown of this mailbox in all workers."""
        self.lane.pause(seconds, reason)
        until = self._common.clock.now() + timedelta(seconds=seconds)
        with suppress(Unavailable):  # the other workers then learn it from the server
            connections = await self._common.states.rest(self.key, until, reason)
            if connections is not None:
                log.warning("mailbox.connections_lowered", mailbox_id=self.key.mailbox_id, connections=connections)
                await self._common.shares.drop(self.key)

    async def has_newer_settings(self, reason: Reason) -> bool:
        """True when the settings refused for this reason are no longer the mailbox's current ones."""
        self.lane.pause(PATIENCE_S, reason)  # no other letter tries meanwhile; changed settings get another lane
        return await self._common.newer_settings.there_are(self.key, self.revision)

    async def suspend(self, suspension: Suspension) -> None:
        """Suspend the mailbox in all workers."""
        await self._common.suspensions.suspend(suspension)

    def release_connection(self) -> None:
        """As for the relay, unless no other letter should try this mailbox yet.

        That is so until the mailbox is proven to work, and once it has just been suspended.
        """
        share = self._share
        if share is None or share.is_probe or self._is_suspended:
            return
        self._share = None
        share.give_back()
        self._resize_lane(share)
        super().release_connection()

    async def release(self) -> None:
        """As for the relay; after a failure, another worker may try next: perhaps only this host cannot."""
        share, self._share = self._share, None
        try:
            if share is not None:
                await self._give_back(share)
                self._resize_lane(share)
        finally:
            await super().release()

    async def _give_back(self, share: ConnectionLease) -> None:
        share.give_back()
        if share.is_probe or self._is_suspended or self._has_too_many(share):
            with suppress(Unavailable):  # returned later instead
                await self._common.shares.drop(self.key)

    @property
    def _is_suspended(self) -> bool:
        return self._common.suspensions.of(self.key) is not None

    def _has_too_many(self, share: ConnectionLease) -> bool:
        """True when the server just refused a connection: idle ones are requested again, under a lower cap."""
        obstacle = self.lane.obstacle()
        return share.held > share.in_use and obstacle is not None and obstacle.reason is Reason.TOO_MANY_CONNECTIONS


class MailboxGate:
    """Admits letters, each by the route of its sender. One object for all mailboxes of the worker."""

    def __init__(self, common: Common, lanes: Lanes, limits: Limits) -> None:
        self._common = common
        self._lanes = lanes
        self._limits = limits
        self._bulkheads = Bulkheads(
            InHand(Places(limits.in_hand, limits.shares), common.clock),
            Places(limits.files_concurrency, limits.shares),
            Places(limits.concurrency, limits.shares),
        )

    def admit(self, letter: LetterContext) -> Slot | Denied:
        """A slot with a place in hand, still to `connect`: for a letter that needs its files first."""
        slot = self._slot(letter)
        return slot.admit() or slot

    async def acquire(self, letter: LetterContext) -> Slot | Denied:
        """Everything that the letter needs to leave now, to be released; or why it waits. Raises `Unavailable`."""
        slot = self.admit(letter)
        return slot if isinstance(slot, Denied) else await self.connect(slot)

    async def connect(self, slot: Slot) -> Slot | Denied:
        """Connect the slot, or release it and say why there is no connection now. Raises `Unavailable`."""
        began_s = self._common.clock.monotonic()
        try:
            denied = await slot.connect()
        except BaseException:  # also cancellation: what the slot holds must return to others
            await slot.release()
            raise
        self._common.observer.timed(Stage.LANE, self._common.clock.monotonic() - began_s)
        if denied is not None:
            await slot.release()
            return denied
        return slot

    def next_turn(self, backlog: str, turn: datetime) -> datetime | None:
        """When a letter of this backlog may return; None: let it in."""
        return self._bulkheads.in_hand.next_turn(backlog, turn) or self._lanes.next_turn(backlog, turn)

    def _slot(self, letter: LetterContext) -> Slot:
        mailbox = letter.context.sender.mailbox
        if mailbox is not None:
            return self._slot_of(letter, mailbox)
        route = Route(PLATFORM, None, letter.context.directory.platform.relay, self._limits.relay_connections)
        token = lane_token(PLATFORM, "")
        return Slot(letter, route, self._lanes.of(token, route, route.max_connections, token=token), self._bulkheads)

    def _slot_of(self, letter: LetterContext, mailbox: Mailbox) -> MailboxSlot:
        limits = self._limits.of(mailbox)
        route = Route(letter.context.sender.account.id, mailbox.id, mailbox.smtp, limits.connections)
        # The whole mailbox, not only its server: "sender not owned" ends when an administrator changes the address.
        most, token = self._bulkheads.in_hand.places.most_of_mailbox, lane_token(route.account_id, mailbox.id)
        lane = self._lanes.of(token, mailbox, limits.connections, most, token)
        if not lane.fingerprint:
            lane.fingerprint = fingerprint(mailbox)
            lane.resize(1)  # until it is known how many connections this worker may have
            lane.backlog.pace_s = 60 / limits.per_minute if limits.per_minute else 0.0
        return MailboxSlot(letter, route, lane, self._bulkheads, self._common, limits)


def _shows_sign_in(transmission: Transmission) -> bool:
    if transmission.accepted or transmission.uncertain:
        return True
    return any(trouble.phase in _BEYOND_SIGN_IN for trouble in transmission.refused.values())
