"""Messages of the work queue through the whole delivery, with a mail server that takes everything."""

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from fuzz.message import read_message
from fuzz.target import CANARY, Target
from fuzz.virtual_loop import VirtualLoop
from fuzz.words import check_refusal
from fuzz.world import FixedClock, FixedDirectory
from tests.doubles.ledger import MemoryLedger
from worker.delivery.context import EventContext
from worker.delivery.instrumentation import Stage
from worker.delivery.limits import CopyLimits, Limits
from worker.delivery.messages import Arrival, Publication
from worker.delivery.ports import BeforeFinalDot, CopyTarget, Route, SavedCopy
from worker.delivery.requeue import DEAD_DETAIL, DEAD_REASON
from worker.delivery.services import Rules, Services
from worker.delivery.wiring import build_delivery
from worker.domain.events.models import File
from worker.domain.failure.classify import Classification
from worker.domain.letter.model import ComposedLetter
from worker.domain.results.events import parse_result
from worker.domain.slo import Promptness
from worker.domain.topology import Topology
from worker.domain.transmission import Reply, Transmission
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason, UncertainPolicy
from worker.errors import FileUnavailable

_LOOP = VirtualLoop()
_TOPOLOGY = Topology()
_RULES = Rules(
    topology=_TOPOLOGY,
    source="/sendas",
    limits=Limits(max_age_s=86_400.0, relay_connections=10),
    copy_limits=CopyLimits(max_age_s=86_400.0, max_bytes=16_000_000),
    uncertain_policy=UncertainPolicy.CHECK,
    unknown_sender_wait_s=600.0,
)


class _Snapshot:
    """The fixed snapshot; there is no newer one."""

    directory = FixedDirectory()

    async def refresh(self) -> None: ...


class _Transport:
    """Takes everything."""

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        del route
        await before_final_dot(letter.envelope_to)
        return Transmission(accepted=dict.fromkeys(letter.envelope_to, Reply(250, "2.0.0", "queued")))

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None: ...
    async def close(self) -> None: ...


class _SentFolder:
    """Nothing is there, and everything is saved."""

    async def save(
        self, target: CopyTarget, message_id: str, date: datetime, copy: bytes, *, also_known_as: str | None = None
    ) -> SavedCopy:
        del target, message_id, date, copy
        return SavedCopy(CopyOutcome.SAVED, "Sent")

    async def find(self, target: CopyTarget, message_id: str) -> bool:
        del target, message_id
        return False

    async def close(self) -> None: ...


class _NoFiles:
    """No file can be had."""

    async def fetch(self, file: File, max_bytes: int) -> bytes:
        del file, max_bytes
        raise FileUnavailable("there is no such file", is_permanent=True)


class _Observer:
    """Nobody counts."""

    def settled(self, queue: str, event_type: EventType | None, outcome: str) -> None: ...
    def attempted(self, provider: str, transmission: Transmission) -> None: ...
    def delivered(self, case: EventContext, recipients: int, at: datetime) -> None: ...
    def ended(self, case: EventContext, outcome: Outcome, why: Classification, recipients: int) -> None: ...
    def lost(self, recipients: int) -> None: ...
    def repeated(self, outcome: Outcome, recipients: int) -> None: ...
    def copied(self, provider: str, outcome: CopyOutcome, seconds: float, promptness: Promptness | None) -> None: ...
    def copy_deferred(self, reason: Reason) -> None: ...
    def checked(self, outcome: str, seconds: float) -> None: ...
    def timed(self, stage: Stage, seconds: float) -> None: ...
    def buried(self, reason: Reason) -> None: ...

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        del stage
        return nullcontext()


def check(data: bytes) -> None:
    """Of every message something comes out, and nothing of it is the delivery's own fault."""
    message = read_message(data)
    _LOOP.run(_check_handling(Arrival(_TOPOLOGY.outbound, message.body, message.headers, message.content_type)))


async def _check_handling(arrival: Arrival) -> None:
    clock = FixedClock()
    ledger = MemoryLedger("fuzz", clock)
    services = Services(
        rules=_RULES,
        snapshot=_Snapshot(),
        ledger=ledger,
        mailboxes=ledger.mailboxes,
        transport=_Transport(),
        sent_folder=_SentFolder(),
        files=_NoFiles(),
        clock=clock,
        observer=_Observer(),
        publish=_publish,
    )
    delivery = build_delivery(services)
    publications = await delivery.pipeline.handle(arrival)
    assert publications, "a message vanished"
    for publication in publications:
        _check(publication)
        if publication.routing_key == _TOPOLOGY.sent_copy:
            job = Arrival(_TOPOLOGY.sent_copy, publication.body, publication.headers, publication.content_type)
            assert await delivery.copies.handle(job)


async def _publish(publication: Publication) -> None:
    _check(publication)


def _check(publication: Publication) -> None:
    if publication.exchange:
        parse_result(publication.body)
        return
    assert publication.headers.get(DEAD_REASON) != Reason.INTERNAL_ERROR, publication.headers
    check_refusal(str(publication.headers.get(DEAD_DETAIL, "")))


TARGET = Target(
    check,
    tokens=(
        *(b"ce-id:", b"ce-type:", b"ce-source:", b"ce-time:", b"ce-specversion:", b"comment.created", b"task.created"),
        *(b"sendas-attempt: 1", b"sendas-mode: common", b"sendas-mode: each", b"sendas-recipients: 0-3,7"),
        *(b"sendas-first-seen: 2026-11-23T10:00:00+00:00", b"sendas-first-seen: 0001-01-01T00:00:00+23:59"),
        *(
            b'"recipients":[',
            b'"role":"bcc"',
            b'"mailbox_id":"mb-support"',
            b'"mailbox_id":"mb-ivan"',
            b'"account_id":',
        ),
        *(b"mailbox.check.requested", b"configuration.changed", b'"left-out"', b"\\u0000", b"\\ud800", CANARY.encode()),
    ),
)
