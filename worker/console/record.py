"""Records people's actions that have no audit event: one log line each, with the person's name."""

import structlog

from worker.console.auth.people import Person
from worker.console.metrics import ConsoleMetrics

log = structlog.get_logger(__name__)


class ActRecord:
    """Writes the record."""

    def __init__(self, metrics: ConsoleMetrics) -> None:
        self._metrics = metrics

    def note(self, act: str, person: Person, **about: object) -> None:
        """Record an action of the closed list in `metrics.ACTS`."""
        self._metrics.acted(act)
        log.info("console.act", act=act, person=person.name, role=person.role.value, **about)

    def signed_in(self, name: str, outcome: str, address: str) -> None:
        """Record a sign-in or a refused one, of the closed list in `metrics.SIGN_INS`. Empty `name`: unknown."""
        self._metrics.signed_in(outcome)
        log.info("console.sign_in", person=name[:200] or None, outcome=outcome, address=address)
