"""The ledger's port: a durable record of what was done with each recipient of each event.

A recipient's entry goes through these states. A claim that finds `done` publishes the same result again; one that
finds `handed_over` without a living owner has an uncertain delivery:

    (none) ──claim──▶ claimed ──hand_over──▶ handed_over ──record──▶ done
       ▲                 │                    │    │  ▲                     │
       ├────release──────┴──────release───────┘    └──┘ abandon, or its      │
       │                                                owner dies: in      │
       │                                                doubt, for the      │
       │                                                next who claims     │
       └───────────────────────────reopen (only what is done as uncertain)──┘

The port is per recipient, not per letter, because an account may switch from individual letters to a common one
between two attempts; recipients are positions in the event's own list, which never changes.

An owner is one worker process. Its lease is renewed by every operation; claims belong to owners, so one small write
keeps all of them. A claim is lost only when another owner takes it: an owner that was silent for too long keeps
whatever was not taken, since the very transaction that records its next step also renews its lease, and no taker can
get in between.

The ledger does not distinguish the tasks of one owner. The caller therefore lets one task at a time work on an entry:
when the broker redelivers a letter to the process that is still sending it, the duplicate must wait before it claims.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.domain.recipient_limit import RecipientLimit
from worker.domain.vocabulary import Outcome


@dataclass(frozen=True, slots=True)
class Granted:
    """The entry is ours: no other worker sends to this recipient.

    `is_over_limit`: do not send at all; the address has had as many letters as the limit allows.
    """

    is_over_limit: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """Another living worker owns it and reports its outcome."""

    owner: str


@dataclass(frozen=True, slots=True)
class Done:
    """Finished; `result` is the body of the result event, published already or to be published now."""

    outcome: Outcome
    result_id: str
    result: bytes


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Handed over with an unknown outcome; ours to settle.

    To settle it, `record` the outcome found, `hand_over` again (which sends the letter again), or `release` it
    (when it was certainly not accepted). What cannot be settled now is `abandon`ed and stays uncertain.
    """

    hand_over: "HandOver"


@dataclass(frozen=True, slots=True)
class HandOver:
    """What is known of a letter just before its final dot; `mailbox_id` None: the platform's relay."""

    account_id: str
    mailbox_id: str | None
    message_id: str
    attempt: int
    at: datetime


Claim = Granted | Held | Done | Uncertain


@dataclass(frozen=True, slots=True)
class Record:
    """The final outcome of some recipients of one letter; all share one result event, whose id is a UUID."""

    recipients: tuple[int, ...]
    outcome: Outcome
    result_id: str
    result: bytes


class Ledger(Protocol):
    """Every method raises `Unavailable` within a set time when the database does not answer.

    The operation is then done either completely or not at all; which of the two is unknown. Every method is idempotent
    for the same owner. A claim that ended in `Unavailable`, or whose caller was cancelled, is released by the ledger
    itself as soon as the database answers, so that it blocks no other worker.
    Raises `ValueError`, before anything is written, for arguments that no ledger can store.
    """

    async def claim(
        self, event_key: str, account_id: str, recipients: Sequence[int], limit: RecipientLimit | None = None
    ) -> Mapping[int, Claim]:
        """Claim what is free; state for the rest why it is not. What is ours already is granted again.

        What was handed over is never granted: it is uncertain when its owner is gone, has abandoned it, or is this
        one. With a limit, a granted recipient counts for its address; one over the limit does not, and is checked again
        at its next claim.

        Raises:
            ForeignEvent: one of the entries belongs to another account; nothing is claimed then.
        """

    async def hand_over(self, event_key: str, recipients: Sequence[int], hand_over: HandOver) -> None:
        """Record durably that the final dot follows.

        Raises:
            LostClaim: when one of the entries is no longer ours, or this process stalled for longer than its lease
                before this could return: nothing may be sent, and nothing is recorded for what is still ours.
        """

    async def record(self, event_key: str, records: Sequence[Record]) -> None:
        """Record final outcomes durably. Raises `LostClaim` as `hand_over` does; then nothing is recorded."""

    async def release(self, event_key: str, recipients: Sequence[int]) -> None:
        """Release claims on recipients certainly not accepted. Entries that are not ours, or done, stay unchanged."""

    async def abandon(self, event_key: str, recipients: Sequence[int]) -> None:
        """Stop work on these, whatever their state: claimed entries become free, handed-over ones uncertain.

        Safe to call at any time; entries that are not ours, or done, stay unchanged.
        """

    async def consent(self, event_key: str, recipients: Sequence[int], up_to_attempt: int) -> None:
        """Store an operator's consent to send again to recipients that are done as uncertain.

        It covers doubts from this attempt or earlier ones, and is retained as long as what was sent.
        """

    async def reopen(self, event_key: str, recipients: Sequence[int]) -> None:
        """Free entries that are done as uncertain, as far as an operator has consented.

        A doubt newer than the consent stays. All other entries stay unchanged, whichever worker owns them.
        """

    async def hand_overs(self, event_key: str) -> Mapping[int, HandOver | None]:
        """The last hand-over of each recipient that has an entry, however it ended. Read-only.

        None: there was no hand-over. Releasing or reopening an entry deletes its hand-over.
        """

    async def account_of(self, event_key: str) -> str | None:
        """The account that the event belongs to; None while no recipient has an entry. Read-only."""

    async def keep_alive(self) -> None:
        """Renew this owner's lease; call it every third of a lease. All other writes renew it too."""

    async def expire(self) -> int:
        """Delete entries older than the retention, except uncertain ones; returns how many."""

    async def close(self) -> None:
        """Release everything that is ours and close the connections."""
