"""Worker internals: readiness, saturation, and the health of each part."""

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import mean, metric, quantile, rate

_READY = Row(
    "Is it ready?",
    (
        Panel(
            "What readiness depends on",
            "1 while a condition holds, 0 while it does not; the instance's /readyz gives the reason.",
            "none",
            (Query(f"min by (condition) ({metric('sendas_readiness_condition')})", "{{condition}}"),),
            maximum=1,
            alerts=("SendasWorkerNotReady", "SendasLedgerUnavailable"),
        ),
        Panel(
            "Ready",
            "Per worker.",
            "none",
            (Query(metric("sendas_ready"), "{{instance}}"),),
            maximum=1,
            alerts=("SendasNoWorkerReady", "SendasWorkerDown", "SendasWorkerNotReady"),
        ),
        Panel(
            "What is running",
            "Worker and Python version by instance.",
            "none",
            (Query(f"max by (instance, version, python) ({metric('sendas_build_info')})", "{{instance}} {{version}}"),),
            kind="table",
            alerts=("SendasJobFailed",),
        ),
    ),
)

_FULL = Row(
    "How full is it?",
    (
        Panel(
            "Messages in progress",
            "Share of the prefetch in use. Staying at 1 means that the worker is saturated or blocked.",
            "percentunit",
            (
                Query(
                    f"sum by (queue) ({metric('sendas_in_flight')}) / sum by (queue) ({metric('sendas_prefetch')})",
                    "{{queue}}",
                ),
            ),
            maximum=1,
            more="sendas-queues",
        ),
        Panel(
            "Letters waiting for their mailbox",
            "Letters held in the worker, for seconds at most; longer backlogs wait in the delay queues.",
            "short",
            (Query(f"sum({metric('sendas_lanes_waiting')})", "waiting"),),
        ),
        Panel(
            "Event-loop lag",
            "99th percentile. Above 0.1 s, something blocks the event loop.",
            "s",
            (Query(quantile(0.99, "sendas_event_loop_lag_seconds", by="instance"), "{{instance}}"),),
            steps=((0.1, "orange"),),
            alerts=("SendasEventLoopLag",),
        ),
        Panel(
            "CPU",
            "Cores in use; a worker uses at most one.",
            "short",
            (Query(rate("process_cpu_seconds_total"), "{{instance}}"),),
            decimals=2,
            alerts=("SendasEventLoopLag",),
        ),
        Panel(
            "Memory",
            "Resident memory.",
            "bytes",
            (Query(metric("process_resident_memory_bytes"), "{{instance}}"),),
        ),
        Panel(
            "Open files",
            "Sockets and files as a share of the limit.",
            "percentunit",
            (Query(f"{metric('process_open_fds')} / {metric('process_max_fds')}", "{{instance}}"),),
        ),
    ),
)

_STAGES = Row(
    "How long do the stages take?",
    (
        Panel(
            "Stages, 95 %",
            "95th percentile by stage; docs/metrics.md lists the stages.",
            "s",
            (Query(quantile(0.95, "sendas_stage_seconds", by="stage"), "{{stage}}"),),
            width=12,
        ),
        Panel(
            "Letters through each stage",
            "Completions of each stage. A stage at zero while earlier ones proceed is stuck.",
            "ops",
            (Query(f"sum by (stage) ({rate('sendas_stage_seconds_count')})", "{{stage}}"),),
            width=12,
        ),
    ),
)

_SMTP = Row(
    "SMTP and sign-in",
    (
        Panel(
            "Connections",
            "Open connections, and how many of them are idle.",
            "short",
            (
                Query(f"sum({metric('sendas_smtp_connections')})", "open"),
                Query(f"sum({metric('sendas_smtp_connections_idle')})", "idle"),
            ),
        ),
        Panel(
            "Connection reuse",
            "Share of letters sent over an already open connection.",
            "percentunit",
            (
                Query(
                    f"sum({rate('sendas_smtp_connections_reused_total')}) / "
                    f"(sum({rate('sendas_smtp_connections_reused_total')}) + "
                    f"sum({rate('sendas_smtp_connections_opened_total')}))",
                    "reused",
                ),
            ),
            maximum=1,
        ),
        Panel(
            "Attempts by result",
            "SMTP transactions by result.",
            "ops",
            (Query(f"sum by (result) ({rate('sendas_smtp_attempts_total')})", "{{result}}"),),
            is_stacked=True,
        ),
        Panel(
            "Mailbox checks",
            "By outcome: good mailboxes can send, bad ones failed a required step.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_mailbox_checks_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Mailbox checks in progress",
            "Average concurrency: checks per second times their duration.",
            "short",
            (Query(f"sum({rate('sendas_mailbox_check_seconds_sum')})", "in progress"),),
        ),
        Panel(
            "Access-token renewals",
            "By result: refused means the customer must reconnect the mailbox, unavailable is retried.",
            "ops",
            (Query(f"sum by (result) ({rate('sendas_token_refreshes_total')})", "{{result}}"),),
            alerts=("SendasTokenExpires",),
        ),
        Panel(
            "Time to the next access-token expiry",
            "By state of the last renewal: healthy or failing. A failing token stops its mailbox at 0.",
            "s",
            (Query(f"min by (renewal) ({metric('sendas_token_expiry_seconds')})", "{{renewal}}"),),
            alerts=("SendasTokenExpires",),
        ),
    ),
)

_LEDGER = Row(
    "Ledger and broker",
    (
        Panel(
            "Ledger: transaction latency",
            "Every letter waits for at least two transactions.",
            "s",
            tuple(
                Query(quantile(share, "sendas_ledger_commit_seconds"), name)
                for share, name in ((0.5, "median"), (0.99, "99 %"))
            ),
            steps=((1, "red"),),
            alerts=("SendasLedgerSlow",),
        ),
        Panel(
            "Ledger: operations per transaction",
            "Group commit: batches grow under load, which keeps throughput up.",
            "short",
            (Query(mean("sendas_ledger_batch_size"), "mean"),),
        ),
        Panel(
            "Intake pauses",
            "Times consumption paused because the ledger, the snapshot or the broker was unavailable, by queue.",
            "ops",
            (Query(f"sum by (queue) ({rate('sendas_intake_pauses_total')})", "{{queue}}"),),
            alerts=("SendasIntakePaused",),
            more="sendas-queues",
        ),
        Panel(
            "Publisher-confirm wait",
            "Age of the oldest unconfirmed publication. Above 10 s the worker is not ready: an alarm, or a full queue.",
            "s",
            (Query(f"max by (instance) ({metric('sendas_publish_waiting_seconds')})", "{{instance}}"),),
            steps=((10, "red"),),
            alerts=("SendasPublisherBlocked",),
        ),
        Panel(
            "Results by type",
            "Result events confirmed by the broker.",
            "ops",
            (Query(f"sum by (type) ({rate('sendas_results_total')}) > 0", "{{type}}"),),
        ),
        Panel(
            "Publish retries, unroutable results",
            "Publications that had to be retried, and results that no queue was bound to receive.",
            "ops",
            (
                Query(f"sum({rate('sendas_publish_retries_total')})", "retried"),
                Query(f"sum({rate('sendas_results_unrouted_total')})", "unroutable"),
            ),
            alerts=("SendasResultsUnrouted",),
        ),
    ),
)

_SNAPSHOT = Row(
    "Configuration snapshot",
    (
        Panel(
            "Age",
            "Time since the source last confirmed the snapshot in use.",
            "s",
            (Query(f"max by (instance) ({metric('sendas_snapshot_age_seconds')})", "{{instance}}"),),
            width=6,
            steps=((900, "red"),),
            alerts=("SendasSnapshotOld", "SendasSnapshotVeryOld"),
        ),
        Panel(
            "Version",
            "Version of the snapshot in use. A worker that stays behind cannot reach the source.",
            "none",
            (Query(metric("sendas_snapshot_version"), "{{instance}}"),),
            width=6,
            minimum=None,
        ),
        Panel(
            "Accounts, and those left out",
            "Accounts left out are invalid and their letters wait; sendas config check says why.",
            "short",
            (
                Query(f"max({metric('sendas_snapshot_accounts')})", "accounts"),
                Query(f"max({metric('sendas_snapshot_accounts_left_out')})", "left out"),
            ),
            width=6,
            alerts=("SendasAccountsLeftOut",),
        ),
        Panel(
            "Refreshes by outcome",
            "Polls for a newer snapshot.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_snapshot_refreshes_total')}) > 0", "{{outcome}}"),),
            width=6,
            alerts=("SendasSnapshotOld",),
        ),
    ),
)

INSIDE = Dashboard(
    "sendas-inside",
    "sendas: worker internals",
    "Readiness, saturation, and the health of each part. Choose one instance, or all.",
    (_READY, _FULL, _STAGES, _SMTP, _LEDGER, _SNAPSHOT),
)
