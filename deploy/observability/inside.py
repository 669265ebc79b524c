"""A worker's inside: what it waits for, how full it is, and how its parts do."""

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import mean, metric, quantile, rate

_READY = Row(
    "Is it ready?",
    (
        Panel(
            "What readiness depends on",
            "1 while a condition holds, 0 while it does not; /readyz of the instance says why in words.",
            "none",
            (Query(f"min by (condition) ({metric('sendas_condition')})", "{{condition}}"),),
            maximum=1,
            alerts=("SendasWorkerNotReady", "SendasLedgerAway"),
        ),
        Panel(
            "Ready",
            "Each worker by itself.",
            "none",
            (Query(metric("sendas_ready"), "{{instance}}"),),
            maximum=1,
            alerts=("SendasNoWorkerReady", "SendasWorkerDown", "SendasWorkerNotReady"),
        ),
        Panel(
            "What is running",
            "Version of the worker and of Python, by instance.",
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
            "Messages in work",
            "As a share of what may be in work at a time. At 1 for long, the worker is too slow or has to wait.",
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
            "In the worker, for seconds at most; longer backlogs wait in delay queues.",
            "short",
            (Query(f"sum({metric('sendas_lanes_waiting')})", "waiting"),),
        ),
        Panel(
            "Event loop late by",
            "How late sleepers are woken: above 0.1 s something computes where everybody has to wait.",
            "s",
            (Query(quantile(0.99, "sendas_loop_lag_seconds", by="instance"), "{{instance}}"),),
            steps=((0.1, "orange"),),
            alerts=("SendasLoopLate",),
        ),
        Panel(
            "Processor",
            "Cores in use; one worker uses one at most.",
            "short",
            (Query(rate("process_cpu_seconds_total"), "{{instance}}"),),
            decimals=2,
            alerts=("SendasLoopLate",),
        ),
        Panel(
            "Memory",
            "Resident memory.",
            "bytes",
            (Query(metric("process_resident_memory_bytes"), "{{instance}}"),),
        ),
        Panel(
            "Open files",
            "Sockets and files, as a share of the limit.",
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
            "The time that 95 % did not exceed, by stage; docs/metrics.md lists the stages.",
            "s",
            (Query(quantile(0.95, "sendas_stage_seconds", by="stage"), "{{stage}}"),),
            width=12,
        ),
        Panel(
            "Letters through each stage",
            "How often each stage was gone through. One that stands still while those before it go on is stuck.",
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
            "Open ones, and those of them without a letter.",
            "short",
            (
                Query(f"sum({metric('sendas_smtp_connections')})", "open"),
                Query(f"sum({metric('sendas_smtp_connections_idle')})", "idle"),
            ),
        ),
        Panel(
            "Letters over kept connections",
            "Share of the letters that needed no new connection.",
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
            "SMTP transactions.",
            "ops",
            (Query(f"sum by (result) ({rate('sendas_smtp_attempts_total')})", "{{result}}"),),
            is_stacked=True,
        ),
        Panel(
            "Checks of mailboxes",
            "By what was found: with good ones letters leave, with bad ones a step that they need failed.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_mailbox_checks_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Checks of mailboxes under way",
            "How many are in work at a time, on average: their number a second, times how long each takes.",
            "short",
            (Query(f"sum({rate('sendas_mailbox_check_seconds_sum')})", "under way"),),
        ),
        Panel(
            "Renewals of access tokens",
            "By result: refused ones want the mailbox connected anew, unavailable ones are tried again.",
            "ops",
            (Query(f"sum by (result) ({rate('sendas_token_refreshes_total')})", "{{result}}"),),
            alerts=("SendasTokenExpires",),
        ),
        Panel(
            "First access token to end",
            "Of those whose last renewal went well, and of those whose renewal fails: these stop a mailbox at 0.",
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
            "Ledger: time of a transaction",
            "Every letter waits for two of them at least.",
            "s",
            tuple(
                Query(quantile(share, "sendas_ledger_commit_seconds"), name)
                for share, name in ((0.5, "half"), (0.99, "99 %"))
            ),
            steps=((1, "red"),),
            alerts=("SendasLedgerSlow",),
        ),
        Panel(
            "Ledger: operations in a transaction",
            "More under load, which is how it keeps up.",
            "short",
            (Query(mean("sendas_ledger_batch_size"), "mean"),),
        ),
        Panel(
            "Intake pauses",
            "Waits because the ledger, the snapshot or the broker was away, by queue.",
            "ops",
            (Query(f"sum by (queue) ({rate('sendas_intake_pauses_total')})", "{{queue}}"),),
            alerts=("SendasIntakePaused",),
            more="sendas-queues",
        ),
        Panel(
            "Waiting for the broker's confirm",
            "Of the oldest message in hand. Above 10 s the worker is not ready: an alarm blocks, or a queue is full.",
            "s",
            (Query(f"max by (instance) ({metric('sendas_publish_waiting_seconds')})", "{{instance}}"),),
            steps=((10, "red"),),
            alerts=("SendasPublisherBlocked",),
        ),
        Panel(
            "Results by type",
            "Result events that the broker confirmed.",
            "ops",
            (Query(f"sum by (type) ({rate('sendas_results_total')}) > 0", "{{type}}"),),
        ),
        Panel(
            "Publications repeated, results unrouted",
            "Publications that had to be repeated, and results that no queue was bound for.",
            "ops",
            (
                Query(f"sum({rate('sendas_publish_retries_total')})", "repeated"),
                Query(f"sum({rate('sendas_results_unrouted_total')})", "unrouted"),
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
            "Since the source last confirmed what is in use.",
            "s",
            (Query(f"max by (instance) ({metric('sendas_snapshot_age_seconds')})", "{{instance}}"),),
            width=6,
            steps=((900, "red"),),
            alerts=("SendasSnapshotOld", "SendasSnapshotVeryOld"),
        ),
        Panel(
            "Version",
            "Of the snapshot in use. Workers that differ for long do not reach the source.",
            "none",
            (Query(metric("sendas_snapshot_version"), "{{instance}}"),),
            width=6,
            minimum=None,
        ),
        Panel(
            "Accounts, and those left out",
            "Accounts left out are not valid: their letters wait. sendas config check says why.",
            "short",
            (
                Query(f"max({metric('sendas_snapshot_accounts')})", "accounts"),
                Query(f"max({metric('sendas_snapshot_accounts_left_out')})", "left out"),
            ),
            width=6,
            alerts=("SendasAccountsLeftOut",),
        ),
        Panel(
            "Looks by outcome",
            "Looks for a newer snapshot.",
            "ops",
            (Query(f"sum by (outcome) ({rate('sendas_snapshot_looks_total')}) > 0", "{{outcome}}"),),
            width=6,
            alerts=("SendasSnapshotOld",),
        ),
    ),
)

INSIDE = Dashboard(
    "sendas-inside",
    "sendas: a worker's inside",
    "What a worker waits for, how full it is, and how its parts do. Choose one instance, or all.",
    (_READY, _FULL, _STAGES, _SMTP, _LEDGER, _SNAPSHOT),
)
