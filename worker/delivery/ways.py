"""A mailbox's way out of this worker: first its lane here, then what it shares with the same lane in other workers."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from worker.delivery.backlog import Closed
from worker.delivery.case import Case
from worker.delivery.in_hand import InHand
from worker.delivery.lanes import Lane, Lanes, Place
from worker.delivery.limits import Limits
from worker.delivery.mailbox_states import (
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
from worker.delivery.newer_settings import PATIENCE_S, NewerSettings
from worker.delivery.ports import Clock, Route, SnapshotService
from worker.delivery.shares import Share, Shares
from worker.delivery.suspensions import Suspensions
from worker.domain.fingerprint import fingerprint
from worker.domain.identity import lane_token
from worker.domain.secret_references import PLATFORM
from worker.domain.snapshot import Mailbox
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import Phase, Reason
from worker.errors import Unavailable

log = structlog.get_logger(__name__)

_BEYOND_SIGN_IN = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})
_OUTDATED_WAIT_S = 5.0
_DAYS_LIMIT_LOOK = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Common:
    """What the ways of all mailboxes work with."""

    states: MailboxStates
    shares: Shares
    suspensions: Suspensions
    snapshot: SnapshotService
    newer_settings: NewerSettings
    clock: Clock


class Way:
    """The way of the platform's own relay: only a lane, because its capacity is each worker's own."""

    def __init__(self, route: Route, lane: Lane) -> None:
        self.route = route
        self.lane = lane
        self.token = lane_token(route.account_id, route.mailbox_id or "")

    def passage(self, case: Case) -> "Passage":
        """A context: be on the way with one letter, or learn why not now."""
        return Passage(self.lane.place(case.work.turn))

    async def closed(self, case: Case) -> Closed | None:
        """Why the letter would find no room on the way now. Raises `Unavailable`."""
        return self.lane.closed(case.work.turn)

    async def permit(self, recipients: int) -> Closed | None:  # noqa: ARG002 - the interface
        """Ask to send one letter now."""
        return None

    async def ended(self, transmission: Transmission, recipients: int) -> None:
        """Learn from what became of a letter."""

    async def rest(self, seconds: float, reason: Reason) -> None:
        """Let nothing through for a while."""
        self.lane.pause(seconds, reason)


class MailboxWay(Way):
    """The way of a customer's mailbox, which all workers share."""

    def __init__(self, route: Route, lane: Lane, common: Common, limits: MailboxLimits, revision: Revision) -> None:
        super().__init__(route, lane)
        self._common = common
        self._limits = limits
        self.key = MailboxKey(route.account_id, route.mailbox_id or "")
        self.revision = revision

    def passage(self, case: Case) -> "MailboxPassage":
        """As for any way; the letter has one of the connections that all workers share. Raises `Unavailable`."""
        return MailboxPassage(self, case)

    async def closed(self, case: Case) -> Closed | None:
        """As for any way; a suspended mailbox is closed too. Raises `Unavailable`."""
        if suspension := await self.suspension():
            return Closed(None, suspension.reason)
        return await super().closed(case)

    async def enter(self, share: Share, case: Case) -> Closed | None:
        """Have a connection, to `leave` it again; or learn why not. Raises `Unavailable`."""
        try:
            return await self._enter(share, case)
        finally:
            self.resize(share)

    def resize(self, share: Share) -> None:
        """Let as many letters in as can have a connection."""
        self.lane.resize(share.room(self._limits.connections))

    async def suspension(self) -> Suspension | None:
        """What the mailbox is suspended for, if it is. Raises `Unavailable`."""
        return await self._common.suspensions.in_the_way_of(self.key, self.revision)

    def share(self) -> Share:
        """This worker's share of the mailbox's connections."""
        return self._common.shares.of(self.key)

    async def leave(self, share: Share) -> None:
        """Where it did not work, another worker may try next: perhaps only this host has no way there."""
        share.give_back()
        if share.is_probe or self.is_suspended or self._has_too_many(share):
            with suppress(Unavailable):  # it is given back later then
                await self._common.shares.drop(self.key)

    @property
    def is_suspended(self) -> bool:
        """Whether this worker knows the mailbox to be suspended."""
        return self._common.suspensions.of(self.key) is not None

    def _has_too_many(self, share: Share) -> bool:
        """Whether the server refused a connection just now: what is at rest is asked for anew, under a lower cap."""
        obstacle = self.lane.obstacle()
        return share.held > share.in_use and obstacle is not None and obstacle.reason is Reason.TOO_MANY_CONNECTIONS

    async def _enter(self, share: Share, case: Case) -> Closed | None:
        if suspension := self._common.suspensions.of(self.key):  # what those before us met concerns us too
            return Closed(None, suspension.reason)
        entry = await share.take(self.revision, self._limits)
        if isinstance(entry, Shut):
            self._common.suspensions.learn_one(entry.suspension)
            if await self._common.suspensions.in_the_way_of(self.key, self.revision) is None:
                entry = await share.take(self.revision, self._limits)
        return await self._closed(entry, case)

    async def _closed(self, entry: Entry | None, case: Case) -> Closed | None:
        if entry is None or isinstance(entry, Entered):
            return None
        if isinstance(entry, Shut):
            return Closed(None, entry.suspension.reason)
        if isinstance(entry, Resting):
            return self._resting(entry)
        if isinstance(entry, Outdated):
            await self._common.snapshot.refresh()
            return Closed(_OUTDATED_WAIT_S, turn=case.work.turn)
        return self.lane.wait_for_turn(case.work.turn)

    def _resting(self, resting: Resting) -> Closed:
        left_s = max((resting.until - self._common.clock.now()).total_seconds(), 0.0)
        self.lane.pause(left_s, resting.reason)
        return Closed(left_s, resting.reason)

    async def permit(self, recipients: int) -> Closed | None:
        """Ask to send one letter now, where the mailbox has a rate; it is counted. Raises `Unavailable`."""
        if not self._common.shares.of(self.key).needs_permits(self._limits):
            return None
        obstacle = await self._common.states.permit(self.key, self._limits, recipients)
        if isinstance(obstacle, Shut):
            self._common.suspensions.learn_one(obstacle.suspension)
            return Closed(None, obstacle.suspension.reason)
        if isinstance(obstacle, Resting):
            return self._resting(obstacle)
        return None if obstacle is None else self._limited(obstacle)

    def _limited(self, limited: Limited) -> Closed:
        """A day's limit is told of; with a minute's the letter has its turn, as in any backlog."""
        if limited.is_of_day:
            # Not for all of that time at once: what is taken back meanwhile leaves room.
            soon = self._common.clock.now() + _DAYS_LIMIT_LOOK
            return self._resting(Resting(min(limited.until, soon), Reason.QUOTA_EXCEEDED))
        self.lane.hold(limited.until)
        return self.lane.wait_for_turn(None)

    async def ended(self, transmission: Transmission, recipients: int) -> None:
        """See whether the sign-in succeeded, and take back what was counted for nothing."""
        share = self._common.shares.of(self.key)
        with suppress(Unavailable):  # the next letter says so as well; a count too high only makes letters wait
            if _shows_sign_in(transmission) and self._common.suspensions.of(self.key) is None:
                await share.prove(self.revision)
            if share.needs_permits(self._limits) and not (transmission.accepted or transmission.uncertain):
                await self._common.states.refund(self.key, recipients)

    async def rest(self, seconds: float, reason: Reason) -> None:
        """Let nothing of this mailbox leave any worker for a while."""
        self.lane.pause(seconds, reason)
        until = self._common.clock.now() + timedelta(seconds=seconds)
        with suppress(Unavailable):  # the other workers hear of it from the server then
            connections = await self._common.states.rest(self.key, until, reason)
            if connections is not None:
                log.warning("mailbox.connections_lowered", mailbox_id=self.key.mailbox_id, connections=connections)
                await self._common.shares.drop(self.key)

    async def has_newer_settings(self, reason: Reason) -> bool:
        """Whether what was refused, for this reason, is not what the mailbox's settings are by now."""
        self.lane.pause(PATIENCE_S, reason)  # nobody else tries while we look; with other settings the lane is another
        return await self._common.newer_settings.there_are(self.key, self.revision)

    async def suspend(self, suspension: Suspension) -> None:
        """Stop the mailbox in all workers."""
        await self._common.suspensions.suspend(suspension)


class Passage:
    """Being on the way with one letter; the context gives why that is not possible now."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def __aenter__(self) -> Closed | None:
        return await self._place.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        self._place.leave()

    def accepted(self) -> None:
        """The server has the letter: the next one may have its connection, while this one's outcome is recorded."""
        self._place.leave()


class MailboxPassage(Passage):
    """Being on a mailbox's way."""

    def __init__(self, way: MailboxWay, case: Case) -> None:
        super().__init__(way.lane.place(case.work.turn))
        self._way = way
        self._case = case
        self._share: Share | None = None  # as long as the letter has one of its connections

    async def __aenter__(self) -> Closed | None:
        if suspension := await self._way.suspension():
            return Closed(None, suspension.reason)
        if closed := await self._place.__aenter__():
            return closed
        share = self._way.share()
        try:
            closed = await self._way.enter(share, self._case)
        except BaseException:  # also cancellation: the place is somebody else's then
            self._place.leave()
            raise
        if closed is None:
            self._share = share
        return closed

    async def __aexit__(self, *_: object) -> None:
        share, self._share = self._share, None
        try:
            if share is not None:
                await self._way.leave(share)
                self._way.resize(share)
        finally:
            self._place.leave()

    def accepted(self) -> None:
        share = self._share
        # Nobody else tries a mailbox before it is known to work; and what was refused just now concerns the next one.
        if share is None or share.is_probe or self._way.is_suspended:
            return
        self._share = None
        share.give_back()
        self._way.resize(share)
        self._place.leave()


class Ways:
    """All ways out of a worker."""

    def __init__(self, common: Common, lanes: Lanes, in_hand: InHand, limits: Limits) -> None:
        self._common = common
        self._lanes = lanes
        self._in_hand = in_hand
        self._limits = limits

    def of(self, case: Case) -> Way:
        """The way that the letters of a case take."""
        mailbox = case.sender.mailbox
        if mailbox is None:
            route = Route(PLATFORM, None, case.directory.platform.relay, self._limits.relay_connections)
            return Way(route, self._lanes.of(lane_token(PLATFORM, ""), route, route.max_connections))
        return self._of_mailbox(case, mailbox)

    def next_turn(self, lane: str, turn: datetime) -> datetime | None:
        """When a letter that waits for its turn in this lane may come again; None: let it in."""
        return self._in_hand.next_turn(lane, turn) or self._lanes.next_turn(lane, turn)

    def _of_mailbox(self, case: Case, mailbox: Mailbox) -> MailboxWay:
        limits = self._limits.of(mailbox)
        route = Route(case.sender.account.id, mailbox.id, mailbox.smtp, limits.connections)
        # All of the mailbox, not only its server: to mend "sender not owned" somebody changes the address.
        most = self._in_hand.places.most_of_mailbox
        lane = self._lanes.of(lane_token(route.account_id, mailbox.id), mailbox, limits.connections, most)
        if not lane.fingerprint:
            lane.fingerprint = fingerprint(mailbox)
            lane.resize(1)  # until it is known how many connections this worker may have
            lane.backlog.pace_s = 60 / limits.per_minute if limits.per_minute else 0.0
        revision = Revision(lane.fingerprint, case.directory.version)
        return MailboxWay(route, lane, self._common, limits, revision)


def _shows_sign_in(transmission: Transmission) -> bool:
    if transmission.accepted or transmission.uncertain:
        return True
    return any(trouble.phase in _BEYOND_SIGN_IN for trouble in transmission.refused.values())
