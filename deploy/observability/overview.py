"""The overview: throughput, latency, failures with their reasons, and the objectives."""

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import in_time, increase, metric, quantile, rate

_LETTERS, _COPIES = "sendas_slo_recipients_total", "sendas_slo_copies_total"
_SENT = "outcome=sent"


def _stat(title: str, description: str, unit: str, expression: str, **more: object) -> Panel:
    panel = Panel(title, description, unit, (Query(expression, title),), kind="stat", width=4, height=4)
    return Panel(**{**{name: getattr(panel, name) for name in Panel.__slots__}, **more})


_AT_A_GLANCE = Row(
    "At a glance",
    (
        _stat(
            "Letters sent",
            "Recipients whose letter was accepted, per second. Zero while events arrive fires SendasNoMailDelivered.",
            "ops",
            f"sum({rate('sendas_recipient_outcomes_total', _SENT)})",
            decimals=2,
            alerts=("SendasNoMailDelivered",),
        ),
        _stat(
            "Letters in time",
            "Share of deliverable letters that their server accepted within 60 s. Objective: 99.9 %.",
            "percentunit",
            in_time(_LETTERS, over="$__range"),
            decimals=3,
            maximum=1,
            steps=((0, "red"), (0.999, "green")),
            alerts=(
                "SendasLetterErrorBudgetFastBurn",
                "SendasLetterErrorBudgetBurn",
                "SendasLetterErrorBudgetSlowBurn",
            ),
        ),
        _stat(
            "Copies in time",
            "Share of storable copies that reached Sent within 5 minutes. Objective: 99 %.",
            "percentunit",
            in_time(_COPIES, over="$__range"),
            decimals=3,
            maximum=1,
            steps=((0, "red"), (0.99, "green")),
            alerts=("SendasCopyErrorBudgetBurn", "SendasCopyErrorBudgetSlowBurn"),
        ),
        _stat(
            "Oldest unfinished event",
            "Age of the oldest event in progress or deferred. Letters of down or suspended mailboxes may wait a day.",
            "s",
            f"max({metric('sendas_oldest_unfinished_event_seconds')})",
            decimals=0,
            steps=((7_200, "orange"), (86_400, "red")),
            more="sendas-queues",
        ),
        _stat(
            "Dead letters waiting",
            "Messages that wait for an operator; sendas dead-letters stats explains them.",
            "short",
            f"max({metric('sendas_queue_messages', 'kind=dead')})",
            steps=((1, "orange"), (100, "red")),
            alerts=("SendasDeadLettersGrow", "SendasDeadLettersFlood", "SendasDeadLettersWait"),
            more="sendas-queues",
        ),
        _stat(
            "Workers ready",
            "Workers that report ready.",
            "short",
            f"sum({metric('sendas_ready')})",
            steps=((0, "red"), (1, "green")),
            alerts=("SendasNoWorkerReady", "SendasWorkerDown", "SendasWorkerNotReady"),
            more="sendas-inside",
        ),
    ),
)

_LEAVING = Row(
    "Are letters leaving?",
    (
        Panel(
            "Events and letters",
            "Events consumed for the first time, and recipients whose letter was accepted. Events without "
            "letters is the worst this dashboard can show.",
            "ops",
            (
                Query(f"sum({rate('sendas_stage_seconds_count', 'stage=queue')})", "events consumed"),
                Query(f"sum({rate('sendas_recipient_outcomes_total', _SENT)})", "letters sent"),
            ),
            width=12,
            alerts=("SendasNoMailDelivered",),
            more="sendas-queues",
        ),
        Panel(
            "Letters by outcome",
            "Recipients by outcome. Deferred ones count once per attempt; sent and failed are final.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_recipient_outcomes_total')})", "{{outcome}}"),),
            width=12,
            is_stacked=True,
            alerts=("SendasNoMailDelivered",),
        ),
    ),
)

_LATE = Row(
    "How long does delivery take?",
    (
        Panel(
            "Latency: event to acceptance",
            "Time from the event to the server's acceptance, whatever caused it; the line marks the objective's 60 s.",
            "s",
            tuple(
                Query(quantile(share, "sendas_delivery_seconds"), name)
                for share, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            steps=((60, "red"),),
            alerts=("SendasLetterErrorBudgetFastBurn", "SendasLetterErrorBudgetBurn"),
        ),
        Panel(
            "Latency by stage, 95 %",
            "95th percentile. The worker internals dashboard shows every stage.",
            "s",
            (
                Query(
                    quantile(0.95, "sendas_stage_seconds", "stage=~queue|lane|auth|data|publish", by="stage"),
                    "{{stage}}",
                ),
            ),
            more="sendas-inside",
        ),
        Panel(
            "Latency: letter to copy in Sent",
            "Time from the letter to its copy; the line marks the objective's 300 s.",
            "s",
            tuple(
                Query(quantile(share, "sendas_sent_copy_seconds"), name)
                for share, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            steps=((300, "red"),),
            alerts=("SendasCopyErrorBudgetBurn",),
        ),
    ),
)

_FAILING = Row(
    "What fails, and why?",
    (
        Panel(
            "Failed permanently",
            "Recipients whose letter will not be sent. docs/guarantees.md says who acts on which reason.",
            "short",
            (
                Query(
                    f"sort_desc(sum by (reason) ({increase('sendas_recipient_outcomes_total', 'outcome=failed')}) > 0)",
                    "{{reason}}",
                ),
            ),
            kind="bargauge",
            decimals=0,
        ),
        Panel(
            "Deferred",
            "Recipients whose letter will be retried, by reason, per second.",
            "ops",
            (
                Query(
                    f"sum by (reason) ({rate('sendas_recipient_outcomes_total', 'outcome=deferred')}) > 0", "{{reason}}"
                ),
            ),
            is_stacked=True,
            alerts=("SendasServersUnreachable",),
        ),
        Panel(
            "Suspended mailboxes",
            "Mailboxes that send nothing until someone acts, by reason: the maximum over all workers.",
            "short",
            (Query(f"max by (reason) ({metric('sendas_mailboxes_suspended')}) > 0", "{{reason}}"),),
            is_stacked=True,
            alerts=("SendasSuspensionsJump",),
        ),
        Panel(
            "Failed SMTP attempts by provider",
            "SMTP transactions refused or unanswered. One provider: its problem. All of them: ours.",
            "ops",
            (
                Query(
                    f"sum by (provider) ({rate('sendas_smtp_attempts_total', 'result!=accepted')}) > 0", "{{provider}}"
                ),
            ),
            alerts=("SendasServersUnreachable",),
            more="sendas-inside",
        ),
        Panel(
            "Uncertain",
            "Recipients whose letter was handed over and got no reply. Each is published as mail.uncertain.",
            "short",
            (Query(f"sum({increase('sendas_uncertain_total')})", "uncertain"),),
            decimals=0,
            steps=((1, "orange"),),
            alerts=("SendasUncertain",),
            more="sendas-queues",
        ),
        Panel(
            "Copies not saved",
            "Abandoned copies by outcome and deferred ones by reason; excludes copies that were not wanted.",
            "ops",
            (
                Query(
                    f"sum by (outcome) ({rate('sendas_sent_copies_total', 'outcome=~failed|no_folder')})",
                    "{{outcome}}",
                ),
                Query(
                    f"sum by (reason) ({rate('sendas_sent_copies_deferred_total')}) > 0",
                    "deferred: {{reason}}",
                ),
            ),
            alerts=("SendasCopyErrorBudgetBurn", "SendasCopyErrorBudgetSlowBurn"),
        ),
    ),
)


def _burn(counter: str, objective: float, over: str) -> str:
    return f"(1 - {in_time(counter, over=over)}) / {1 - objective:.3g}"


_OBJECTIVES = Row(
    "Objectives",
    (
        Panel(
            "Burn rate: letters",
            "At 1, the error budget lasts exactly 30 days. At 14.4 for an hour or 6 for six hours, an alert pages.",
            "none",
            (
                Query(_burn(_LETTERS, 0.999, "1h"), "over 1 hour"),
                Query(_burn(_LETTERS, 0.999, "6h"), "over 6 hours"),
            ),
            steps=((6, "orange"), (14.4, "red")),
            alerts=(
                "SendasLetterErrorBudgetFastBurn",
                "SendasLetterErrorBudgetBurn",
                "SendasLetterErrorBudgetSlowBurn",
            ),
        ),
        Panel(
            "Burn rate: copies",
            "The same for copies in Sent, with an objective of 99 %.",
            "none",
            (Query(_burn(_COPIES, 0.99, "1h"), "over 1 hour"), Query(_burn(_COPIES, 0.99, "6h"), "over 6 hours")),
            steps=((6, "orange"), (14.4, "red")),
            alerts=("SendasCopyErrorBudgetBurn", "SendasCopyErrorBudgetSlowBurn"),
        ),
        Panel(
            "Letters by promptness",
            "Recipients in time, late, lost, and excused (late or never for a reason outside the service).",
            "ops",
            (Query(f"sum by (promptness) ({rate(_LETTERS)})", "{{promptness}}"),),
            is_stacked=True,
        ),
    ),
)

OVERVIEW = Dashboard(
    "sendas-overview",
    "sendas: overview",
    "Throughput, latency, failures and their reasons, and the objectives. See docs/observability.md.",
    (_AT_A_GLANCE, _LEAVING, _LATE, _FAILING, _OBJECTIVES),
)
