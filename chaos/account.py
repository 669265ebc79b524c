"""The account at the end: what the mail servers accepted, what the folders hold and what the results told."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.customers import Customer
from chaos.events import PlannedEvent
from chaos.product import DeadLetter
from chaos.results import Final, Results, Who
from chaos.smtp import Accepted

_SHOWN = 5


@dataclass(frozen=True)
class Copy:
    """A letter in a Sent folder."""

    message_id: str
    wire: bytes


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen from the outside."""

    events: Sequence[PlannedEvent]
    invalid: Sequence[bytes]
    accepted: Sequence[Accepted]
    refusals: Mapping[str, str]
    results: Results
    folders: Mapping[Customer, Sequence[Copy]]
    dead: Sequence[DeadLetter]
    left_over: Mapping[str, int]


@dataclass
class Account:
    """The counts. Each of `PROBLEMS` has to be 0; `examples` say whom a problem met."""

    events: int = 0
    letters: int = 0
    accepted: int = 0
    sent: int = 0
    failed: int = 0
    uncertain: int = 0
    lost: int = 0
    duplicates: int = 0
    duplicates_announced: int = 0
    results_missing: int = 0
    contradictions: int = 0
    failures_unexplained: int = 0
    copies: int = 0
    copies_missing: int = 0
    copies_doubled: int = 0
    copies_altered: int = 0
    dead: int = 0
    dead_unexplained: int = 0
    left_over: int = 0
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def duplicates_unannounced(self) -> int:
        return self.duplicates - self.duplicates_announced

    @property
    def problems(self) -> dict[str, int]:
        """What must not be, and is."""
        counts = {name: int(getattr(self, name)) for name in PROBLEMS}
        return {name: count for name, count in counts.items() if count}

    def found(self, problem: str, whom: str, times: int = 1) -> None:
        """Count a problem."""
        setattr(self, problem, getattr(self, problem) + times)
        if len(self.examples[problem]) < _SHOWN:
            self.examples[problem].append(whom)


PROBLEMS = (
    "lost",
    "duplicates_unannounced",
    "results_missing",
    "contradictions",
    "failures_unexplained",
    "copies_missing",
    "copies_doubled",
    "copies_altered",
    "dead_unexplained",
    "left_over",
)


def account(evidence: Evidence) -> Account:
    """Account for every event, recipient by recipient, and for every copy."""
    found = Account(events=len(evidence.events))
    times = _times_accepted(evidence.accepted)
    for event in evidence.events:
        for address in event.recipients:
            found.letters += 1
            _account_for(found, evidence, (event.id, address), times.get(address, Counter()))
    _account_for_copies(found, evidence)
    _account_for_dead(found, evidence)
    for queue, count in evidence.left_over.items():
        found.found("left_over", queue, count)
    return found


def _times_accepted(accepted: Iterable[Accepted]) -> dict[str, Counter[str]]:
    """How often each recipient's letter was accepted, by Message-ID. No address is used by two events."""
    times: dict[str, Counter[str]] = defaultdict(Counter)
    for each in accepted:
        for address in each.letter.recipients:
            times[address][each.message_id] += 1
    return times


def _account_for(found: Account, evidence: Evidence, who: Who, accepted: Counter[str]) -> None:
    finals = list(evidence.results.finals.get(who, {}).values())
    types = {final.type for final in finals}
    is_announced = who in evidence.results.uncertain
    whom = f"{who[0]} {who[1]}"
    found.accepted += bool(accepted)
    found.uncertain += is_announced
    found.sent += "mail.sent" in types
    found.failed += "mail.failed" in types
    if extra := accepted.total() - 1 if accepted else 0:
        found.duplicates += extra
        if is_announced:
            found.duplicates_announced += extra
        else:
            found.examples["duplicates_unannounced"].append(f"{whom} {dict(accepted)}")
    if not finals:
        found.found("results_missing" if accepted else "lost", f"{whom} uncertain={is_announced}")
    elif "mail.sent" in types and not accepted:
        found.found("lost", f"{whom}: told as sent, and no server accepted it")
    elif len(types) > 1:
        found.found("contradictions", f"{whom}: {sorted(types)}")
    elif "mail.failed" in types and accepted and not is_announced:
        found.found("contradictions", f"{whom}: told as failed, and a server accepted it")
    for final in finals:
        if final.type == "mail.failed" and not _is_explained(final, evidence.refusals, who[1]):
            found.found("failures_unexplained", f"{whom}: {final.reason} {final.words}")


def _is_explained(final: Final, refusals: Mapping[str, str], address: str) -> bool:
    """Whether a server really said so, and to this recipient where it was about one."""
    said = next((command for token, command in refusals.items() if token in final.words), None)
    return said is not None and (not said.startswith("rcpt ") or address in said)


def _account_for_copies(found: Account, evidence: Evidence) -> None:
    told_as_sent = {
        final.message_id
        for finals in evidence.results.finals.values()
        for final in finals.values()
        if final.type == "mail.sent"
    }
    wires: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    for each in evidence.accepted:
        wires[each.letter.username or "", each.message_id].add(each.letter.wire)
    for customer, copies in evidence.folders.items():
        theirs = {message_id: wire for (name, message_id), wire in wires.items() if name == customer.address}
        _account_for_folder(found, customer, copies, theirs, {m for m in theirs if m in told_as_sent})
        if customer.wants_copies:
            for message_id in theirs.keys() & told_as_sent:
                if message_id not in evidence.results.copies:
                    found.found("results_missing", f"sent_copy of {message_id} {customer.id}")


def _account_for_folder(
    found: Account, customer: Customer, copies: Sequence[Copy], accepted: Mapping[str, set[bytes]], sent: set[str]
) -> None:
    times = Counter(copy.message_id for copy in copies)
    found.copies += len(copies)
    wanted = sent if customer.wants_copies else set()
    for message_id in sorted(wanted - times.keys()):
        found.found("copies_missing", f"{customer.id} {message_id}")
    for message_id, count in times.items():
        if count > 1:
            found.found("copies_doubled", f"{customer.id} {message_id} x{count}", count - 1)
    for copy in copies:
        if copy.wire not in accepted.get(copy.message_id, set()):
            found.found("copies_altered", f"{customer.id} {copy.message_id}")


def _account_for_dead(found: Account, evidence: Evidence) -> None:
    found.dead = len(evidence.dead)
    buried = {letter.body for letter in evidence.dead if letter.reason == "invalid_event"}
    for letter in evidence.dead:
        if letter.reason != "invalid_event" or letter.body not in evidence.invalid:
            found.found("dead_unexplained", f"{letter.reason or 'no reason'}: {letter.detail} {letter.body[:120]!r}")
    for body in evidence.invalid:
        if body not in buried:
            found.found("lost", f"invalid event {body[:80]!r}")
