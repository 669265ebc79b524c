"""How many letters a second the ledger remembers: claim, hand over and record, as one letter needs them.

    python -m bench.ledger [--seconds 2] [--cold] [URL …]

Without a URL: SQLite in a temporary directory (which should be on a disk, not in memory). A PostgreSQL database is
migrated first; what the measurement writes stays there, so give it one of its own. With `--cold` every letter leaves
from a mailbox that has no connection yet, which is asked for and proven first and given back afterwards; a letter of a
mailbox that is busy costs the ledger no more than without.
"""

import argparse
import asyncio
import os
import tempfile
import time
from datetime import UTC, datetime

from worker.adapters.ledger import SqlLedger, migrate, open_ledger
from worker.delivery.ledger import HandOver, Record
from worker.delivery.mailboxes.state import MailboxKey, MailboxLimits, Revision
from worker.domain.identity import event_key, result_id
from worker.domain.recipient_limit import recipient_limit
from worker.domain.vocabulary import Outcome

CALLERS = (1, 10, 100, 500)
OPERATIONS_PER_LETTER = 3
LETTERS_TO_ONE = 50
MAILBOXES = 20  # of each caller
REVISION, LIMITS = Revision("0" * 32, 1), MailboxLimits(2)
RESULT = b'{"outcome":"sent","reply":{"code":250,"text":"2.0.0 Ok: queued"},"explanation":"' + b"why " * 200 + b'"}'


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Totals:
    """Sums up the transactions."""

    def __init__(self) -> None:
        self.transactions = 0
        self.operations = 0
        self.seconds = 0.0

    def committed(self, operations: int, seconds: float) -> None:
        self.transactions += 1
        self.operations += operations
        self.seconds += seconds


async def send_letters(ledger: SqlLedger, caller: int, until: float, *, is_cold: bool) -> int:
    """Take letters through the ledger one after the other; returns how many operations that were."""
    run = os.urandom(8).hex()
    letters = 0
    while time.monotonic() < until:
        key = event_key("bench", f"{run}-{caller}-{letters}")
        mailbox = MailboxKey("acme", f"{run}-{caller}-{letters % MAILBOXES}")
        if is_cold:
            await ledger.mailboxes.enter(mailbox, REVISION, LIMITS, 1)
        now = datetime.now(UTC)
        limit = recipient_limit(LETTERS_TO_ONE, "acme", now, {0: f"{key}@example.net"})
        await ledger.claim(key, "acme", [0], limit)
        await ledger.hand_over(key, [0], HandOver("acme", "mb-support", f"<{key}@acme.example>", 1, now))
        await ledger.record(key, [Record((0,), Outcome.SENT, result_id(key, [0], "sent"), RESULT)])
        if is_cold:
            if letters < MAILBOXES:
                await ledger.mailboxes.prove(mailbox, REVISION)
            await ledger.mailboxes.keep(mailbox, 0)
        letters += 1
    return letters * OPERATIONS_PER_LETTER


async def measure(url: str, seconds: float, *, is_cold: bool) -> None:
    if not url.startswith("sqlite:"):
        await migrate(url)
    for callers in CALLERS:
        totals = Totals()
        ledger = await open_ledger(url, "bench", SystemClock(), observer=totals)
        started = time.monotonic()
        until = started + seconds
        counts = await asyncio.gather(
            *(send_letters(ledger, caller, until, is_cold=is_cold) for caller in range(callers))
        )
        elapsed = time.monotonic() - started
        await ledger.close()
        print(
            f"{url.partition(':')[0]:<10} {callers:>4} callers: {sum(counts) / elapsed:>7.0f} operations/s, "
            f"{sum(counts) / elapsed / OPERATIONS_PER_LETTER:>6.0f} letters/s, "
            f"{totals.operations / totals.transactions:>6.1f} operations and "
            f"{1000 * totals.seconds / totals.transactions:>5.1f} ms per transaction"
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the ledger.")
    parser.add_argument("urls", nargs="*", metavar="URL")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--cold", action="store_true", help="every letter leaves from a mailbox without connections")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for url in arguments.urls or [f"sqlite:///{directory}/ledger.db"]:
            await measure(url, min(arguments.seconds, 60), is_cold=arguments.cold)


if __name__ == "__main__":
    asyncio.run(main())
