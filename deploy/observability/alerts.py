"""Alerting rules. Every one has a page in `docs/runbooks/` that says what it means and what to do.

`page` wakes somebody: letters do not leave, or will not soon. `ticket` waits for the morning.
"""

from dataclasses import dataclass
from typing import Literal

from deploy.observability.recording import COPIES, LETTERS, Objective
from deploy.observability.runbooks import page

Severity = Literal["page", "ticket"]

_NETWORK = "dns_failed|connect_failed|tls_failed|timeout|disconnected|egress_denied"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `lasting`: for how long the expression must hold. Texts may name `{{ $labels.… }}`."""

    name: str
    severity: Severity
    expression: str
    summary: str
    description: str
    lasting: str = "0m"

    def rule(self, runbooks: str) -> dict[str, object]:
        """As Prometheus reads it; `runbooks` is the address of the pages."""
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
    """The budget burns that fast, over a long window and still now, and more than a few letters are concerned."""
    limit = f"{factor * objective.budget:.6g}"
    return (
        f"{objective.miss_ratio(long)} > {limit} and {objective.miss_ratio(short)} > {limit}\n"
        f'and sum by (job) (increase({objective.counter}{{promptness=~"late|lost"}}[{long}])) >= {floor}'
    )


BUDGETS = (
    Alert(
        "SendasLetterBudgetBurnsFast",
        "page",
        _burns(LETTERS, 14.4, "1h", "5m", 10),
        "Letters of {{ $labels.job }} are late or lost, many of them",
        "More than 1.44 % of the letters that their servers would take were late or lost in the last hour, and it goes "
        "on: in two days this uses up what a month allows.",
        lasting="2m",
    ),
    Alert(
        "SendasLetterBudgetBurns",
        "page",
        _burns(LETTERS, 6, "6h", "30m", 10),
        "Letters of {{ $labels.job }} have been late or lost for hours",
        "More than 0.6 % of the letters that their servers would take were late or lost in the last 6 hours, and it "
        "goes on: in five days this uses up what a month allows.",
        lasting="5m",
    ),
    Alert(
        "SendasLetterBudgetLeaks",
        "ticket",
        _burns(LETTERS, 1, "3d", "6h", 20),
        "Letters of {{ $labels.job }} miss their objective by a little, all the time",
        "More than 0.1 % of the letters that their servers would take were late or lost in the last 3 days.",
        lasting="1h",
    ),
    Alert(
        "SendasCopyBudgetBurns",
        "ticket",
        _burns(COPIES, 14.4, "1h", "5m", 10),
        "Copies of {{ $labels.job }} for Sent are late or lost, many of them",
        "More than 14.4 % of the copies that their folders would take were late or lost in the last hour, and it goes "
        "on. The letters themselves have left.",
        lasting="5m",
    ),
    Alert(
        "SendasCopyBudgetLeaks",
        "ticket",
        _burns(COPIES, 1, "3d", "6h", 20),
        "Copies of {{ $labels.job }} for Sent miss their objective all the time",
        "More than 1 % of the copies that their folders would take were late or lost in the last 3 days.",
        lasting="1h",
    ),
)

FLOW = (
    Alert(
        "SendasNothingLeaves",
        "page",
        'sum by (job) (increase(sendas_stage_seconds_count{stage="queue"}[10m])) >= 10\n'
        'and sum by (job) (increase(sendas_letters_total{outcome="sent"}[10m])) == 0',
        "Events come to {{ $labels.job }} and no letter leaves",
        "At least 10 events were taken in 10 minutes, and not one letter was accepted by any server.",
        lasting="5m",
    ),
    Alert(
        "SendasQueueStuck",
        "page",
        'max by (job, queue) (sendas_queue_messages{kind="work"}) > 0\n'
        "and sum by (job, queue) (increase(sendas_events_total[10m])) == 0",
        "Messages wait in {{ $labels.queue }} and nobody settles any",
        "The queue has messages, and in 10 minutes no worker of {{ $labels.job }} settled one.",
        lasting="5m",
    ),
    Alert(
        "SendasQueueGrows",
        "ticket",
        'max by (job, queue) (sendas_queue_messages{kind="work"}) > 1000\n'
        'and max by (job, queue) (deriv(sendas_queue_messages{kind="work"}[15m])) > 0',
        "{{ $labels.queue }} grows: messages come faster than they are worked on",
        "More than 1,000 messages wait, and have become more over a quarter of an hour.",
        lasting="15m",
    ),
    Alert(
        "SendasServersUnreachable",
        "page",
        f'sum by (job) (rate(sendas_letters_total{{outcome="deferred", reason=~"{_NETWORK}"}}[10m]))\n'
        "/ sum by (job) (rate(sendas_smtp_attempts_total[10m])) > 0.5\n"
        "and sum by (job) (increase(sendas_smtp_attempts_total[10m])) >= 20",
        "{{ $labels.job }} cannot reach most mail servers",
        "More than half of the attempts of 10 minutes ended without a connection that works: so many servers are not "
        "down at the same time, our way out is. These letters do not count for the objective, so nothing else tells.",
        lasting="5m",
    ),
    Alert(
        "SendasSuspensionsJump",
        "page",
        'sum by (job) (increase(sendas_results_total{type="mailbox.suspended"}[30m])) >= 20\n'
        'and sum by (job) (increase(sendas_results_total{type="mailbox.suspended"}[30m]))\n'
        '> 5 * sum by (job) (increase(sendas_results_total{type="mailbox.suspended"}[1d] offset 30m)) / 48',
        "Many mailboxes of {{ $labels.job }} were suspended at once",
        "At least 20 mailboxes in half an hour, five times as many as in the day before: nothing leaves them until "
        "somebody acts.",
    ),
    Alert(
        "SendasResultsUnrouted",
        "ticket",
        "sum by (job) (increase(sendas_results_unrouted_total[1h])) > 0",
        "Results of {{ $labels.job }} reach nobody",
        "Result events were published that no queue is bound for: whoever should learn of these letters does not.",
        lasting="15m",
    ),
)

DOUBT = (
    Alert(
        "SendasDeadLettersGrow",
        "ticket",
        "sum by (job, reason) (increase(sendas_dead_letters_total[15m])) > 0",
        "Messages of {{ $labels.job }} went to the dead queue: {{ $labels.reason }}",
        "Nobody could handle them, and they wait for an operator.",
    ),
    Alert(
        "SendasDeadLettersFlood",
        "page",
        "sum by (job) (increase(sendas_dead_letters_total[15m])) > 100",
        "Messages of {{ $labels.job }} go to the dead queue in numbers",
        "More than 100 in a quarter of an hour: a producer or a new version is broken, and these letters do not leave.",
    ),
    Alert(
        "SendasDeadLettersWait",
        "ticket",
        'max by (job, queue) (sendas_queue_messages{kind="dead"}) > 0',
        "{{ $labels.queue }} has not been empty for a day",
        "Messages have been waiting for an operator's decision for a day; whoever waits for these letters still does.",
        lasting="1d",
    ),
    Alert(
        "SendasUncertain",
        "ticket",
        "sum by (job) (increase(sendas_uncertain_total[15m])) > 0",
        "{{ $labels.job }} does not know whether letters were accepted",
        "Letters were handed over and no answer came. What follows says SENDAS_UNCERTAIN_POLICY; the product was told.",
    ),
)

WORKERS = (
    Alert(
        "SendasNoWorkerReady",
        "page",
        "absent(sendas_ready == 1)",
        "No worker is ready",
        "Not one worker says that it is ready, or none is there to say it. Nothing is lost; nothing leaves.",
        lasting="5m",
    ),
    Alert(
        "SendasWorkerDown",
        "ticket",
        'up{job=~".*sendas.*"} == 0',
        "{{ $labels.instance }} of {{ $labels.job }} does not answer",
        "Prometheus has not been able to read its metrics for 10 minutes. The other workers take a worker's letters; "
        "for a process of the history, results wait.",
        lasting="10m",
    ),
    Alert(
        "SendasWorkerNotReady",
        "ticket",
        "min by (job, instance) (sendas_ready) == 0",
        "{{ $labels.instance }} of {{ $labels.job }} is not ready",
        "It has been alive and not ready for a quarter of an hour; its /readyz says why in words.",
        lasting="15m",
    ),
    Alert(
        "SendasLoopLate",
        "ticket",
        "sendas:loop_lag_seconds:p99_rate5m > 1",
        "{{ $labels.instance }} of {{ $labels.job }} is late with everything",
        "Its event loop woke sleepers more than a second late: it is overloaded, or something computes where all wait.",
        lasting="10m",
    ),
)

NEEDS = (
    Alert(
        "SendasLedgerAway",
        "page",
        'min by (job, instance) (sendas_condition{condition="ledger"}) == 0',
        "{{ $labels.instance }} of {{ $labels.job }} does not reach the ledger",
        "Without the ledger nothing is sent, so that nothing is sent twice. It goes on by itself.",
        lasting="3m",
    ),
    Alert(
        "SendasLedgerSlow",
        "ticket",
        "sendas:ledger_commit_seconds:p99_rate5m > 1",
        "The ledger of {{ $labels.job }} is slow",
        "One transaction in a hundred takes more than a second. Each letter waits for two at least.",
        lasting="10m",
    ),
    Alert(
        "SendasPublisherBlocked",
        "page",
        "max by (job) (sendas_publish_waiting_seconds) > 30",
        "The broker confirms nothing to {{ $labels.job }}",
        "A message has been waiting for the broker's confirm for more than 30 s: an alarm blocks publishers, or a "
        "queue is full. Letters are sent and recorded; nobody is told of them, and no new ones are taken.",
        lasting="2m",
    ),
    Alert(
        "SendasIntakePaused",
        "ticket",
        "sum by (job, queue) (rate(sendas_intake_pauses_total[5m])) > 0",
        "{{ $labels.job }} holds messages of {{ $labels.queue }} because something is away",
        "Messages were taken and could not be worked on for 10 minutes: ledger, snapshot or broker were not there.",
        lasting="10m",
    ),
    Alert(
        "SendasSnapshotOld",
        "ticket",
        "max by (job) (sendas_snapshot_age_seconds) > 900",
        "The configuration of {{ $labels.job }} is older than a quarter of an hour",
        "The source has not confirmed the snapshot in use. The last good one serves on; changes do not arrive.",
        lasting="5m",
    ),
    Alert(
        "SendasSnapshotVeryOld",
        "page",
        "max by (job) (sendas_snapshot_age_seconds) > 7200",
        "The configuration of {{ $labels.job }} is older than two hours",
        "Letters of new employees and mailboxes fail, and whoever lost the right to a mailbox still writes from it.",
        lasting="5m",
    ),
    Alert(
        "SendasAccountsLeftOut",
        "ticket",
        "max by (job) (sendas_snapshot_accounts_left_out) > 0",
        "Accounts are left out of the configuration of {{ $labels.job }}",
        "They are not valid, so their letters wait for up to a day and then fail.",
        lasting="15m",
    ),
    Alert(
        "SendasTokenExpires",
        "ticket",
        'min by (job) (sendas_token_expiry_seconds{renewal="failing"}) < 240',
        "An access token of {{ $labels.job }} is about to end and cannot be renewed",
        "Renewals are begun 5 to 10 minutes before the end of a token. When it ends, no letter leaves the mailbox.",
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
        "{{ $labels.job_name }} in {{ $labels.namespace }} failed: the new version is not prepared",
        "Tables or queues of the new version are missing. Workers of the version before go on; new ones wait. "
        "It fires only where Prometheus reads kube-state-metrics.",
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
"""All alerts, by the group in which they are evaluated."""

ALERTS = tuple(alert for group in GROUPS.values() for alert in group)
