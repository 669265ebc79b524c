"""Queues, dead letters and the history: what waits, for what, and what nobody could handle."""

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import increase, metric, quantile, rate

_WAITING = Row(
    "What waits",
    (
        Panel(
            "Work queues",
            "Messages ready to be taken. Growing: events come faster than letters leave, or nobody takes them.",
            "short",
            (Query(f"max by (queue) ({metric('sendas_queue_messages', 'kind=work')})", "{{queue}}"),),
            alerts=("SendasQueueGrows", "SendasQueueStuck"),
        ),
        Panel(
            "Delay queues",
            "Letters and copies that wait for another attempt or for their mailbox, by the length of the wait.",
            "short",
            (Query(f"max by (queue) ({metric('sendas_queue_messages', 'kind=delay')}) > 0", "{{queue}}"),),
            is_stacked=True,
        ),
        Panel(
            "Dead queue",
            "Messages that wait for an operator: sendas dead-letters stats says why they are there.",
            "short",
            (Query(f"max by (queue) ({metric('sendas_queue_messages', 'kind=dead')})", "{{queue}}"),),
            steps=((1, "orange"),),
            alerts=("SendasDeadLettersWait",),
        ),
        Panel(
            "Wait before the first attempt",
            "From the event's time until a worker has it: what the product's outbox, the broker and the queue cost.",
            "s",
            tuple(
                Query(quantile(share, "sendas_stage_seconds", "stage=queue"), name)
                for share, name in ((0.5, "half"), (0.99, "99 %"))
            ),
            more="sendas-overview",
        ),
        Panel(
            "Oldest unfinished event",
            "Age of the oldest event in work or put off. One that nobody has taken yet is not among them.",
            "s",
            (Query(f"max({metric('sendas_oldest_unfinished_event_seconds')})", "oldest"),),
            more="sendas-overview",
        ),
        Panel(
            "Time to empty the work queues",
            "What is ready and in work, at the rate at which messages were settled lately.",
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
    "What flows",
    (
        Panel(
            "Messages settled",
            "By queue. An event with many letters is split, and a letter comes again with each attempt.",
            "ops",
            (Query(f"sum by (queue) ({rate('sendas_events_total')})", "{{queue}}"),),
            alerts=("SendasQueueStuck",),
        ),
        Panel(
            "Messages by outcome",
            "done; split into parts; invalid and failed go to the dead queue.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_events_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Told again",
            "Recipients of events that came again: nothing was sent, their outcome was published in the same words.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_repeats_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Consumers",
            "Of each work queue, as the broker says: one for each worker.",
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
            "Dead letters in this time, by reason",
            "invalid_event is the producer's, internal_error this program's; outcome_unknown waits for a decision.",
            "short",
            (Query(f"sum by (reason) ({increase('sendas_dead_letters_total')}) > 0", "{{reason}}"),),
            kind="bargauge",
            decimals=0,
            alerts=("SendasDeadLettersGrow", "SendasDeadLettersFlood"),
        ),
        Panel(
            "Dead letters per second",
            "The same over time.",
            "ops",
            (Query(f"sum by (reason) ({rate('sendas_dead_letters_total')}) > 0", "{{reason}}"),),
            is_stacked=True,
            alerts=("SendasDeadLettersFlood",),
        ),
        Panel(
            "Uncertain letters",
            "Recipients whose letter was handed over without an answer; held ones are in the dead queue.",
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

QUEUES = Dashboard(
    "sendas-queues",
    "sendas: queues and dead letters",
    "What waits, for what, and what nobody could handle. docs/dead-letters.md says what to do with those.",
    (_WAITING, _FLOW, _DEAD, _HISTORY),
)
