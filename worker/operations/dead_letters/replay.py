"""Sending a dead letter back to where it died: whether it may go, where to, and as which message."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.delivery.copy_jobs import JOB
from worker.delivery.messages import HeaderValue, Publication
from worker.domain.cloudevents import attribute_text
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.domain.work import ATTEMPT, FIRST_SEEN, MODE, RECIPIENTS, RESEND_UNCERTAIN
from worker.operations.dead_letters.letter import REPLAY_ID, REPLAYS, DeadLetter
from worker.operations.dead_letters.queue import DeadMessage

MAX_REPLAYS = 3

# Of our own headers: what the work is. All others tell of the attempts so far, or of this death.
_LASTING = frozenset({MODE, RECIPIENTS, JOB})


class Refusal(StrEnum):
    """Why a letter cannot be replayed."""

    UNCERTAIN = "uncertain"
    REPLAYED_TOO_OFTEN = "replayed_too_often"
    NO_DESTINATION = "no_destination"
    CAME_BACK = "came_back"


WORDS: Mapping[Refusal, str] = {
    Refusal.UNCERTAIN: "may have been accepted already: find out, and discard it or use --resend-uncertain",
    Refusal.REPLAYED_TOO_OFTEN: "was replayed too often already: mend the cause, or use --force-loop",
    Refusal.NO_DESTINATION: "does not say which work queue it died in",
    Refusal.CAME_BACK: "was replayed just now and has died again",
}


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """What an operator allows."""

    resend_uncertain: bool = False
    force_loop: bool = False
    max_replays: int = MAX_REPLAYS

    def consents(self) -> tuple[str, ...]:
        """What is allowed beyond the rules, as an audit tells it."""
        allowed = {"resend_uncertain": self.resend_uncertain, "force_loop": self.force_loop}
        return tuple(name for name, is_allowed in allowed.items() if is_allowed)


def refusal(letter: DeadLetter, topology: Topology, rules: ReplayRules, replay_id: str) -> Refusal | None:
    """Why the letter cannot go in this replay; None when it can."""
    if letter.replay_id == replay_id:
        return Refusal.CAME_BACK
    if destination(letter, topology) is None:
        return Refusal.NO_DESTINATION
    if letter.reason == Reason.OUTCOME_UNKNOWN and not rules.resend_uncertain:
        return Refusal.UNCERTAIN
    if letter.replays >= rules.max_replays and not rules.force_loop:
        return Refusal.REPLAYED_TOO_OFTEN
    return None


def destination(letter: DeadLetter, topology: Topology) -> str | None:
    """The work queue that the letter died in. A header must not be able to name any other queue of the broker."""
    return letter.queue if letter.queue in (topology.outbound, topology.sent_copy, topology.mailbox_check) else None


def replayed(message: DeadMessage, letter: DeadLetter, queue: str, replay_id: str, now: datetime) -> Publication:
    """The message that a work queue gets.

    Body, event headers, and which recipients still wait stay. Its age begins anew, as an operator asked for it: else
    an old letter would expire at once. Its attempts begin anew too, except of an uncertain one: the ledger tells the
    accepted doubt from one that arises later by the attempt's number, and results of both must differ in it.
    """
    is_uncertain = letter.reason == Reason.OUTCOME_UNKNOWN
    headers = {name: value for name, value in carried(message.headers).items() if _lasts(name)} | {
        ATTEMPT: letter.attempts if is_uncertain else 0,
        FIRST_SEEN: now.isoformat(),
        REPLAYS: letter.replays + 1,
        REPLAY_ID: replay_id,
    }
    if is_uncertain:
        headers[RESEND_UNCERTAIN] = letter.attempts
    return as_publication(message, queue, headers)


def _lasts(name: str) -> bool:
    return name in _LASTING or not name.startswith("sendas-")


def carried(headers: Mapping[str, object]) -> dict[str, HeaderValue]:
    """Headers for a message that goes on. Not the broker's own: with them it sees a cycle and drops the message."""
    return {
        name: value if isinstance(value := attribute_text(given), str | int) else str(value)
        for name, given in headers.items()
        if given is not None and not name.startswith("x-")
    }


def as_publication(message: DeadMessage, queue: str, headers: Mapping[str, HeaderValue]) -> Publication:
    """The message again, for a queue. Its message id is a fresh one: brokers and libraries match by it."""
    properties = message.properties
    timestamp = properties.get("timestamp")
    return Publication(
        exchange="",
        routing_key=queue,
        body=message.body,
        headers=headers,
        content_type=_text(properties.get("content_type")),
        correlation_id=_text(properties.get("correlation_id")),
        type=_text(properties.get("type")),
        timestamp=timestamp if isinstance(timestamp, datetime) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
