"""The overview: are letters leaving, how late, what fails and why, and how the objectives stand."""

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import in_time, increase, metric, quantile, rate

_LETTERS, _COPIES = "sendas_slo_letters_total", "sendas_slo_copies_total"
_SENT = "outcome=sent"


def _stat(title: str, description: str, unit: str, expression: str, **more: object) -> Panel:
    panel = Panel(title, description, unit, (Query(expression, title),), kind="stat", width=4, height=4)
    return Panel(**{**{name: getattr(panel, name) for name in Panel.__slots__}, **more})


_AT_A_GLANCE = Row(
    "At a glance",
    (
        _stat(
            "Letters sent",
            "Recipients whose letter was accepted, per second. Zero while events come: SendasNothingLeaves.",
            "ops",
            f"sum({rate('sendas_letters_total', _SENT)})",
            decimals=2,
            alerts=("SendasNothingLeaves",),
        ),
        _stat(
            "Letters in time",
            "Of the letters that their server would take, the share handed over in 60 s. Objective: 99.9 %.",
            "percentunit",
            in_time(_LETTERS, over="$__range"),
            decimals=3,
            maximum=1,
            steps=((0, "red"), (0.999, "green")),
            alerts=("SendasLetterBudgetBurnsFast", "SendasLetterBudgetBurns", "SendasLetterBudgetLeaks"),
        ),
        _stat(
            "Copies in time",
            "Of the copies that their folder would take, the share in Sent within 5 minutes. Objective: 99 %.",
            "percentunit",
            in_time(_COPIES, over="$__range"),
            decimals=3,
            maximum=1,
            steps=((0, "red"), (0.99, "green")),
            alerts=("SendasCopyBudgetBurns", "SendasCopyBudgetLeaks"),
        ),
        _stat(
            "Oldest unfinished event",
            "Age of the oldest event in work or put off. Letters of dead or suspended mailboxes may wait for a day.",
            "s",
            f"max({metric('sendas_oldest_unfinished_event_seconds')})",
            decimals=0,
            steps=((7_200, "orange"), (86_400, "red")),
            more="sendas-queues",
        ),
        _stat(
            "In the dead queue",
            "Messages that wait for an operator: sendas dead-letters stats.",
            "short",
            f"max({metric('sendas_queue_messages', 'kind=dead')})",
            steps=((1, "orange"), (100, "red")),
            alerts=("SendasDeadLettersGrow", "SendasDeadLettersFlood", "SendasDeadLettersWait"),
            more="sendas-queues",
        ),
        _stat(
            "Workers ready",
            "Workers that say that they are ready to work.",
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
            "Events first taken from the work queue, and recipients whose letter was accepted. The first without the "
            "second is the worst that can be seen here.",
            "ops",
            (
                Query(f"sum({rate('sendas_stage_seconds_count', 'stage=queue')})", "events taken"),
                Query(f"sum({rate('sendas_letters_total', _SENT)})", "letters sent"),
            ),
            width=12,
            alerts=("SendasNothingLeaves",),
            more="sendas-queues",
        ),
        Panel(
            "What became of letters",
            "Recipients by outcome. Those put off are counted at each attempt; sent and failed are the end.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_letters_total')})", "{{outcome}}"),),
            width=12,
            is_stacked=True,
            alerts=("SendasNothingLeaves",),
        ),
    ),
)

_LATE = Row(
    "How late?",
    (
        Panel(
            "From event to handed over",
            "Time from the event to the server's acceptance, whatever made it late; the objective's 60 s is marked.",
            "s",
            tuple(
                Query(quantile(share, "sendas_delivery_seconds"), name)
                for share, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            steps=((60, "red"),),
            alerts=("SendasLetterBudgetBurnsFast", "SendasLetterBudgetBurns"),
        ),
        Panel(
            "Where the time goes",
            "The time that 95 % did not exceed. All stages are on the dashboard of a worker's inside.",
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
            "From letter to copy in Sent",
            "Time from the letter to its copy; the objective's 300 s is marked.",
            "s",
            tuple(
                Query(quantile(share, "sendas_sent_copy_seconds"), name)
                for share, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            steps=((300, "red"),),
            alerts=("SendasCopyBudgetBurns",),
        ),
    ),
)

_FAILING = Row(
    "What fails, and why?",
    (
        Panel(
            "Failed for good",
            "Recipients whose letter will not leave. docs/guarantees.md says who acts on which reason.",
            "short",
            (
                Query(
                    f"sort_desc(sum by (reason) ({increase('sendas_letters_total', 'outcome=failed')}) > 0)",
                    "{{reason}}",
                ),
            ),
            kind="bargauge",
            decimals=0,
        ),
        Panel(
            "Put off",
            "Recipients whose letter is tried again later, by reason, per second.",
            "ops",
            (Query(f"sum by (reason) ({rate('sendas_letters_total', 'outcome=deferred')}) > 0", "{{reason}}"),),
            is_stacked=True,
            alerts=("SendasServersUnreachable",),
        ),
        Panel(
            "Suspended mailboxes",
            "Mailboxes that nothing leaves from until somebody acts, by reason: the most that any worker knows of.",
            "short",
            (Query(f"max by (reason) ({metric('sendas_mailboxes_suspended')}) > 0", "{{reason}}"),),
            is_stacked=True,
            alerts=("SendasSuspensionsJump",),
        ),
        Panel(
            "Attempts by provider that did not succeed",
            "SMTP transactions refused or unanswered: one provider alone is its own trouble, all are ours.",
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
            "Recipients whose letter was handed over without an answer. Each is told to the product as mail.uncertain.",
            "short",
            (Query(f"sum({increase('sendas_uncertain_total')})", "uncertain"),),
            decimals=0,
            steps=((1, "orange"),),
            alerts=("SendasUncertain",),
            more="sendas-queues",
        ),
        Panel(
            "Copies that were not saved",
            "Copies given up, by outcome, and put off, by reason; copies that are not wanted are not among them.",
            "ops",
            (
                Query(
                    f"sum by (outcome) ({rate('sendas_sent_copies_total', 'outcome=~failed|no_folder')})",
                    "{{outcome}}",
                ),
                Query(
                    f"sum by (reason) ({rate('sendas_sent_copies_deferred_total')}) > 0",
                    "put off: {{reason}}",
                ),
            ),
            alerts=("SendasCopyBudgetBurns", "SendasCopyBudgetLeaks"),
        ),
    ),
)


def _burn(counter: str, objective: float, over: str) -> str:
    return f"(1 - {in_time(counter, over=over)}) / {1 - objective:.3g}"


_OBJECTIVES = Row(
    "Objectives",
    (
        Panel(
            "How fast the budget burns: letters",
            "At 1, 30 days use up exactly what is allowed. At 14.4 for an hour or 6 for 6 hours, somebody is woken.",
            "none",
            (
                Query(_burn(_LETTERS, 0.999, "1h"), "over 1 hour"),
                Query(_burn(_LETTERS, 0.999, "6h"), "over 6 hours"),
            ),
            steps=((6, "orange"), (14.4, "red")),
            alerts=("SendasLetterBudgetBurnsFast", "SendasLetterBudgetBurns", "SendasLetterBudgetLeaks"),
        ),
        Panel(
            "How fast the budget burns: copies",
            "The same for copies in Sent, with an objective of 99 %.",
            "none",
            (Query(_burn(_COPIES, 0.99, "1h"), "over 1 hour"), Query(_burn(_COPIES, 0.99, "6h"), "over 6 hours")),
            steps=((6, "orange"), (14.4, "red")),
            alerts=("SendasCopyBudgetBurns", "SendasCopyBudgetLeaks"),
        ),
        Panel(
            "How letters stand to the objective",
            "Recipients in time, late, lost, and excused: late or never for a reason that is not the service's.",
            "ops",
            (Query(f"sum by (promptness) ({rate(_LETTERS)})", "{{promptness}}"),),
            is_stacked=True,
        ),
    ),
)

OVERVIEW = Dashboard(
    "sendas-overview",
    "sendas: overview",
    "Are letters leaving, how late, what fails and why, and how the objectives stand. See docs/observability.md.",
    (_AT_A_GLANCE, _LEAVING, _LATE, _FAILING, _OBJECTIVES),
)
