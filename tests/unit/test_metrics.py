"""Metrics: conventions, the page that lists them, and a scrape that Prometheus's own tool accepts."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from worker.domain.transmission import Fault, Reply, Transmission, Trouble
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Phase, Reason
from worker.pages import metrics as metrics_page
from worker.telemetry.metrics import Metrics, Readings
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
    """If a metric is added or changed, then `python -m worker.pages.metrics` is run."""
    monkeypatch.chdir(ROOT)
    assert metrics_page.main(["--check"]) == 0


def test_no_metric_is_described_twice() -> None:
    names = [metric.name for metric in metrics_page.described()]
    assert len(set(names)) == len(names)
    assert {"sendas_letters_total", "sendas_snapshot_age_seconds", "sendas_stage_seconds"} <= set(names)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_what_the_delivery_tells_is_counted() -> None:
    """If letters, attempts, copies and dead letters come to an outcome, then each is counted by its own labels."""
    registry = CollectorRegistry()
    observer = MetricsObserver(Metrics(registry))
    accepted, refused = Reply(250, None, "ok"), Trouble(Phase.RCPT, Fault.REPLY, Reply(550, None, "no"))
    observer.settled("sendas.outbound", EventType.COMMENT_CREATED, "done")
    observer.settled("sendas.outbound", None, "invalid")
    observer.attempted("gmail", Transmission(accepted={"a": accepted}, refused={"b": refused}, timings_s={"mail": 0.2}))
    observer.attempted("gmail", Transmission(refused={"b": refused}))
    observer.attempted("gmail", Transmission(accepted={"a": accepted}, uncertain={"b": refused}))
    observer.ended(Outcome.FAILED, Reason.RECIPIENT_UNKNOWN, 3)
    observer.copied("yandex", CopyOutcome.SAVED)
    observer.buried(Reason.INVALID_EVENT)
    assert value(registry, "sendas_events_total", queue="sendas.outbound", type="unknown", outcome="invalid") == 1
    for result in ("accepted", "refused", "uncertain"):
        assert value(registry, "sendas_smtp_attempts_total", provider="gmail", result=result) == 1
    assert value(registry, "sendas_stage_seconds_sum", stage="mail") == 0.2
    assert value(registry, "sendas_letters_total", outcome="failed", reason="recipient_unknown") == 3
    assert value(registry, "sendas_sent_copies_total", provider="yandex", outcome="saved") == 1
    assert value(registry, "sendas_dead_letters_total", reason="invalid_event") == 1


def test_readings_are_taken_at_each_scrape() -> None:
    """If a source changes between two scrapes, then the second shows it."""
    registry = CollectorRegistry()
    readings = Readings(registry)
    numbers = {"auth_failed": 1.0}
    readings.add("sendas_in_flight", lambda: sum(numbers.values()))
    readings.add_by_label("sendas_mailboxes_suspended", lambda: numbers)
    assert value(registry, "sendas_in_flight") == 1
    numbers["mailbox_full"] = 2
    assert value(registry, "sendas_in_flight") == 3
    assert value(registry, "sendas_mailboxes_suspended", reason="mailbox_full") == 2
