"""What must have happened for each alert to fire, and what must not make it fire; for `promtool test rules`."""

from dataclasses import dataclass, field

_HOUR = 60
LONG_STEP_M = 10
"""For what takes days: the tool evaluates every rule at every step."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Series by name, in Prometheus's notation of one value a step, and the labels that the alert has after so long.

    `quiet` are series under which it does not fire, although something is there. A step has `step_m` minutes.
    """

    series: dict[str, str]
    after: str
    labels: dict[str, str] = field(default_factory=dict)
    quiet: tuple[dict[str, str], ...] = ()
    step_m: int = 1


def _letters(late: str, in_time: str = "0+100x{n}", steps: int = 120, counter: str = "recipients") -> dict[str, str]:
    name = f"sendas_slo_{counter}_total"
    return {
        f'{name}{{job="sendas", instance="a", promptness="late"}}': late.format(n=steps),
        f'{name}{{job="sendas", instance="a", promptness="lost"}}': f"0x{steps}",
        f'{name}{{job="sendas", instance="a", promptness="in_time"}}': in_time.format(n=steps),
        # However many are excused, they change nothing.
        f'{name}{{job="sendas", instance="a", promptness="excused"}}': f"0+1000x{steps}",
    }


def _one(name: str, values: str, **labels: str) -> dict[str, str]:
    named = {"job": "sendas", "instance": "a", **labels}
    matchers = ", ".join(f'{key}="{value}"' for key, value in named.items())
    return {f"{name}{{{matchers}}}": values}


def _job(name: str, values: str, condition: str = "true") -> dict[str, str]:
    labels = {"namespace": "sendas", "job_name": name, "condition": condition}
    return _one("kube_job_failed", values, job="kube-state-metrics", **labels)


_JOB = {"job": "sendas"}
_WORKER = {"job": "sendas", "instance": "a"}
_OUTBOUND = {"job": "sendas", "queue": "sendas.outbound"}
_DAYS = 4 * 24 * 6

SCENARIOS: dict[str, Scenario] = {
    "SendasLetterErrorBudgetFastBurn": Scenario(
        _letters("0+2x{n}"),
        "70m",
        _JOB,
        (
            _letters("0+1x{n}"),  # not fast enough
            _letters("0+2x30 60x90"),  # over by now
            _letters("0 1 2 3x{n}", "0+1x{n}"),  # a large share of almost nothing
        ),
    ),
    "SendasLetterErrorBudgetBurn": Scenario(
        _letters("0+1x{n}", steps=48),
        "420m",
        _JOB,
        (_letters("0+1x{n}", "0+200x{n}", steps=48), _letters("0+1x20 20x28", steps=48)),
        LONG_STEP_M,
    ),
    "SendasLetterErrorBudgetSlowBurn": Scenario(
        _letters("0+1x{n}", "0+500x{n}", steps=_DAYS),
        "5000m",
        _JOB,
        (_letters("0+1x{n}", "0+1500x{n}", steps=_DAYS), _letters("0x200 1 2 3x{n}", "0+1x{n}", steps=_DAYS)),
        LONG_STEP_M,
    ),
    "SendasCopyErrorBudgetBurn": Scenario(
        _letters("0+20x{n}", counter="copies"), "70m", _JOB, (_letters("0+10x{n}", counter="copies"),)
    ),
    "SendasCopyErrorBudgetSlowBurn": Scenario(
        _letters("0+2x{n}", steps=_DAYS, counter="copies"),
        "5000m",
        _JOB,
        (_letters("0+1x{n}", "0+200x{n}", steps=_DAYS, counter="copies"),),
        LONG_STEP_M,
    ),
    "SendasNoMailDelivered": Scenario(
        _one("sendas_stage_seconds_count", "0+2x60", stage="queue")
        | _one("sendas_recipient_outcomes_total", "5x60", outcome="sent", reason=""),
        "30m",
        _JOB,
        (
            _one("sendas_stage_seconds_count", "0+2x60", stage="queue")
            | _one("sendas_recipient_outcomes_total", "0+1x60", outcome="sent", reason=""),
            # Two events in a quiet night, both refused by their servers.
            _one("sendas_stage_seconds_count", "0x25 1 2x60", stage="queue")
            | _one("sendas_recipient_outcomes_total", "5x60", outcome="sent", reason=""),
        ),
    ),
    "SendasQueueStuck": Scenario(
        _one("sendas_queue_messages", "3x60", queue="sendas.outbound", kind="work")
        | _one("sendas_events_total", "7x60", queue="sendas.outbound", outcome="done"),
        "30m",
        _OUTBOUND,
        (
            _one("sendas_queue_messages", "3x60", queue="sendas.outbound", kind="work")
            | _one("sendas_events_total", "0+1x60", queue="sendas.outbound", outcome="done"),
            _one("sendas_queue_messages", "3x60", queue="sendas.outbound.delay.1h", kind="delay")
            | _one("sendas_events_total", "7x60", queue="sendas.outbound", outcome="done"),
        ),
    ),
    "SendasQueueGrows": Scenario(
        _one("sendas_queue_messages", "1000+50x120", queue="sendas.outbound", kind="work"),
        "60m",
        _OUTBOUND,
        (
            _one("sendas_queue_messages", "9000-50x120", queue="sendas.outbound", kind="work"),
            _one("sendas_queue_messages", "0+5x120", queue="sendas.outbound", kind="work"),
        ),
    ),
    "SendasHistoryBehind": Scenario(
        _one("sendas_queue_messages", "900+50x120", queue="sendas.history", kind="history"),
        "60m",
        {"job": "sendas", "queue": "sendas.history"},
        (
            _one("sendas_queue_messages", "5000-300x15 0x60", queue="sendas.history", kind="history"),
            _one("sendas_queue_messages", "5000x120", queue="sendas.outbound", kind="work"),
        ),
    ),
    "SendasServersUnreachable": Scenario(
        _one("sendas_recipient_outcomes_total", "0+9x60", outcome="deferred", reason="connect_failed")
        | _one("sendas_smtp_attempts_total", "0+10x60", provider="generic", result="refused"),
        "30m",
        _JOB,
        (
            _one("sendas_recipient_outcomes_total", "0+4x60", outcome="deferred", reason="connect_failed")
            | _one("sendas_smtp_attempts_total", "0+10x60", provider="generic", result="accepted"),
            _one("sendas_recipient_outcomes_total", "0+9x60", outcome="deferred", reason="greylisted")
            | _one("sendas_smtp_attempts_total", "0+10x60", provider="generic", result="refused"),
        ),
    ),
    "SendasSuspensionsJump": Scenario(
        _one("sendas_results_total", "0x150 0+10x9", type="mailbox.suspended"),
        "1550m",
        _JOB,
        (
            _one("sendas_results_total", "0+10x160", type="mailbox.suspended"),  # as many as always
            _one("sendas_results_total", "0x150 5+5x9", type="mailbox.suspended"),  # a few
        ),
        LONG_STEP_M,
    ),
    "SendasResultsUnrouted": Scenario(
        _one("sendas_results_unrouted_total", "0x10 1x60"),
        "40m",
        _JOB,
        (_one("sendas_results_unrouted_total", "7x90"),),
    ),
    "SendasDeadLettersGrow": Scenario(
        _one("sendas_dead_letters_total", "0x10 1x60", reason="invalid_event"),
        "15m",
        {"job": "sendas", "reason": "invalid_event"},
        (_one("sendas_dead_letters_total", "7x60", reason="invalid_event"),),
    ),
    "SendasDeadLettersFlood": Scenario(
        _one("sendas_dead_letters_total", "0+10x60", reason="invalid_event"),
        "30m",
        _JOB,
        (_one("sendas_dead_letters_total", "0+5x60", reason="invalid_event"),),
    ),
    "SendasDeadLettersWait": Scenario(
        _one("sendas_queue_messages", "2x160", queue="sendas.dead", kind="dead"),
        "1500m",
        {"job": "sendas", "queue": "sendas.dead"},
        (_one("sendas_queue_messages", "2x100 0 2x60", queue="sendas.dead", kind="dead"),),
        LONG_STEP_M,
    ),
    "SendasUncertain": Scenario(
        _one("sendas_uncertain_total", "0x10 1x60"), "15m", _JOB, (_one("sendas_uncertain_total", "7x60"),)
    ),
    "SendasNoWorkerReady": Scenario(
        _one("sendas_ready", "1x5 0x60"),
        "20m",
        {},
        (_one("sendas_ready", "0x60") | _one("sendas_ready", "1x60", instance="b"),),
    ),
    "SendasWorkerDown": Scenario(
        _one("up", "1x5 0x60", job="sendas/sendas"),
        "30m",
        {"job": "sendas/sendas", "instance": "a"},
        (_one("up", "0x5 1x60"), _one("up", "0x60", job="postgresql")),
    ),
    "SendasWorkerNotReady": Scenario(
        _one("sendas_ready", "1x5 0x60") | _one("sendas_ready", "1x60", instance="b"),
        "30m",
        _WORKER,
        (_one("sendas_ready", "0x10 1x60"),),
    ),
    "SendasEventLoopLag": Scenario(
        _one("sendas_event_loop_lag_seconds_bucket", "0x60", le="1")
        | _one("sendas_event_loop_lag_seconds_bucket", "0+120x60", le="+Inf")
        | _one("sendas_event_loop_lag_seconds_bucket", "0+120x60", le="2.5"),
        "30m",
        _WORKER,
        (
            _one("sendas_event_loop_lag_seconds_bucket", "0+120x60", le="1")
            | _one("sendas_event_loop_lag_seconds_bucket", "0+120x60", le="+Inf"),
        ),
    ),
    "SendasLedgerUnavailable": Scenario(
        _one("sendas_readiness_condition", "1x5 0x60", condition="ledger"),
        "15m",
        _WORKER,
        (
            _one("sendas_readiness_condition", "1x8 0x3 1x60", condition="ledger"),
            _one("sendas_readiness_condition", "0x60", condition="worker"),
        ),
    ),
    "SendasLedgerSlow": Scenario(
        _one("sendas_ledger_commit_seconds_bucket", "0+10x60", le="1")
        | _one("sendas_ledger_commit_seconds_bucket", "0+20x60", le="2.5")
        | _one("sendas_ledger_commit_seconds_bucket", "0+20x60", le="+Inf"),
        "30m",
        _JOB,
        (
            _one("sendas_ledger_commit_seconds_bucket", "0+20x60", le="1")
            | _one("sendas_ledger_commit_seconds_bucket", "0+20x60", le="+Inf"),
        ),
    ),
    "SendasPublisherBlocked": Scenario(
        _one("sendas_publish_waiting_seconds", "0 60+60x60"),
        "10m",
        _JOB,
        (_one("sendas_publish_waiting_seconds", "0x9 40 0x60"), _one("sendas_publish_waiting_seconds", "12x60")),
    ),
    "SendasIntakePaused": Scenario(
        _one("sendas_intake_pauses_total", "0+4x60", queue="sendas.outbound"),
        "30m",
        _OUTBOUND,
        (_one("sendas_intake_pauses_total", "0x20 2x60", queue="sendas.outbound"),),
    ),
    "SendasSnapshotOld": Scenario(
        _one("sendas_snapshot_age_seconds", "0+60x90"), "30m", _JOB, (_one("sendas_snapshot_age_seconds", "70x90"),)
    ),
    "SendasSnapshotVeryOld": Scenario(
        _one("sendas_snapshot_age_seconds", "0+60x200"),
        "140m",
        _JOB,
        (_one("sendas_snapshot_age_seconds", "1800x200"),),
    ),
    "SendasAccountsLeftOut": Scenario(
        _one("sendas_snapshot_accounts_left_out", "0x5 2x60"),
        "30m",
        _JOB,
        (_one("sendas_snapshot_accounts_left_out", "0x20 2x5 0x60"),),
    ),
    "SendasTokenExpires": Scenario(
        _one("sendas_token_expiry_seconds", "600-60x8", renewal="failing"),
        "8m",
        _JOB,
        (
            _one("sendas_token_expiry_seconds", "600-60x9", renewal="ok"),
            _one("sendas_token_expiry_seconds", "3000-60x9", renewal="failing"),
        ),
    ),
    "SendasJobFailed": Scenario(
        _job("sendas-topology", "0x5 1x20"),
        "8m",
        {"namespace": "sendas", "job_name": "sendas-topology"},
        (
            _job("sendas-topology", "1x20", condition="false"),
            _job("somebody-elses", "1x20"),
            _job("sendas-ledger-migrate", "0x20"),
        ),
    ),
}
"""A scenario for every alert, by its name."""
