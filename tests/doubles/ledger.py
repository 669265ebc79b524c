"""An in-memory ledger; passes the same contract suite as the databases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.doubles.ledger_mailboxes import MailboxStore, MemoryMailboxStates
from worker.adapters.ledger.operations import (
    Entry,
    State,
    checked_key,
    hand_overs_of,
    to_claim,
    to_consent,
    to_hand_over,
    to_record,
    to_release,
    to_reopen,
)
from worker.delivery.ledger import Claim, Done, Granted, HandOver, Held, Record, Uncertain
from worker.delivery.ports import Clock
from worker.domain.identity import counted_letter
from worker.domain.recipient_limit import KEPT_SLOTS, Letters, RecipientLimit, slot_of
from worker.domain.vocabulary import Outcome
from worker.errors import ForeignEvent, LostClaim, Unavailable


@dataclass(eq=False)
class _Owner:
    name: str
    alive_until: datetime


@dataclass
class _Entry:
    account_id: str
    owner: _Owner | None
    claimed_at: datetime
    state: State = State.CLAIMED
    hand_over: HandOver | None = None
    done: Done | None = None
    recorded_at: datetime | None = None


@dataclass
class MemoryStore:
    """State shared by several owners, like a database."""

    events: dict[str, dict[int, _Entry]] = field(default_factory=dict)
    mailboxes: MailboxStore = field(default_factory=MailboxStore)
    consents: dict[tuple[str, int], int] = field(default_factory=dict)
    letters: dict[str, Letters] = field(default_factory=dict)


class MemoryLedger:
    """Implements `worker.delivery.ledger.Ledger`; see there for what the methods do and raise."""

    def __init__(
        self,
        owner: str,
        clock: Clock,
        lease_s: float = 60,
        retention_s: float = 14 * 24 * 3600,
        store: MemoryStore | None = None,
    ) -> None:
        self._clock = clock
        self._lease = timedelta(seconds=lease_s)
        self._retention = timedelta(seconds=retention_s)
        store = store or MemoryStore()
        self._events = store.events
        self._consents = store.consents
        self._letters = store.letters
        self._me = _Owner(owner, clock.now())
        self._is_closed = False
        self.mailboxes = MemoryMailboxStates(store.mailboxes, self._me, clock, self._renew, self._is_living)

    async def claim(
        self, event_key: str, account_id: str, recipients: Sequence[int], limit: RecipientLimit | None = None
    ) -> dict[int, Claim]:
        operation = to_claim(event_key, account_id, recipients, limit)
        self._renew()
        entries = self._events.setdefault(operation.event_key, {})
        known = (entries[recipient] for recipient in operation.recipients if recipient in entries)
        if any(entry.account_id != account_id for entry in known):
            raise ForeignEvent("id: an event of another account has the same source and id, and came before")
        claims = {recipient: self._claim(entries, account_id, recipient) for recipient in operation.recipients}
        return claims if limit is None else {p: self._limited(event_key, p, each, limit) for p, each in claims.items()}

    def _claim(self, entries: dict[int, _Entry], account_id: str, recipient: int) -> Claim:
        entry = entries.setdefault(recipient, _Entry(account_id, self._me, self._clock.now()))
        if entry.done is not None:
            return entry.done
        if entry.owner is not self._me:
            if entry.owner is not None and self._is_alive(entry.owner):
                return Held(entry.owner.name)
            entry.owner, entry.claimed_at = self._me, self._clock.now()
        return Granted() if entry.hand_over is None else Uncertain(entry.hand_over)

    def _limited(self, event_key: str, recipient: int, claim: Claim, limit: RecipientLimit) -> Claim:
        if not isinstance(claim, Granted):
            return claim
        address, letter = limit.addresses[recipient], counted_letter(event_key, recipient)
        before = self._letters.get(address, Letters())
        self._letters[address], may = before.admit(letter, limit.came_at, limit.letters, self._clock.now())
        return Granted(is_over_limit=not may)

    async def hand_over(self, event_key: str, recipients: Sequence[int], hand_over: HandOver) -> None:
        operation = to_hand_over(event_key, recipients, hand_over)
        self._renew()
        entries = [self._mine(event_key, recipient) for recipient in operation.recipients]
        if any(entry.done is not None for entry in entries):
            raise LostClaim("this letter has ended")
        for entry in entries:
            entry.state, entry.hand_over = State.HANDED_OVER, hand_over
            entry.account_id = hand_over.account_id

    async def record(self, event_key: str, records: Sequence[Record]) -> None:
        to_record(event_key, records)
        self._renew()
        pending: list[tuple[_Entry, Done]] = []
        for record in records:
            done = Done(record.outcome, record.result_id, record.result)
            for recipient in record.recipients:
                entry = self._mine(event_key, recipient)
                pending.append((entry, done))
        known = [(entry.done.outcome, entry.done.result_id) for entry, _ in pending if entry.done is not None]
        if known:
            if known != [(done.outcome, done.result_id) for _, done in pending]:
                raise LostClaim("this letter has ended")
            return
        for entry, done in pending:
            entry.state, entry.done, entry.recorded_at = State.DONE, done, self._clock.now()

    async def release(self, event_key: str, recipients: Sequence[int]) -> None:
        operation = to_release(event_key, recipients, keeps_doubt=False)
        self._renew()
        for recipient, _ in self._unfinished(event_key, operation.recipients):
            del self._events[event_key][recipient]

    async def abandon(self, event_key: str, recipients: Sequence[int]) -> None:
        operation = to_release(event_key, recipients, keeps_doubt=True)
        self._renew()
        for recipient, entry in self._unfinished(event_key, operation.recipients):
            if entry.hand_over is None:
                del self._events[event_key][recipient]
            else:
                entry.owner = None

    async def consent(self, event_key: str, recipients: Sequence[int], up_to_attempt: int) -> None:
        operation = to_consent(event_key, recipients, up_to_attempt)
        self._renew()
        for key in operation.keys:
            self._consents[key] = max(up_to_attempt, self._consents.get(key, 0))

    async def reopen(self, event_key: str, recipients: Sequence[int]) -> None:
        operation = to_reopen(event_key, recipients)
        self._renew()
        entries = self._events.get(event_key, {})
        for recipient in operation.recipients:
            entry = entries.get(recipient)
            if entry is None or entry.done is None or entry.hand_over is None:
                continue
            if entry.done.outcome is Outcome.UNCERTAIN and entry.hand_over.attempt <= self._consents.get(
                (event_key, recipient), -1
            ):
                del entries[recipient]

    async def hand_overs(self, event_key: str) -> dict[int, HandOver | None]:
        return hand_overs_of(await self.entries(event_key))

    async def account_of(self, event_key: str) -> str | None:
        return next((entry.account_id for entry in await self.entries(event_key)), None)

    async def keep_alive(self) -> None:
        self._renew()

    async def expire(self) -> int:
        """As in the port; a claim is also removed once its owner has been dead for the retention."""
        self._renew()
        before = self._clock.now() - self._retention
        forgotten = 0
        for event_key, entries in list(self._events.items()):
            old = [recipient for recipient, entry in entries.items() if _is_old(entry, before)]
            for recipient in old:
                del entries[recipient]
            forgotten += len(old)
            if not entries:
                del self._events[event_key]
        oldest = slot_of(self._clock.now()) - KEPT_SLOTS
        for address in [address for address, letters in self._letters.items() if letters.newest < oldest]:
            del self._letters[address]
        return forgotten

    async def entries(self, event_key: str) -> list[Entry]:
        """The known state of an event's recipients, for an operator; read-only."""
        self._check_open()
        return [self._describe(*item) for item in sorted(self._events.get(checked_key(event_key), {}).items())]

    async def close(self) -> None:
        self._me.alive_until = self._clock.now()
        self._is_closed = True

    def _describe(self, recipient: int, entry: _Entry) -> Entry:
        return Entry(
            recipient=recipient,
            state=entry.state,
            account_id=entry.account_id,
            owner=None if entry.owner is None else entry.owner.name,
            is_owner_alive=entry.owner is not None and self._is_alive(entry.owner),
            claimed_at=entry.claimed_at,
            hand_over=entry.hand_over,
            outcome=None if entry.done is None else entry.done.outcome,
            result_id=None if entry.done is None else entry.done.result_id,
            recorded_at=entry.recorded_at,
        )

    def _renew(self) -> None:
        self._check_open()
        self._me.alive_until = self._clock.now() + self._lease

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the ledger is closed")

    def _is_living(self, owner: object) -> bool:
        return isinstance(owner, _Owner) and self._is_alive(owner)

    def _is_alive(self, owner: _Owner) -> bool:
        return owner.alive_until > self._clock.now()

    def _mine(self, event_key: str, recipient: int) -> _Entry:
        entry = self._events.get(event_key, {}).get(recipient)
        if entry is None or entry.owner is not self._me:
            raise LostClaim("the ledger gave this letter to another worker, or it has ended")
        return entry

    def _unfinished(self, event_key: str, recipients: Sequence[int]) -> Iterator[tuple[int, _Entry]]:
        entries = self._events.get(event_key, {})
        for recipient in recipients:
            entry = entries.get(recipient)
            if entry is not None and entry.owner is self._me and entry.done is None:
                yield recipient, entry


def _is_old(entry: _Entry, before: datetime) -> bool:
    if entry.claimed_at >= before or entry.state is State.HANDED_OVER:
        return False
    return entry.done is not None or entry.owner is None or entry.owner.alive_until < before
