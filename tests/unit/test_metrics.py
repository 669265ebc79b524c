"""Metrics: conventions, the page that lists them, and a scrape that Prometheus's own tool accepts."""

import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.builders import NOON, a_comment_event, a_mailbox, an_account
from tests.delivery_world import (
    GREYLISTED,
    IMAP,
    TOO_FAST,
    TOPOLOGY,
    UNKNOWN_RECIPIENT,
    UNREACHABLE,
    WRONG_PASSWORD,
    DeliveryWorld,
    an_arrival,
)
from tests.doubles.directory import a_directory
from tools.docgen import metrics as metrics_page
from worker.delivery.context import EventContext
from worker.delivery.instrumentation import Stage
from worker.delivery.messages import Arrival
from worker.domain.failure.classify import UNCERTAIN, Classification
from worker.domain.slo import COPY_WITHIN_S, LETTER_WITHIN_S, Promptness
from worker.domain.snapshot.model import Account
from worker.domain.snapshot.resolution import resolve
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply, Transmission
from worker.domain.vocabulary import Action, CopyOutcome, EventType, Outcome, Phase, Reason, Scope
from worker.domain.work import Work
from worker.telemetry.metrics import OTHER, READINGS, Metrics, Readings
from worker.telemetry.observer import MetricsObserver

ROOT = Path(__file__).parents[2]
IDENTIFYING = {"account", "account_id", "mailbox", "mailbox_id", "address", "event_id", "host", "recipient"}


@pytest.mark.parametrize("metric", metrics_page.described(), ids=lambda metric: metric.name)
def test_a_metric_keeps_the_conventions(metric: metrics_page.Described) -> None:
    """If a name, unit or label is against the conventions, then dashboards and cardinality suffer."""
    assert re.fullmatch(r"sendas_[a-z]+(_[a-z]+)*", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mb)(_|$)", metric.name)
    assert metric.meaning.endswith(".")
    assert not IDENTIFYING & set(metric.labels)


def test_the_page_is_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a metric is added or changed, then `python -m tools.docgen.metrics` is run."""
    monkeypatch.chdir(ROOT)
    assert metrics_page.main(["--check"]) == 0


def test_no_metric_is_described_twice() -> None:
    names = [metric.name for metric in metrics_page.described()]
    assert len(set(names)) == len(names)
    assert {"sendas_recipient_outcomes_total", "sendas_snapshot_age_seconds", "sendas_stage_seconds"} <= set(names)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def a_case(**work: Any) -> EventContext:
    """Ivan's comment from a company mailbox, in work."""
    account = an_account(mailboxes=[a_mailbox()])
    event = a_comment_event()
    resolution = resolve(account, event.data, NOON)
    arrival = Arrival("sendas.outbound", b"")
    return EventContext(arrival, event, Work(NOON, **work), a_directory([account]), resolution, NOON)


def because(reason: Reason, scope: Scope = Scope.MESSAGE, action: Action = Action.FAIL) -> Classification:
    return Classification(reason, scope, action)


def test_what_the_delivery_tells_is_counted() -> None:
    """If letters, attempts, copies and dead letters come to an outcome, then each is counted by its own labels."""
    registry = CollectorRegistry()
    observer = MetricsObserver(Metrics(registry))
    accepted, refused = Reply(250, None, "ok"), DeliveryFailure(Phase.RCPT, FailureKind.REPLY, Reply(550, None, "no"))
    observer.settled("sendas.outbound", EventType.COMMENT_CREATED, "done")
    observer.settled("sendas.outbound", None, "invalid")
    observer.attempted("gmail", Transmission(accepted={"a": accepted}, refused={"b": refused}, timings_s={"mail": 0.2}))
    observer.attempted("gmail", Transmission(refused={"b": refused}))
    observer.attempted("gmail", Transmission(accepted={"a": accepted}, uncertain={"b": refused}))
    observer.ended(a_case(), Outcome.FAILED, because(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT), 3)
    observer.ended(a_case(), Outcome.UNCERTAIN, UNCERTAIN, 2)
    observer.copied("yandex", CopyOutcome.SAVED, 7, Promptness.IN_TIME)
    observer.copied("gmail", CopyOutcome.PROVIDER_SAVES, 0, None)
    observer.buried(Reason.INVALID_EVENT)
    assert value(registry, "sendas_events_total", queue="sendas.outbound", type="unknown", outcome="invalid") == 1
    for result in ("accepted", "refused", "uncertain"):
        assert value(registry, "sendas_smtp_attempts_total", provider="gmail", result=result) == 1
    assert value(registry, "sendas_stage_seconds_sum", stage="mail") == 0.2
    assert value(registry, "sendas_recipient_outcomes_total", outcome="failed", reason="recipient_unknown") == 3
    assert value(registry, "sendas_uncertain_total") == 2
    assert value(registry, "sendas_sent_copies_total", provider="yandex", outcome="saved") == 1
    assert value(registry, "sendas_sent_copies_total", provider="gmail", outcome="provider_saves") == 1
    assert value(registry, "sendas_sent_copy_seconds_sum") == 7
    assert value(registry, "sendas_slo_copies_total", promptness="in_time") == 1
    assert value(registry, "sendas_dead_letters_total", reason="invalid_event") == 1


def test_a_stage_is_timed_whatever_its_end() -> None:
    """If a stage ends with an error, then its time counts all the same: slow failures must be seen."""
    registry = CollectorRegistry()
    times = iter([10.0, 12.5])
    observer = MetricsObserver(Metrics(registry), monotonic=lambda: next(times))
    with pytest.raises(LookupError), observer.stage(Stage.COMPOSE):
        raise LookupError
    assert value(registry, "sendas_stage_seconds_sum", stage="compose") == 2.5


@pytest.mark.parametrize(
    ("work", "late_s", "promptness"),
    [
        ({}, 60, Promptness.IN_TIME),
        ({}, 61, Promptness.LATE),
        ({"last_reason": "greylisted"}, 61, Promptness.EXCUSED),
        ({"last_reason": "greylisted"}, 59, Promptness.IN_TIME),
        ({"last_reason": "auth_failed"}, 61, Promptness.EXCUSED),
        ({"last_reason": "outcome_unknown"}, 61, Promptness.LATE),
        ({"turn": NOON}, 61, Promptness.EXCUSED),
    ],
)
def test_a_letter_counts_for_the_objective_unless_its_mailbox_kept_it(
    work: dict[str, Any], late_s: int, promptness: Promptness
) -> None:
    """If a letter is late, then it is ours unless its own mailbox or server made it wait."""
    registry = CollectorRegistry()
    MetricsObserver(Metrics(registry)).delivered(a_case(**work), 2, NOON + timedelta(seconds=late_s))
    assert value(registry, "sendas_slo_recipients_total", promptness=promptness) == 2
    assert sum(value(registry, "sendas_slo_recipients_total", promptness=each) or 0 for each in Promptness) == 2


@pytest.mark.parametrize(
    ("work", "why", "promptness"),
    [
        ({}, because(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT), Promptness.EXCUSED),
        ({}, because(Reason.SENDER_NOT_PERMITTED), Promptness.EXCUSED),
        ({}, because(Reason.AUTH_FAILED, Scope.PLATFORM), Promptness.LOST),
        ({}, because(Reason.EXPIRED), Promptness.LOST),
        ({"last_reason": "mailbox_full"}, because(Reason.EXPIRED), Promptness.EXCUSED),
        ({}, because(Reason.INTERNAL_ERROR), Promptness.LOST),
    ],
)
def test_a_letter_that_never_leaves_is_ours_unless_somebody_else_refused_it(
    work: dict[str, Any], why: Classification, promptness: Promptness
) -> None:
    registry = CollectorRegistry()
    MetricsObserver(Metrics(registry)).ended(a_case(**work), Outcome.FAILED, why, 1)
    assert value(registry, "sendas_slo_recipients_total", promptness=promptness) == 1


def test_a_letter_put_off_is_not_judged_yet() -> None:
    registry = CollectorRegistry()
    why = because(Reason.GREYLISTED, action=Action.RETRY)
    MetricsObserver(Metrics(registry)).ended(a_case(), Outcome.DEFERRED, why, 1)
    assert sum(value(registry, "sendas_slo_recipients_total", promptness=each) or 0 for each in Promptness) == 0


def test_the_thresholds_of_the_objectives_are_buckets() -> None:
    """If a histogram is to say how many were in time, then it has a bucket that ends there."""
    registry = CollectorRegistry()
    Metrics(registry)
    for name, threshold_s in (("delivery", LETTER_WITHIN_S), ("sent_copy", COPY_WITHIN_S)):
        assert value(registry, f"sendas_{name}_seconds_bucket", le=f"{threshold_s:.1f}") == 0


def test_checks_of_mailboxes_are_counted_and_timed() -> None:
    """If mailboxes are checked, then their number, what was found, and the time that it took are known."""
    registry = CollectorRegistry()
    observer = MetricsObserver(Metrics(registry))
    for outcome in ("good", "bad", "bad"):
        observer.checked(outcome, 2)
    assert value(registry, "sendas_mailbox_checks_total", outcome="good") == 1
    assert value(registry, "sendas_mailbox_checks_total", outcome="bad") == 2
    assert value(registry, "sendas_mailbox_check_seconds_sum") == 6
    assert value(registry, "sendas_mailbox_check_seconds_bucket", le="2.5") == 3


def test_readings_are_taken_at_each_scrape() -> None:
    """If a source changes between two scrapes, then the second shows it."""
    registry = CollectorRegistry()
    readings = Readings(registry, READINGS)
    numbers = {"auth_failed": 1.0}
    readings.add("sendas_lanes_waiting", lambda: sum(numbers.values()))
    readings.add_by_label("sendas_mailboxes_suspended", lambda: numbers)
    readings.add_by_labels("sendas_queue_messages", lambda: {("sendas.dead", "dead"): 4})
    assert value(registry, "sendas_lanes_waiting") == 1
    assert value(registry, "sendas_queue_messages", queue="sendas.dead", kind="dead") == 4
    numbers["mailbox_full"] = 2
    assert value(registry, "sendas_lanes_waiting") == 3
    assert value(registry, "sendas_mailboxes_suspended", reason="mailbox_full") == 2


def test_a_reading_must_be_declared() -> None:
    with pytest.raises(LookupError):
        Readings(CollectorRegistry(), READINGS).add("sendas_invented", lambda: 1)


def test_a_value_that_no_list_has_makes_no_series_of_its_own() -> None:
    """If code passes something as a label that is on no list, then all such values together are one series."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    before = number_of_series(registry)
    for number in range(1_000):
        metrics.attempts.labels(provider=f"mail-{number}.example", result=f"result {number}").inc()
    assert number_of_series(registry) <= before + 2  # the count and when it was made
    assert value(registry, "sendas_smtp_attempts_total", provider=OTHER, result=OTHER) == 1_000


def number_of_series(registry: CollectorRegistry) -> int:
    return sum(len(metric.samples) for metric in registry.collect())


TROUBLES: tuple[DeliveryFailure | None, ...] = (
    None,
    WRONG_PASSWORD,
    UNREACHABLE,
    GREYLISTED,
    UNKNOWN_RECIPIENT,
    TOO_FAST,
)


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Without logs: ten thousand lines take longer than the rest of the test."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("_quiet")
async def test_two_thousand_mailboxes_make_no_series() -> None:
    """If 2,000 mailboxes on as many hosts send, fail, are suspended and get copies, then a scrape is no longer."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    readings = Readings(registry, READINGS)
    world = DeliveryWorld(accounts=[account_of(number) for number in range(2_000)])
    world.observer = MetricsObserver(metrics)  # type: ignore[assignment]  # the real one in the double's place
    world.delivery = world.another_worker(world.ledger)
    readings.add_by_label("sendas_mailboxes_suspended", world.delivery.suspensions.counts)
    before = number_of_series(registry)
    for number in range(2_000):
        world.transport.recover()
        if trouble := TROUBLES[number % len(TROUBLES)]:
            world.transport.refuse(trouble)
        event = a_comment_event(f"evt-{number}", account_id=f"account-{number}")
        for publication in await world.delivery.pipeline.handle(an_arrival(event)):
            if publication.routing_key == TOPOLOGY.sent_copy:
                copy = Arrival(TOPOLOGY.sent_copy, publication.body, publication.headers, publication.content_type)
                await world.delivery.copies.handle(copy)
    assert len(world.delivery.lanes) == 2_000
    assert (
        value(registry, "sendas_events_total", queue=TOPOLOGY.outbound, type="comment.created", outcome="done") == 2_000
    )
    assert (value(registry, "sendas_recipient_outcomes_total", outcome="sent", reason="") or 0) > 200
    assert sum(world.delivery.suspensions.counts().values()) > 200
    assert number_of_series(registry) == before


def account_of(number: int) -> Account:
    """An account with one mailbox on a server of its own."""
    smtp, imap = {"host": f"smtp{number}.example"}, {**IMAP, "host": f"imap{number}.example"}
    mailbox = a_mailbox(
        id=f"mb-{number}", address=f"support@a{number}.example", smtp=smtp, sent_copy={"imap": imap, "mode": "always"}
    )
    return an_account(id=f"account-{number}", mailboxes=[mailbox])


async def test_what_waits_and_what_is_told_again_is_counted() -> None:
    """If letters wait for a suspended mailbox, or an event comes twice, then both are counted."""
    world = DeliveryWorld()
    await world.deliver(a_comment_event())
    await world.deliver(a_comment_event())
    assert world.observer.counts["repeated sent"] == 1
    world.transport.refuse(WRONG_PASSWORD, times=1)
    for event_id in ("evt-2", "evt-3"):
        world.publish(a_comment_event(event_id))
    await world.run(until_s=20)
    assert world.observer.counts["deferred auth_failed"] == 2
    assert world.observer.counts["delivered"] == 1
