"""Alerting rules. Every one has a page in `docs/runbooks/` that says what it means and what to do.

`page` wakes the on-call engineer: letters are not leaving, or soon will not be. `ticket` waits for working hours.
"""

from dataclasses import dataclass
from typing import Literal

from deploy.observability.recording import COPIES, LETTERS, Objective
from deploy.observability.runbooks import page

Severity = Literal["page", "ticket"]

_NETWORK = "dns_failed|connect_failed|tls_failed|timeout|disconnected|egress_denied"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `lasting`: how long the expression must hold. Texts may use `{{ $labels.… }}`."""

    name: str
    severity: Severity
    expression: str
    summary: str
    description: str
    lasting: str = "0m"

    def rule(self, runbooks: str) -> dict[str, object]:
        """The rule as Prometheus reads it; `runbooks` is the base URL of the runbooks."""
        annotations = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": page(self.name, runbooks),
        }
        rule: dict[str, object] = {"alert": self.name, "expr": self.expression}
        if self.lasting != "0m":
            rule["for"] = self.lasting
        return rule | {"labels": {"severity": self.severity}, "annotations": annotations}


def _burns(objective: Objective, factor: float, long: str, short: str, floor: int) -> str:
    """The budget burns `factor` times too fast over both windows, and at least `floor` recipients missed."""
    limit = f"{factor * objective.budget:.6g}"
    return (
        f"{objective.miss_ratio(long)} > {limit} and {objective.miss_ratio(short)} > {limit}\n"
        f'and sum by (job) (increase({objective.counter}{{promptness=~"late|lost"}}[{long}])) >= {floor}'
    )


BUDGETS = (
    Alert(
        "SendasLetterErrorBudgetFastBurn",
        "page",
        _burns(LETTERS, 14.4, "1h", "5m", 10),
        "{{ $labels.job }} burns its letter error budget 14 times too fast",
        "More than 1.44 % of deliverable letters were late or lost in the last hour, and it has not stopped: at this "
        "rate a month's error budget is gone in two days.",
        lasting="2m",
    ),
    Alert(
        "SendasLetterErrorBudgetBurn",
        "page",
        _burns(LETTERS, 6, "6h", "30m", 10),
        "{{ $labels.job }} has burned its letter error budget 6 times too fast for hours",
        "More than 0.6 % of deliverable letters were late or lost in the last 6 hours, and it has not stopped: at this "
        "rate a month's error budget is gone in five days.",
        lasting="5m",
    ),
    Alert(
        "SendasLetterErrorBudgetSlowBurn",
        "ticket",
        _burns(LETTERS, 1, "3d", "6h", 20),
        "{{ $labels.job }} slowly burns its letter error budget",
        "More than 0.1 % of deliverable letters were late or lost in the last 3 days.",
        lasting="1h",
    ),
    Alert(
        "SendasCopyErrorBudgetBurn",
        "ticket",
        _burns(COPIES, 14.4, "1h", "5m", 10),
        "{{ $labels.job }} burns its Sent-copy error budget 14 times too fast",
        "More than 14.4 % of the copies that their folders would accept were late or lost in the last hour, and it has "
        "not stopped. The letters themselves were delivered.",
        lasting="5m",
    ),
    Alert(
        "SendasCopyErrorBudgetSlowBurn",
        "ticket",
        _burns(COPIES, 1, "3d", "6h", 20),
        "{{ $labels.job }} slowly burns its Sent-copy error budget",
        "More than 1 % of the copies that their folders would accept were late or lost in the last 3 days.",
        lasting="1h",
    ),
)

FLOW = (
    Alert(
        "SendasNoMailDelivered",
        "page",
        'sum by (job) (increase(sendas_stage_seconds_count{stage="queue"}[10m])) >= 10\n'
        'and sum by (job) (increase(sendas_recipient_outcomes_total{outcome="sent"}[10m])) == 0',
        "{{ $labels.job }} receives events but delivers no letters",
        "Workers consumed at least 10 events in 10 minutes, and no mail server accepted a single letter.",
        lasting="5m",
    ),
    Alert(
        "SendasQueueStuck",
        "page",
        'max by (job, queue) (sendas_queue_messages{kind="work"}) > 0\n'
        "and sum by (job, queue) (increase(sendas_events_total[10m])) == 0",
        "{{ $labels.queue }} has messages but none are being processed",
        "The queue has messages, and no worker of {{ $labels.job }} has settled one for 10 minutes.",
        lasting="5m",
    ),
    Alert(
        "SendasQueueGrows",
        "ticket",
        'max by (job, queue) (sendas_queue_messages{kind="work"}) > 1000\n'
        'and max by (job, queue) (deriv(sendas_queue_messages{kind="work"}[15m])) > 0',
        "{{ $labels.queue }} keeps growing: messages arrive faster than workers process them",
        "More than 1,000 messages are ready, and their number has grown for 15 minutes.",
        lasting="15m",
    ),
    Alert(
        "SendasServersUnreachable",
        "page",
        f'sum by (job) (rate(sendas_recipient_outcomes_total{{outcome="deferred", reason=~"{_NETWORK}"}}[10m]))\n'
        "/ sum by (job) (rate(sendas_smtp_attempts_total[10m])) > 0.5\n"
        "and sum by (job) (increase(sendas_smtp_attempts_total[10m])) >= 20",
        "{{ $labels.job }} cannot reach most mail servers",
        "More than half of the SMTP attempts of the last 10 minutes failed to get a working connection. That many "
        "servers are not down at once: suspect our own egress. The SLO excuses these letters; only this alert fires.",
        lasting="5m",
    ),
    Alert(
        "SendasSuspensionsJump",
        "page",
        'sum by (job) (increase(sendas_results_total{type="mailbox.suspended"}[30m])) >= 20\n'
        'and sum by (job) (increase(sendas_results_total{type="mailbox.suspended"}[30m]))\n'
        '> 5 * sum by (job) (increase(sendas_results_total{type="mailbox.suspended"}[1d] offset 30m)) / 48',
        "Many mailboxes of {{ $labels.job }} were suspended at once",
        "At least 20 mailboxes were suspended in 30 minutes, five times the rate of the day before. They send nothing "
        "until their settings change or an operator resumes them.",
    ),
    Alert(
        "SendasResultsUnrouted",
        "ticket",
        "sum by (job) (increase(sendas_results_unrouted_total[1h])) > 0",
        "Results of {{ $labels.job }} are unroutable",
        "The worker published result events that no queue is bound to receive: the product never sees these outcomes.",
        lasting="15m",
    ),
)

DOUBT = (
    Alert(
        "SendasDeadLettersGrow",
        "ticket",
        "sum by (job, reason) (increase(sendas_dead_letters_total[15m])) > 0",
        "{{ $labels.job }} dead-lettered messages: {{ $labels.reason }}",
        "Workers could not process these messages; they wait in the dead queue for an operator.",
    ),
    Alert(
        "SendasDeadLettersFlood",
        "page",
        "sum by (job) (increase(sendas_dead_letters_total[15m])) > 100",
        "{{ $labels.job }} is dead-lettering messages in bulk",
        "More than 100 dead letters in 15 minutes: a producer or a new release is broken. These letters are not sent.",
    ),
    Alert(
        "SendasDeadLettersWait",
        "ticket",
        'max by (job, queue) (sendas_queue_messages{kind="dead"}) > 0',
        "{{ $labels.queue }} has not been empty for a day",
        "Dead letters have waited a day for an operator's decision, and their recipients are still without mail.",
        lasting="1d",
    ),
    Alert(
        "SendasUncertain",
        "ticket",
        "sum by (job) (increase(sendas_uncertain_total[15m])) > 0",
        "{{ $labels.job }} has deliveries with an unknown outcome",
        "Letters were handed over and no reply came. SENDAS_UNCERTAIN_POLICY decides what follows; mail.uncertain was "
        "published for each.",
    ),
)

WORKERS = (
    Alert(
        "SendasNoWorkerReady",
        "page",
        "absent(sendas_ready == 1)",
        "No worker is ready",
        "No worker reports ready, or none is running. Nothing is lost, and nothing is sent.",
        lasting="5m",
    ),
    Alert(
        "SendasWorkerDown",
        "ticket",
        'up{job=~".*sendas.*"} == 0',
        "{{ $labels.instance }} of {{ $labels.job }} does not answer",
        "Prometheus has failed to scrape this process for 10 minutes. The other workers take over a worker's letters; "
        "results of a history process wait.",
        lasting="10m",
    ),
    Alert(
        "SendasWorkerNotReady",
        "ticket",
        "min by (job, instance) (sendas_ready) == 0",
        "{{ $labels.instance }} of {{ $labels.job }} is not ready",
        "The worker has been alive but not ready for 15 minutes; its /readyz gives the reason.",
        lasting="15m",
    ),
    Alert(
        "SendasEventLoopLag",
        "ticket",
        "sendas:loop_lag_seconds:p99_rate5m > 1",
        "The event loop of {{ $labels.instance }} of {{ $labels.job }} lags",
        "Event-loop lag exceeds one second: the worker is overloaded, or something blocks its event loop.",
        lasting="10m",
    ),
)

NEEDS = (
    Alert(
        "SendasLedgerUnavailable",
        "page",
        'min by (job, instance) (sendas_readiness_condition{condition="ledger"}) == 0',
        "{{ $labels.instance }} of {{ $labels.job }} cannot reach the ledger",
        "Without the ledger the worker sends nothing, so that it sends nothing twice. It recovers by itself.",
        lasting="3m",
    ),
    Alert(
        "SendasLedgerSlow",
        "ticket",
        "sendas:ledger_commit_seconds:p99_rate5m > 1",
        "The ledger of {{ $labels.job }} is slow",
        "The 99th percentile of transaction latency exceeds one second. Each letter waits for at least two of them.",
        lasting="10m",
    ),
    Alert(
        "SendasPublisherBlocked",
        "page",
        "max by (job) (sendas_publish_waiting_seconds) > 30",
        "The broker does not confirm what {{ $labels.job }} publishes",
        "A publication has waited more than 30 s for the broker's confirm: an alarm blocks publishers, or a queue is "
        "full. Sent letters are recorded, but their results are not published, and workers take no new letters.",
        lasting="2m",
    ),
    Alert(
        "SendasIntakePaused",
        "ticket",
        "sum by (job, queue) (rate(sendas_intake_pauses_total[5m])) > 0",
        "{{ $labels.job }} has paused intake from {{ $labels.queue }}: a dependency is unavailable",
        "For 10 minutes workers have held messages because the ledger, the snapshot or the broker was unavailable.",
        lasting="10m",
    ),
    Alert(
        "SendasSnapshotOld",
        "ticket",
        "max by (job) (sendas_snapshot_age_seconds) > 900",
        "The configuration of {{ $labels.job }} is more than 15 minutes old",
        "The source has not confirmed the snapshot in use. Workers keep using the last good one and see no changes.",
        lasting="5m",
    ),
    Alert(
        "SendasSnapshotVeryOld",
        "page",
        "max by (job) (sendas_snapshot_age_seconds) > 7200",
        "The configuration of {{ $labels.job }} is more than two hours old",
        "Letters of new employees and mailboxes fail, and people who lost access to a mailbox can still send from it.",
        lasting="5m",
    ),
    Alert(
        "SendasAccountsLeftOut",
        "ticket",
        "max by (job) (sendas_snapshot_accounts_left_out) > 0",
        "{{ $labels.job }} leaves out invalid accounts",
        "These accounts are invalid in the snapshot. Their letters wait for up to a day and then fail.",
        lasting="15m",
    ),
    Alert(
        "SendasTokenExpires",
        "ticket",
        'min by (job) (sendas_token_expiry_seconds{renewal="failing"}) < 240',
        "An access token of {{ $labels.job }} is about to expire and renewal fails",
        "Workers start renewal 5 to 10 minutes before expiry. Once the token expires, its mailbox sends nothing.",
        lasting="1m",
    ),
)

HISTORY = (
    Alert(
        "SendasHistoryBehind",
        "ticket",
        'max by (job, queue) (sendas_queue_messages{kind="history"}) > 1000',
        "The history of {{ $labels.job }} is behind: results wait in {{ $labels.queue }}",
        "More than 1,000 results have waited for half an hour: no process keeps them, or its database does not answer. "
        "Letters do not wait for it. Beyond 2 GB the oldest results are dropped, and are never in the history.",
        lasting="30m",
    ),
)

ROLL_OUT = (
    Alert(
        "SendasJobFailed",
        "ticket",
        'max by (namespace, job_name) (kube_job_failed{job_name=~"sendas-(ledger-migrate|topology).*", '
        'condition="true"}) > 0',
        "{{ $labels.job_name }} in {{ $labels.namespace }} failed: the new version cannot start",
        "The new version's tables or queues are missing. Workers of the previous version keep running; new ones wait. "
        "This alert needs kube-state-metrics.",
    ),
)

GROUPS: dict[str, tuple[Alert, ...]] = {
    "sendas-budgets": BUDGETS,
    "sendas-flow": FLOW,
    "sendas-doubt": DOUBT,
    "sendas-workers": WORKERS,
    "sendas-needs": NEEDS,
    "sendas-history": HISTORY,
    "sendas-roll-out": ROLL_OUT,
}
"""All alerts by evaluation group."""

ALERTS = tuple(alert for group in GROUPS.values() for alert in group)
