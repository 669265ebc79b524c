"""What has to hold when everything has come to its end, whatever happened before."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.doubles.broker import MemoryBroker
from tests.doubles.moody_server import MoodyServer
from worker.delivery.messages import Arrival
from worker.domain.results.events import MailboxResumedEvent, MailboxSuspendedEvent, MailSentEvent, MailUncertainEvent
from worker.domain.results.models import MailboxResumed, MailboxSuspended, MailFailed, MailSent, SentCopyResult
from worker.domain.vocabulary import Outcome, UncertainPolicy
from worker.domain.work import RECIPIENTS, parse_positions

ResultT = TypeVar("ResultT")


def waiting_in(message: Arrival, addresses: Sequence[str]) -> list[str]:
    """Whom a message in the dead queue is about."""
    return [addresses[position] for position in parse_positions(str(message.headers[RECIPIENTS]))]


@dataclass
class Verdict:
    """Results and dead letters against what the server and its Sent folder really hold.

    `consents`: how often an operator had each address sent to again. `is_shaken`: a worker stood still for longer than
    its lease, so that two may have told of one letter what they each found out.
    """

    broker: MemoryBroker
    server: MoodyServer
    addresses: Sequence[str]
    consents: Counter[str]
    is_shaken: bool

    def _results(self, of: type[ResultT]) -> list[ResultT]:
        return [result for result in self.broker.results if isinstance(result, of)]

    def pronounce(self) -> None:
        """What has to hold in the end, whatever happened."""
        assert self.broker.dropped == []
        self._check_ends()
        self._check_duplicates()
        self._check_copies()
        self._check_suspensions()
        by_id: dict[str, set[bytes]] = {}
        for result in self.broker.results:
            if isinstance(result.data, MailSent | MailFailed | MailboxSuspended | MailboxResumed):
                by_id.setdefault(result.id, set()).add(result.to_json())
        # What a worker that stood still has found out is told, although another one has told of the same meanwhile.
        assert self.is_shaken or all(len(words) == 1 for words in by_id.values()), "one id, two results"

    def _check_ends(self) -> None:
        ends: dict[str, set[str]] = {address: set() for address in self.addresses}
        for result in self.broker.results:
            if isinstance(result.data, MailSent | MailFailed):
                for recipient in result.data.recipients:
                    ends[recipient.address].add(recipient.outcome)
        dead = self.broker.dead
        assert all(message.headers["sendas-dead-reason"] == "outcome_unknown" for message in dead)
        held = self._held()
        accepted = {recipient for one in self.server.delivered for recipient in one.recipients}
        for address, known in ends.items():
            assert known or address in held, f"{address} was forgotten"
            assert len(known) <= 1 or self.is_shaken, f"{address} ended as {known}"
            assert Outcome.SENT not in known or address in accepted, f"{address} is called sent and got nothing"

    def _held(self) -> set[str]:
        return {address for message in self.broker.dead for address in waiting_in(message, self.addresses)}

    def _check_duplicates(self) -> None:
        """Nobody got it more often than was told; a repeat with the same id tells nothing new."""
        told = {result.id: result for result in self._results(MailUncertainEvent)}
        doubts = Counter(
            recipient.address
            for result in told.values()
            if result.data.resolution_policy is not UncertainPolicy.HOLD
            for recipient in result.data.recipients
        )
        accepted = Counter(recipient for one in self.server.delivered for recipient in one.recipients)
        for address, times in accepted.items():
            allowed = 1 + doubts[address] + self.consents[address]
            assert times <= allowed, f"{address} got it {times} times, {allowed} were announced"

    def _check_suspensions(self) -> None:
        """Each was told of, and each ended."""
        suspended = {result.id for result in self._results(MailboxSuspendedEvent)}
        resumed = {result.id for result in self._results(MailboxResumedEvent)}
        assert len(suspended) == len(resumed)
        assert len(suspended) <= self.server.wrong_passwords

    def _check_copies(self) -> None:
        copies = Counter(copy.message_id for copy in self.server.folder.copies("mb-support"))
        assert all(times == 1 for times in copies.values()), "a copy was doubled"
        results = self.broker.results
        told = {result.data.message_id for result in results if isinstance(result.data, SentCopyResult)}
        for sent in self._results(MailSentEvent):
            # One that stood still may die while it tells, and another one holds the letter: there the story goes on.
            is_held = self.is_shaken and {one.address for one in sent.data.recipients} <= self._held()
            assert is_held or sent.data.message_id in told, "nobody knows what became of a copy"
