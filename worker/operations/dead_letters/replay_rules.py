"""Replay of a dead letter: whether it is allowed, to which queue, and as which message."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.delivery.messages import Publication
from worker.delivery.sent_copy.jobs import JOB
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.domain.work import ATTEMPT, FIRST_SEEN, MODE, RECIPIENTS, REPLAYED_DOUBT
from worker.operations.dead_letters.carrying import as_publication, carried
from worker.operations.dead_letters.letter import REPLAY_ID, REPLAYS, DeadLetter
from worker.operations.dead_letters.queue import DeadMessage

MAX_REPLAYS = 3

# The headers of ours that define the work. All others describe earlier attempts or this death.
_LASTING = frozenset({MODE, RECIPIENTS, JOB})


class Refusal(StrEnum):
    """Why a letter cannot be replayed."""

    UNCERTAIN = "uncertain"
    REPLAYED_TOO_OFTEN = "replayed_too_often"
    NO_DESTINATION = "no_destination"
    CAME_BACK = "came_back"
    FORGOTTEN = "forgotten"
    UNSIGNED = "unsigned"


WORDS: Mapping[Refusal, str] = {
    Refusal.UNCERTAIN: "may have been accepted already: find out, and discard it or use --resend-uncertain",
    Refusal.REPLAYED_TOO_OFTEN: "was replayed too often already: fix the cause, or use --force-loop",
    Refusal.NO_DESTINATION: "does not say which work queue it died in",
    Refusal.CAME_BACK: "was replayed just now and has died again",
    Refusal.UNSIGNED: "is a copy for Sent that no worker signed, so it cannot be known whose letter it is: discard it",
    Refusal.FORGOTTEN: "is older than what the ledger remembers, so whoever got it already would get it again: "
    "find out, or use --resend-forgotten",
}


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """What an operator allows. `remembered_since` is the start of the ledger's retention; None: it keeps everything."""

    resend_uncertain: bool = False
    force_loop: bool = False
    resend_forgotten: bool = False
    max_replays: int = MAX_REPLAYS
    remembered_since: datetime | None = None

    def consents(self) -> tuple[str, ...]:
        """What is allowed beyond the rules, in the form the audit event records it."""
        allowed = {
            "resend_uncertain": self.resend_uncertain,
            "force_loop": self.force_loop,
            "resend_forgotten": self.resend_forgotten,
        }
        return tuple(name for name, is_allowed in allowed.items() if is_allowed)


def refusal(letter: DeadLetter, topology: Topology, rules: ReplayRules, replay_id: str) -> Refusal | None:
    """Why this replay cannot include the letter; None if it can."""
    if letter.replay_id == replay_id:
        return Refusal.CAME_BACK
    if destination(letter, topology) is None:
        return Refusal.NO_DESTINATION
    if letter.reason == Reason.OUTCOME_UNKNOWN and not rules.resend_uncertain:
        return Refusal.UNCERTAIN
    if letter.replays >= rules.max_replays and not rules.force_loop:
        return Refusal.REPLAYED_TOO_OFTEN
    return Refusal.FORGOTTEN if _is_forgotten(letter, topology, rules) else None


def _is_forgotten(letter: DeadLetter, topology: Topology, rules: ReplayRules) -> bool:
    """Whether some of the letters may have been sent without the ledger still remembering it.

    An event may be in the dead queue although it was sent: a killed replay leaves it there, an import brings it
    back, and some letters of an event may be done already. Uncertain deliveries are kept until an operator decides, and
    saving a copy always starts with looking for it.
    """
    if rules.resend_forgotten or rules.remembered_since is None or letter.queue == topology.sent_copy:
        return False
    if letter.reason == Reason.OUTCOME_UNKNOWN:
        return False
    moments = [moment for moment in (letter.first_seen, letter.dead_at) if moment is not None]
    return bool(moments) and min(moments) < rules.remembered_since


def destination(letter: DeadLetter, topology: Topology) -> str | None:
    """The work queue where the letter died. A header cannot select any other queue of the broker."""
    return letter.queue if letter.queue in topology.work_queues else None


def replayed(message: DeadMessage, letter: DeadLetter, queue: str, replay_id: str, now: datetime) -> Publication:
    """Build the message for a work queue.

    Body, event headers and the list of waiting recipients stay. Its age restarts because an operator asked for it;
    otherwise an old letter would expire at once. Its attempts restart too, unless it is uncertain: the ledger tells the
    accepted doubt from a later one by the attempt's number, and their results must differ in it.
    """
    is_uncertain = letter.reason == Reason.OUTCOME_UNKNOWN
    headers = {name: value for name, value in carried(message.headers).items() if _lasts(name)} | {
        ATTEMPT: letter.attempts if is_uncertain else 0,
        FIRST_SEEN: now.isoformat(),
        REPLAYS: letter.replays + 1,
        REPLAY_ID: replay_id,
    }
    if is_uncertain:
        headers[REPLAYED_DOUBT] = 1
    return as_publication(message, queue, headers)


def _lasts(name: str) -> bool:
    return name in _LASTING or not name.startswith("sendas-")
