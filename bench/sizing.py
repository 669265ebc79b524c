"""How large everything has to be: `python -m bench.sizing [LETTERS_PER_DAY …]`; docs/capacity.md shows and explains it.

What a letter costs was measured by `python -m bench.capacity`, on two cores that others were using too; measure it on
your own machines, and change the constants. What is assumed of the letters can be given as options.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass

DAY_S = 86_400
VOLUMES = (1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one letter costs, measured; rounded up."""

    worker_cpu_s: float = 0.003
    connection_cpu_s: float = 0.003  # a connection of its own, with TLS and sign-in, on top
    copy_cpu_s: float = 0.003  # a copy for Sent, on top
    event_bytes_on_broker: int = 2_300
    letter_bytes: int = 4_700
    ledger_bytes: int = 1_200  # with its indexes; with a copy, the claim of that too
    ledger_log_bytes: int = 2_200
    ledger_transactions: float = 0.4  # under load, when many letters share one
    worker_bytes: int = 150 * 2**20


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is assumed of the letters."""

    peak_factor: float = 3.0  # the busiest minutes, over the mean of the day
    copies: float = 0.5  # share of letters whose copy we save; many providers do it themselves
    deferred: float = 0.1  # share of letters that need a second attempt
    connections: float = 0.8  # share of letters that find no connection open to their mailbox's server
    seconds_per_letter: float = 1.5  # from the first command to the server's answer
    retention_days: int = 14
    worker_load: float = 0.7  # of one processor, so that there is room when a worker ends
    mailboxes_per_million: int = 20_000  # that send on a day


Row = tuple[str, str]


def plan(letters_per_day: int, costs: Costs | None = None, assumed: Assumptions | None = None) -> Iterator[Row]:
    """Rows of a name and a figure with its unit."""
    costs, assumed = costs or Costs(), assumed or Assumptions()
    mean = letters_per_day / DAY_S
    peak = mean * assumed.peak_factor
    attempts = peak * (1 + assumed.deferred)
    cpu = attempts * (costs.worker_cpu_s + assumed.connections * costs.connection_cpu_s)
    cpu += peak * assumed.copies * costs.copy_cpu_s
    workers = max(2, math.ceil(cpu / assumed.worker_load))
    in_flight = attempts * assumed.seconds_per_letter
    messages = peak * (1 + 2 + assumed.copies + 2 * assumed.deferred)
    yield "letters a second, mean and peak", f"{mean:,.0f}, {peak:,.0f}"
    yield "letters in transmission at the peak", f"{in_flight:,.0f}"
    yield "processors for the workers at the peak", f"{cpu:,.1f}"
    yield "workers", f"{workers}"
    yield "`SENDAS_CONCURRENCY`, for each", f"{max(64, math.ceil(in_flight / workers / 16) * 16)}"
    yield "memory of the workers, without letters", f"{workers * costs.worker_bytes / 2**30:,.1f} GiB"
    yield "messages a second at the broker at the peak", f"{messages:,.0f}"
    yield "an hour of waiting events, on each broker", f"{mean * 3_600 * costs.event_bytes_on_broker / 1e9:,.1f} GB"
    yield "ledger, rows kept", f"{letters_per_day * assumed.retention_days:,.0f}"
    yield "ledger, size", f"{letters_per_day * assumed.retention_days * costs.ledger_bytes / 1e9:,.0f} GB"
    yield "ledger, transactions a second at the peak", f"{peak * costs.ledger_transactions:,.0f}"
    yield "ledger, write-ahead log at the peak", f"{peak * costs.ledger_log_bytes / 1e6:,.1f} MB/s"
    yield "ledger, write-ahead log a day", f"{letters_per_day * costs.ledger_log_bytes / 1e9:,.0f} GB"
    yield "network, out, at the peak", f"{8 * peak * costs.letter_bytes * (1 + assumed.copies) / 1e6:,.0f} Mbit/s"
    yield "mailboxes that send on a day", f"{letters_per_day / 1e6 * assumed.mailboxes_per_million:,.0f}"


def table(volumes: tuple[int, ...] = VOLUMES, assumed: Assumptions | None = None) -> str:
    """All volumes beside each other, as a table in Markdown."""
    columns = [list(plan(volume, assumed=assumed)) for volume in volumes]
    head = "| letters a day | " + " | ".join(f"{volume:,}" for volume in volumes) + " |"
    body = [
        f"| {rows[0][0]} | " + " | ".join(figure for _, figure in rows) + " |" for rows in zip(*columns, strict=True)
    ]
    return "\n".join([head, "|---|" + "---:|" * len(volumes), *body])


def main() -> None:
    """Print the table for the volumes and assumptions given."""
    parser = argparse.ArgumentParser(description="Plan the capacity for so many letters a day.")
    parser.add_argument("volumes", nargs="*", type=int, metavar="LETTERS_PER_DAY")
    parser.add_argument("--retention-days", type=int, default=Assumptions().retention_days)
    parser.add_argument("--seconds-per-letter", type=float, default=Assumptions().seconds_per_letter)
    parser.add_argument("--peak-factor", type=float, default=Assumptions().peak_factor)
    parser.add_argument("--connections", type=float, default=Assumptions().connections)
    parser.add_argument("--copies", type=float, default=Assumptions().copies)
    given = vars(parser.parse_args())
    volumes = tuple(given.pop("volumes")) or VOLUMES
    print(table(volumes, Assumptions(**given)))


if __name__ == "__main__":
    main()
