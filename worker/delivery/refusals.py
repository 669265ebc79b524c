"""Refusals: what a server said to the recipients of one letter, put together where it means the same."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog

from worker.delivery.attempt import Attempt
from worker.delivery.facts import Facts
from worker.domain.classification import Classification, classify
from worker.domain.transmission import Reply, Transmission, Trouble
from worker.domain.vocabulary import Action, Scope

log = structlog.get_logger(__name__)

_RELAY_PAUSE_S = 300
_AT_A_TIME = 10


@dataclass(slots=True)
class Refusal:
    """Recipients that were refused for one and the same reason, and one of the troubles that say so."""

    why: Classification
    trouble: Trouble
    replies: dict[int, Reply | None] = field(default_factory=dict)

    @property
    def positions(self) -> tuple[int, ...]:
        return tuple(sorted(self.replies))

    def facts(self, message_id: str | None, timings_s: Mapping[str, float]) -> Facts:
        """The refusal as a result tells it."""
        return Facts(self.positions, self.replies, message_id, detail=self.trouble.detail or None, timings_s=timings_s)


async def refusals_of(attempt: Attempt, transmission: Transmission) -> list[Refusal]:
    """The refused recipients, together where the reason is the same.

    A server may refuse a thousand recipients in other words each, and to weigh those takes a second in all.
    """
    refusals: dict[Classification, Refusal] = {}
    positions = attempt.positions_by_address()
    for number, (address, trouble) in enumerate(transmission.refused.items(), 1):
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
        why = classify(trouble, attempt.provider, attempt.hand_over.at)
        if attempt.item.case.sender.mailbox is None:
            why = _of_the_relay(why, trouble)
        refusals.setdefault(why, Refusal(why, trouble)).replies[positions[address]] = trouble.reply
    return list(refusals.values())


def _of_the_relay(why: Classification, trouble: Trouble) -> Classification:
    """The platform's own relay has no administrator who could resume it: it only rests, and the operator is told."""
    if why.action is Action.SUSPEND:
        log.error("relay.refused", reason=why.reason.value, detail=trouble.detail)
        return Classification(why.reason, Scope.PLATFORM, Action.PAUSE, _RELAY_PAUSE_S, why.remedy)
    return replace(why, scope=Scope.PLATFORM) if why.scope is Scope.MAILBOX else why
