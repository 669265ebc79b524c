"""Replaying and discarding dead letters, with an audit event for each run: who, why, how many."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from worker.delivery.messages import Publication
from worker.delivery.ports import Clock
from worker.delivery.signatures import Signatures
from worker.domain.events.cloudevents import parse
from worker.domain.results.events import DeadLetterDiscardedEvent, DeadLetterReplayedEvent, to_message
from worker.domain.results.models import DeadLetterAct
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.domain.work import RECIPIENTS, parse_positions
from worker.errors import InvalidEvent, Unavailable
from worker.operations.dead_letters.bulk import BulkRun, RunStats
from worker.operations.dead_letters.death import UNKNOWN
from worker.operations.dead_letters.export import FiledMessage
from worker.operations.dead_letters.filter import Selection
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.queue import DeadMessage, Publish
from worker.operations.dead_letters.replay_rules import Refusal, ReplayRules, destination, refusal, replayed

_AUDIT_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's request. `id` becomes the id of the audit event, and marks the replayed messages.

    `consents` names what the operator allows beyond the rules.
    """

    id: str
    operator: str
    why: str
    selection: Selection
    limit: int | None = None
    consents: tuple[str, ...] = ()


class ActEvent(Protocol):
    """Builds the audit event of one kind of action."""

    def __call__(
        self, *, id: str, source: str, time: datetime, data: DeadLetterAct
    ) -> DeadLetterReplayedEvent | DeadLetterDiscardedEvent: ...


class Consents(Protocol):
    """The part of the ledger that stores operators' consents (`delivery.ledger.Ledger`)."""

    async def consent(self, event_key: str, recipients: Sequence[int], up_to_attempt: int) -> None: ...


class Replay:
    """Sends letters back to the work queue they died in, signed as workers sign their messages.

    A letter without a worker's signature is trusted only for its event: it goes back as if it were new. Consent to
    resend an uncertain delivery is written to the ledger, out of producers' reach, before the letter is published.
    """

    event: ActEvent = DeadLetterReplayedEvent

    def __init__(
        self,
        publish: Publish,
        topology: Topology,
        rules: ReplayRules,
        replay_id: str,
        clock: Clock,
        signatures: Signatures,
        consents: Consents,
    ) -> None:
        self._publish = publish
        self._signatures = signatures
        self._consents = consents
        self._topology = topology
        self._rules = rules
        self._replay_id = replay_id
        self._clock = clock

    def refusal(self, message: DeadMessage, letter: DeadLetter) -> Refusal | None:
        why_not = refusal(letter, self._topology, self._rules, self._replay_id)
        if why_not is None and letter.queue == self._topology.sent_copy and not self._is_ours(message):
            return Refusal.UNSIGNED
        return why_not

    async def do(self, message: DeadMessage, letter: DeadLetter) -> None:
        queue = destination(letter, self._topology)
        if queue is None:
            raise LookupError("this letter has no destination")
        if not self._is_ours(message):
            message, letter = _without_ours(message), replace(letter, reason=UNKNOWN, attempts=0)
        elif letter.reason == Reason.OUTCOME_UNKNOWN:
            await self._allow(message, letter)
        again = replayed(message, letter, queue, self._replay_id, self._clock.now())
        await self._publish(await self._signatures.signed(again))

    def _is_ours(self, message: DeadMessage) -> bool:
        content_type = message.properties.get("content_type")
        return self._signatures.is_ours(
            message.headers, content_type if isinstance(content_type, str) else None, message.body
        )

    async def _allow(self, message: DeadMessage, letter: DeadLetter) -> None:
        content_type = message.properties.get("content_type")
        try:
            event = parse(message.headers, str(content_type) if content_type else None, message.body)
            positions = parse_positions(str(message.headers.get(RECIPIENTS, "")))
        except (InvalidEvent, ValueError):
            return  # no part of it was ever uncertain
        await self._consents.consent(event.key, positions, letter.attempts)


def _without_ours(message: DeadMessage) -> DeadMessage:
    headers = {name: value for name, value in message.headers.items() if not name.startswith("sendas-")}
    return FiledMessage(message.place, message.body, headers, message.properties)


class Discard:
    """Discards letters."""

    event: ActEvent = DeadLetterDiscardedEvent

    def refusal(self, message: DeadMessage, letter: DeadLetter) -> Refusal | None:  # noqa: ARG002 - all can be dropped
        return None

    async def do(self, message: DeadMessage, letter: DeadLetter) -> None:
        """Do nothing: removing the letter from the queue is the whole action."""


class Auditor:
    """Publishes the audit event of a run, including a run that was interrupted."""

    def __init__(self, publish: Publish, topology: Topology, source: str, clock: Clock) -> None:
        self._publish = publish
        self._exchange = topology.results_exchange
        self._source = source
        self._clock = clock

    async def carry_out(self, campaign: BulkRun, event: ActEvent, order: Order) -> RunStats:
        """Run a bulk action and publish its audit event with the number of letters handled.

        Raises:
            Unavailable: the connection was lost or the event was not confirmed; completed actions stand.
        """
        try:
            await campaign.run()
        finally:
            if campaign.tally.done:
                await _whatever_happens(self._tell(campaign.tally, event, order))
        return campaign.tally

    async def _tell(self, tally: RunStats, event: ActEvent, order: Order) -> None:
        selection = order.selection.words() | ({} if order.limit is None else {"limit": str(order.limit)})
        act = DeadLetterAct(
            operator=order.operator,
            why=order.why,
            count=tally.done,
            selection=selection,
            consents=order.consents,
            by_reason=dict(tally.by_reason),
        )
        message = to_message(event(id=order.id, source=self._source, time=self._clock.now(), data=act))
        properties = message.properties
        publication = Publication(
            exchange=self._exchange,
            routing_key=message.routing_key,
            body=message.body,
            headers=message.headers,
            content_type=properties.content_type,
            correlation_id=properties.correlation_id,
            type=properties.type,
            timestamp=properties.timestamp,
            must_route=False,
        )
        try:
            await asyncio.wait_for(self._publish(publication), _AUDIT_TIMEOUT_S)
        except TimeoutError:
            raise Unavailable("the broker did not confirm the event that tells of it") from None


async def _whatever_happens(job: Awaitable[None]) -> None:
    """Finish the job even if the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(job)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
