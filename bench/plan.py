"""How much of everything a run does: all of it in about ten minutes, or enough to notice a change in about two."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """`share`: of a full round's letters. Times in seconds."""

    rounds: int
    share: float
    is_quick: bool
    paced_s: float
    mailboxes: int
    accounts: int
    soak_s: float


FULL = Plan(rounds=3, share=0.6, is_quick=False, paced_s=8, mailboxes=500, accounts=100_000, soak_s=60)
QUICK = Plan(rounds=2, share=0.2, is_quick=True, paced_s=4, mailboxes=100, accounts=5_000, soak_s=10)

Say = Callable[[str], None]
Result = dict[str, object]
