"""The ledger's port: a durable memory of what was done with each recipient of each event.

A recipient's entry goes through these states; whoever finds `done` publishes the same result again, whoever finds
`handed_over` without a living owner knows that nobody knows whether the letter was accepted:

    (none) ──claim──▶ claimed ──hand_over──▶ handed_over ──record──▶ done
       ▲                 │                        │
       └────release──────┴────────release─────────┘   (not accepted for certain: another attempt may follow)

The port is per recipient and not per letter, because an account may change from one letter each to a common one
between two attempts; recipients are the positions in the event's own list, which never changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.domain.vocabulary import Outcome


@dataclass(frozen=True, slots=True)
class Granted:
    """The entry is ours: nobody else sends to this recipient."""


@dataclass(frozen=True, slots=True)
class Held:
    """Another living worker has it; what becomes of it is that worker's to say."""

    owner: str


@dataclass(frozen=True, slots=True)
class Done:
    """It came to its end; `result` is the body of the result event that was published, or is to be published now."""

    outcome: Outcome
    result_id: str
    result: bytes


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Handed over by a worker that did not live to see the answer."""

    hand_over: "HandOver"


@dataclass(frozen=True, slots=True)
class HandOver:
    """What is known of a letter at the moment just before its final dot; `mailbox_id` None: the platform's relay."""

    account_id: str
    mailbox_id: str | None
    message_id: str
    attempt: int
    at: datetime


Claim = Granted | Held | Done | InDoubt


@dataclass(frozen=True, slots=True)
class Record:
    """The final outcome of some recipients of one letter; all share one result event."""

    recipients: tuple[int, ...]
    outcome: Outcome
    result_id: str
    result: bytes


class Ledger(Protocol):
    """Every method raises `Unavailable` when the database does not answer; what it did then is unknown."""

    async def claim(self, event_key: str, account_id: str, recipients: Sequence[int]) -> Mapping[int, Claim]:
        """Claim what is free; say of the rest why it is not. A repeated claim by the same owner is granted again.

        A claim whose owner is no longer alive is free; if it was handed over, it is in doubt, and is ours to settle.
        """

    async def hand_over(self, event_key: str, recipients: Sequence[int], hand_over: HandOver) -> None:
        """Note durably that the final dot follows.

        Raises:
            LostClaim: when one of the entries is not ours any more: nothing may be sent.
        """

    async def record(self, event_key: str, records: Sequence[Record]) -> None:
        """Note durably how it ended. Raises `LostClaim` as `hand_over` does; then nothing is recorded."""

    async def release(self, event_key: str, recipients: Sequence[int]) -> None:
        """Give claims back: certainly not accepted. Entries that are not ours, or done, stay as they are."""

    async def keep_alive(self) -> None:
        """Say that this owner lives; to be called several times per lease."""

    async def expire(self) -> int:
        """Forget entries that are older than the retention; returns how many."""

    async def close(self) -> None:
        """Say that this owner is gone and close the connections. Entries handed over stay in doubt."""
