"""Operators' actions on the dead queue: scan, dry run, replay, discard, show one, export. One at a time.

A letter held by one of them is invisible to the others, so a scan and an action never run together here.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import structlog

from worker.background import cancelled
from worker.console.dead_letters.board import Board
from worker.console.dead_letters.jobs import Job, Jobs, Kind, LeavingGate, Phase
from worker.console.dead_letters.patience import ConsiderateQueue
from worker.console.ports import OpenQueue
from worker.delivery.ports import Clock
from worker.delivery.signatures import Signatures
from worker.domain.topology import Topology
from worker.errors import SendasError, Unavailable
from worker.operations.dead_letters.actions import Auditor, Consents, Discard, Order, Replay
from worker.operations.dead_letters.bulk import BulkAction, BulkRun, look, with_whole_digest
from worker.operations.dead_letters.filter import Selection
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.queue import DeadMessage, Publish
from worker.operations.dead_letters.replay_rules import ReplayRules
from worker.operations.dead_letters.sightings import Sightings

MOST_AT_WORK = 10
MAX_RATE = 10_000
_BUSY_S = 30.0

log = structlog.get_logger(__name__)


class Refused(SendasError):
    """The request is not possible, or not now; the text says why."""


@dataclass(frozen=True, slots=True)
class Office:
    """Dependencies of actions: publisher, signatures, and the ledger's retention.

    `signatures` are those of the workers' ledger.
    """

    open_queue: OpenQueue
    publish: Publish
    topology: Topology
    source: str
    signatures: Signatures
    consents: Consents
    retention: timedelta
    clock: Clock


class DeadLetterDesk:
    """All actions on dead letters in this process."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._lock = asyncio.Lock()
        self.board = Board(office.open_queue, self._lock, office.clock)
        self.jobs = Jobs()

    @property
    def acting(self) -> Job | None:
        """The running action."""
        return next((job for job in self.jobs.latest() if job.phase is Phase.ACTING), None)

    def rules(self, *, resend_uncertain: bool, force_loop: bool, resend_forgotten: bool) -> ReplayRules:
        """The rules of a replay with an operator's consents; without one, letters past the ledger's retention stay."""
        return ReplayRules(
            resend_uncertain=resend_uncertain,
            force_loop=force_loop,
            resend_forgotten=resend_forgotten,
            remembered_since=self._now() - self._office.retention,
        )

    def plan(self, kind: Kind, planner: str, selection: Selection, rules: ReplayRules) -> Job:
        """Start an action's dry run. Raises `Refused` when too many are running."""
        if sum(job.is_busy for job in self.jobs.latest()) >= MOST_AT_WORK:
            raise Refused("too many acts are being counted: wait until they are done")
        gate = LeavingGate(self._lock)
        job = Job(kind, planner, selection, rules, self._now(), id=str(uuid4()), gate=gate)
        self.jobs.add(job)
        job.task = asyncio.create_task(self._guarded(job, self._count(job)))
        return job

    def start(self, job: Job, operator: str, why: str, rate: float) -> None:
        """Start the action itself. Raises `Refused` if it already started, lacks a reason, or another one runs."""
        if job.phase is not Phase.COUNTED or not job.counted.done:
            raise Refused("this action has already begun, or there is nothing to do")
        if not why:
            raise Refused("say why: it is recorded")
        if not 0 < rate <= MAX_RATE:
            raise Refused(f"the rate is 1 to {MAX_RATE} letters a second")
        if self.acting is not None:
            raise Refused("another action is in progress: wait for its end, or stop it")
        job.phase, job.operator, job.why, job.rate = Phase.ACTING, operator, why, rate
        job.task = asyncio.create_task(self._guarded(job, self._act(job)))

    def stop(self, job: Job) -> None:
        """Stop an action gracefully: letters in progress finish, all others stay."""
        if job.is_busy and job.task is not None and not job.is_stopping:
            job.is_stopping = True
            job.task.cancel()

    async def find(self, selection: Selection) -> tuple[DeadMessage, DeadLetter] | None:
        """One letter with its body."""
        found: list[tuple[DeadMessage, DeadLetter]] = []
        await self.look(selection, 1, lambda message, letter: found.append((message, letter)))
        return found[0] if found else None

    async def look(
        self, selection: Selection, limit: int | None, see: Callable[[DeadMessage, DeadLetter], None]
    ) -> int:
        """Pass the selected letters, whole, to `see`. Raises `Unavailable`, also if another action holds the queue."""
        await self._have_queue()
        try:
            async with self._office.open_queue() as queue:
                return await look(ConsiderateQueue(queue), selection, limit, see)
        finally:
            self._lock.release()

    async def close(self) -> None:
        """Stop everything gracefully."""
        tasks = [job.task for job in self.jobs.latest() if job.task is not None]
        await cancelled(*tasks)
        await self.board.close()

    async def _have_queue(self) -> None:
        try:
            async with asyncio.timeout(_BUSY_S):
                await self._lock.acquire()
        except TimeoutError:
            raise Unavailable("the dead letters are in use by an action in progress") from None

    async def _count(self, job: Job) -> None:
        sightings = Sightings(job.selection, self._office.topology)
        async with self._lock, self._office.open_queue() as opened:
            queue = ConsiderateQueue(opened)
            job.selection = await with_whole_digest(queue, job.selection)
            job.total = await queue.size()
            campaign = BulkRun(
                queue, self._deed(job), job.selection, self._office.clock, on_letter=_of(job, sightings.add)
            )
            job.counted = campaign.tally
            await campaign.rehearse()
        if not campaign.tally.matched:
            job.problem = sightings.complaint() or sightings.summary()
        job.phase = Phase.COUNTED

    async def _act(self, job: Job) -> None:
        office = self._office
        order = Order(job.id, job.operator or "", job.why, job.selection, None, job.rules.consents())
        event = Replay.event if job.kind is Kind.REPLAY else Discard.event
        auditor = Auditor(office.publish, office.topology, office.source, office.clock)
        await job.gate.enter()
        try:
            async with office.open_queue() as opened:
                queue = ConsiderateQueue(opened)
                job.total = await queue.size()
                campaign = BulkRun(queue, self._deed(job), job.selection, office.clock, per_s=job.rate, gate=job.gate)
                job.tally = campaign.tally
                await auditor.carry_out(campaign, event, order)
        finally:
            job.gate.leave()
            self.board.forget()
        job.phase = Phase.DONE

    async def _guarded(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        """Record a job's end, however it ends."""
        try:
            await work
        except asyncio.CancelledError:
            job.phase = Phase.STOPPED
            raise
        except SendasError as error:
            job.phase, job.problem = Phase.FAILED, str(error)
        except Exception as error:
            log.exception("console.job_failed")
            job.phase, job.problem = Phase.FAILED, f"internal error: {type(error).__name__}"
        finally:
            job.ended_at = self._now()

    def _deed(self, job: Job) -> BulkAction:
        office = self._office
        if job.kind is Kind.DISCARD:
            return Discard()
        return Replay(
            office.publish, office.topology, job.rules, job.id, office.clock, office.signatures, office.consents
        )

    def _now(self) -> datetime:
        return self._office.clock.now()


def _of(job: Job, add: Callable[[DeadLetter], None]) -> Callable[[DeadLetter], None]:
    """Forwards to the sightings only the letters that the job's person may see."""
    accounts = job.selection.accounts
    return add if accounts is None else lambda letter: add(letter) if letter.account_id in accounts else None
