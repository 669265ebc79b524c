"""The ledger's port: a durable memory of what was done with each recipient of each event.

A recipient's entry goes through these states; whoever finds `done` publishes the same result again, whoever finds
`handed_over` without a living owner knows that nobody knows whether the letter was accepted:

    (none) ──claim──▶ claimed ──hand_over──▶ handed_over ──record──▶ done
       ▲                 │                    │    │  ▲                     │
       ├────release──────┴──────release───────┘    └──┘ abandon, or its      │
       │                                                owner dies: in      │
       │                                                doubt, for the      │
       │                                                next who claims     │
       └───────────────────────────reopen (only what is done as uncertain)──┘

The port is per recipient and not per letter, because an account may change from one letter each to a common one
between two attempts; recipients are the positions in the event's own list, which never changes.

An owner is one worker process. It lives for one lease after its last operation of any kind; claims belong to owners,
so one small write keeps all of them. A claim is lost only when somebody else took it: an owner that was silent for
too long and comes back keeps what nobody wanted, since the very transaction that notes its next step also makes it
alive again, and a taker cannot come in between.

The tasks of one owner are not told apart. The caller therefore lets one task at a time work on an entry: when the
broker redelivers a letter to the process that is still sending it, the copy has to wait before it claims.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.domain.recipient_limit import RecipientLimit
from worker.domain.vocabulary import Outcome


@dataclass(frozen=True, slots=True)
class Granted:
    """The entry is ours: nobody else sends to this recipient.

    `is_over_limit`: nobody is to send at all; the address has had as many letters as the limit allows.
    """

    is_over_limit: bool = False


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
class Uncertain:
    """Handed over, and the answer is not known; it is ours to settle.

    To settle is to `record` what was found out, to `hand_over` again (the letter is sent again), or to `release`
    (found out: it was not accepted). What cannot be settled now is `abandon` and stays in doubt.
    """

    hand_over: "HandOver"


@dataclass(frozen=True, slots=True)
class HandOver:
    """What is known of a letter at the moment just before its final dot; `mailbox_id` None: the platform's relay."""

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

    What was asked for is then done whole or not at all, and which of the two is unknown. All methods can be repeated
    by the same owner with the same effect as once. A claim that ended in `Unavailable`, or whose caller was
    cancelled, is let go by the ledger itself as soon as the database answers, so that it blocks nobody.
    `ValueError` is raised for arguments that no ledger can store, before anything is written.
    """

    async def claim(
        self, event_key: str, account_id: str, recipients: Sequence[int], limit: RecipientLimit | None = None
    ) -> Mapping[int, Claim]:
        """Claim what is free; say of the rest why it is not. What is ours already is granted again.

        What was handed over is never granted: it is in doubt when its owner is gone, has let it go, or is ourselves.
        With a limit, what is granted counts for its address; what is over the limit does not, and is asked again at
        its next claim.

        Raises:
            ForeignEvent: one of the entries is another account's; nothing is claimed then.
        """

    async def hand_over(self, event_key: str, recipients: Sequence[int], hand_over: HandOver) -> None:
        """Note durably that the final dot follows.

        Raises:
            LostClaim: when one of the entries is not ours any more, or this process stood still for longer than its
                lease before it could return: nothing may be sent, and nothing is noted of what is still ours.
        """

    async def record(self, event_key: str, records: Sequence[Record]) -> None:
        """Note durably how it ended. Raises `LostClaim` as `hand_over` does; then nothing is recorded."""

    async def release(self, event_key: str, recipients: Sequence[int]) -> None:
        """Give claims back: certainly not accepted. Entries that are not ours, or done, stay as they are."""

    async def abandon(self, event_key: str, recipients: Sequence[int]) -> None:
        """Work on these no longer, whatever their state: claimed ones are free, handed over ones in doubt.

        Safe to call at any time; entries that are not ours, or done, stay as they are.
        """

    async def consent(self, event_key: str, recipients: Sequence[int], up_to_attempt: int) -> None:
        """Keep an operator's decision that those who are done as uncertain may be sent to again.

        It is for doubts that arose in this attempt or in an earlier one, and kept as long as what was sent.
        """

    async def reopen(self, event_key: str, recipients: Sequence[int]) -> None:
        """Free those that are done as uncertain, as far as there is consent to it.

        A doubt that the decision did not know of stays. All other entries stay as they are, whoever has them.
        """

    async def hand_overs(self, event_key: str) -> Mapping[int, HandOver | None]:
        """The last hand-over of each recipient who has an entry, however it ended; nothing is written.

        None: it came to no hand-over. A release forgets the entry, and so does reopening.
        """

    async def account_of(self, event_key: str) -> str | None:
        """The account whose event it is; None while no recipient has an entry. Nothing is written."""

    async def keep_alive(self) -> None:
        """Say that this owner lives; to be called every third of a lease. All other writes say so too."""

    async def expire(self) -> int:
        """Forget entries that are older than the retention; returns how many. Never those that are in doubt."""

    async def close(self) -> None:
        """Let go of all that is ours and close the connections."""
