"""Queues, dead letters, the history and the console: backlogs, flow, and what workers could not process."""

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import increase, metric, quantile, rate

_WAITING = Row(
    "Backlogs",
    (
        Panel(
            "Work queues",
            "Messages ready to be consumed. Growth: events arrive faster than letters leave, or no worker consumes.",
            "short",
            (Query(f"max by (queue) ({metric('sendas_queue_messages', 'kind=work')})", "{{queue}}"),),
            alerts=("SendasQueueGrows", "SendasQueueStuck"),
        ),
        Panel(
            "Delay queues",
            "Letters and copies that wait for a retry or in their mailbox's backlog, by delay.",
            "short",
            (Query(f"max by (queue) ({metric('sendas_queue_messages', 'kind=delay')}) > 0", "{{queue}}"),),
            is_stacked=True,
        ),
        Panel(
            "Dead queue",
            "Messages that wait for an operator; sendas dead-letters stats gives the reasons.",
            "short",
            (Query(f"max by (queue) ({metric('sendas_queue_messages', 'kind=dead')})", "{{queue}}"),),
            steps=((1, "orange"),),
            alerts=("SendasDeadLettersWait",),
        ),
        Panel(
            "Latency before the first attempt",
            "From the event's time until a worker consumes it: the product's outbox, the broker and the queue.",
            "s",
            tuple(
                Query(quantile(share, "sendas_stage_seconds", "stage=queue"), name)
                for share, name in ((0.5, "median"), (0.99, "99 %"))
            ),
            more="sendas-overview",
        ),
        Panel(
            "Oldest unfinished event",
            "Age of the oldest event in progress or deferred. Excludes events that no worker has consumed yet.",
            "s",
            (Query(f"max({metric('sendas_oldest_unfinished_event_seconds')})", "oldest"),),
            more="sendas-overview",
        ),
        Panel(
            "Time to empty the work queues",
            "Messages ready and in progress, divided by the recent settling rate.",
            "s",
            (
                Query(
                    f"(max by (queue) ({metric('sendas_queue_messages', 'kind=work')}) + on (queue) "
                    f"sum by (queue) ({metric('sendas_in_flight')})) / on (queue) "
                    f"sum by (queue) ({rate('sendas_events_total')})",
                    "{{queue}}",
                ),
            ),
            alerts=("SendasQueueGrows",),
            more="sendas-inside",
        ),
    ),
)

_FLOW = Row(
    "Flow",
    (
        Panel(
            "Messages settled",
            "By queue. A large event is split into several messages, and each retry is a message of its own.",
            "ops",
            (Query(f"sum by (queue) ({rate('sendas_events_total')})", "{{queue}}"),),
            alerts=("SendasQueueStuck",),
        ),
        Panel(
            "Messages by outcome",
            "done; split into parts; invalid and failed ones, which go to the dead queue.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_events_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Duplicate recipients",
            "Recipients of duplicate events: nothing was sent again, their recorded outcome was republished unchanged.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_duplicate_recipients_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Consumers",
            "Consumers of each work queue as the broker reports them: one per worker.",
            "short",
            (Query(f"max by (queue) ({metric('sendas_queue_consumers')})", "{{queue}}"),),
            alerts=("SendasQueueStuck",),
            more="sendas-inside",
        ),
    ),
)

_DEAD = Row(
    "Dead letters",
    (
        Panel(
            "Dead letters in this range, by reason",
            "invalid_event: the producer's fault. internal_error: a bug in sendas. outcome_unknown: up to an operator.",
            "short",
            (Query(f"sum by (reason) ({increase('sendas_dead_letters_total')}) > 0", "{{reason}}"),),
            kind="bargauge",
            decimals=0,
            alerts=("SendasDeadLettersGrow", "SendasDeadLettersFlood"),
        ),
        Panel(
            "Dead letters per second",
            "The same, over time.",
            "ops",
            (Query(f"sum by (reason) ({rate('sendas_dead_letters_total')}) > 0", "{{reason}}"),),
            is_stacked=True,
            alerts=("SendasDeadLettersFlood",),
        ),
        Panel(
            "Uncertain letters",
            "Recipients whose letter was handed over and got no reply; held ones are in the dead queue.",
            "short",
            (Query(f"sum({increase('sendas_uncertain_total')})", "uncertain"),),
            kind="stat",
            decimals=0,
            steps=((1, "orange"),),
            alerts=("SendasUncertain",),
        ),
    ),
)

_HISTORY = Row(
    "The history",
    (
        Panel(
            "Results that wait for the history",
            "Ready in its queue. Growing: no process keeps them, or its database is away or slow.",
            "short",
            (Query(f"max by (queue) ({metric('sendas_queue_messages', 'kind=history')})", "{{queue}}"),),
            alerts=("SendasHistoryBehind",),
        ),
        Panel(
            "Results kept",
            "new; known: delivered or published again; refused: no result, in the dead queue now.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_history_results_total')})", "{{outcome}}"),),
            is_stacked=True,
        ),
        Panel(
            "Until results are in the history",
            "From a result's time, of the oldest in each batch.",
            "s",
            tuple(
                Query(quantile(share, "sendas_history_delay_seconds"), name)
                for share, name in ((0.5, "half"), (0.99, "99 %"))
            ),
            alerts=("SendasHistoryBehind",),
        ),
        Panel(
            "Time to keep a batch",
            "Reading it, and one transaction of the history's database.",
            "s",
            tuple(
                Query(quantile(share, "sendas_history_batch_seconds"), name)
                for share, name in ((0.5, "half"), (0.99, "99 %"))
            ),
        ),
        Panel(
            "Waits for the history's database",
            "Each is a try that failed; the batch is held and tried again.",
            "ops",
            (Query(f"sum by (instance) ({rate('sendas_history_pauses_total')})", "{{instance}}"),),
            alerts=("SendasHistoryBehind",),
        ),
        Panel(
            "Results deleted from the history",
            "Those whose retention (SENDAS_HISTORY_RETENTION_DAYS) is over.",
            "ops",
            (Query(f"sum({rate('sendas_history_expired_total')})", "deleted"),),
        ),
        Panel(
            "Processes of the history",
            "Ready ones, and what keeps others from it: 0 is a condition that does not hold.",
            "short",
            (
                Query(f"sum({metric('sendas_history_ready')})", "ready"),
                Query(f"min by (condition) ({metric('sendas_history_condition')})", "{{condition}}"),
            ),
        ),
        Panel(
            "Versions of the history's processes",
            "By version of sendas and Python.",
            "short",
            (
                Query(
                    f"count by (version, python) ({metric('sendas_history_build_info')})",
                    "{{version}} on Python {{python}}",
                ),
            ),
        ),
    ),
)

_CONSOLE = Row(
    "Console",
    (
        Panel(
            "People in the console",
            "Signed in to all its processes.",
            "short",
            (Query(f"sum({metric('sendas_console_sessions')})", "signed in"),),
        ),
        Panel(
            "Sign-ins to the console",
            "By outcome; `throttled` and `wrong` in numbers are somebody who tries passwords.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_console_sign_ins_total')})", "{{outcome}}"),),
            is_stacked=True,
        ),
        Panel(
            "Acts in the console",
            "Replays, discards, resumes and checks, and acts it refused: a form of another session, or a viewer's.",
            "ops",
            (
                Query(f"sum by (act) ({rate('sendas_console_acts_total')})", "{{act}}"),
                Query(f"sum by (why) ({rate('sendas_console_refusals_total')})", "refused: {{why}}"),
            ),
            is_stacked=True,
        ),
        Panel(
            "Time of the console's answers",
            "From request to answer.",
            "s",
            tuple(
                Query(quantile(share, "sendas_console_request_seconds"), name)
                for share, name in ((0.5, "half"), (0.99, "99 %"))
            ),
        ),
    ),
)

QUEUES = Dashboard(
    "sendas-queues",
    "sendas: queues and dead letters",
    "Backlogs, flow, and what workers could not process. docs/dead-letters.md says how to handle dead letters.",
    (_WAITING, _FLOW, _DEAD, _HISTORY, _CONSOLE),
)
