"""The console's own metrics; included in the generated `docs/metrics.md`."""

from prometheus_client import CollectorRegistry, Gauge

from worker.telemetry.metrics import counter, histogram

ACTS = (
    "dead_letters_counted", "dead_letters_replayed", "dead_letters_discarded", "dead_letters_exported", "body_shown",
    "mailbox_resumed", "mailbox_checked",
)  # fmt: skip
SIGN_INS = ("good", "wrong", "throttled", "no_rights", "refused", "ended")
REFUSALS = ("csrf", "role")
STATUSES = ("2xx", "3xx", "4xx", "5xx")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ConsoleMetrics:
    """The metrics over one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = histogram(
            registry, "sendas_console_request_seconds", "Time of the console's answers.", _SECONDS, status=STATUSES
        )
        self.acts = counter(registry, "sendas_console_acts", "What people did in the console.", act=ACTS)
        self.sign_ins = counter(
            registry, "sendas_console_sign_ins", "Sign-ins to the console and their ends.", outcome=SIGN_INS
        )
        self.refusals = counter(
            registry,
            "sendas_console_refusals",
            "Acts refused: the form was not one of the session, or its person is a viewer.",
            why=REFUSALS,
        )
        self.sessions = Gauge("sendas_console_sessions", "People signed in.", registry=registry)

    def answered(self, status: int, seconds: float) -> None:
        """Count a response."""
        self.requests.labels(f"{status // 100}xx").observe(seconds)

    def acted(self, act: str) -> None:
        """Count an action."""
        self.acts.labels(act).inc()

    def signed_in(self, outcome: str) -> None:
        """Count a sign-in."""
        self.sign_ins.labels(outcome).inc()

    def refused(self, why: str) -> None:
        """Count a refused action."""
        self.refusals.labels(why).inc()
