"""The comparison: this worker against what users would pick instead, on this machine, in one run.

    python -m bench [--quick] [--only relay far latency copies size growth] [--keep]

Prints tables, and writes bench/results.json and bench/results.svg. `--keep` makes the figures those that later runs
are compared with; without it the exit status is 1 when this worker became slower than they say.
"""

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Awaitable, Callable

from bench import far_mailboxes, growth, latency, others, report, sent_copies, size
from bench.arena import Arena
from bench.contest import Contestant, compete
from bench.counting import TooFew
from bench.plan import FULL, QUICK, Plan, Result
from bench.tools import install
from bench.workers import this_worker
from stack import private_directory

SCENARIOS = ("relay", "far", "latency", "copies", "size", "growth")
_QUICK_SCENARIOS = ("relay", "far", "latency")
_GUESS = 400.0  # letters a second, where the load of the latency scenario was not measured before


def contestants(plan: Plan) -> list[Contestant]:
    """Who competes; in a quick run only what the guard needs and the strongest rival."""
    ours = [this_worker(1, "sqlite", 4_000)]
    limits = [others.CONSUMER, others.SMTP_SOURCE]
    if plan.is_quick:
        return [*ours, others.NODEMAILER, *limits]
    more = [this_worker(2, "sqlite", 4_000), this_worker(1, "postgresql", 4_000), this_worker(2, "postgresql", 4_000)]
    return [*ours, others.NODEMAILER, *more, others.CELERY_SMTPLIB, others.POSTFIX, *limits]


async def compare(plan: Plan, only: tuple[str, ...]) -> dict[str, Result]:
    """All scenarios asked for."""
    results: dict[str, Result] = {}
    with private_directory() as directory:
        async with Arena.open(directory) as arena:
            highest = _GUESS
            if "relay" in only:
                say("(a) one relay, warm connections, plain text")
                standings = await compete(arena, contestants(plan), plan.rounds, plan.share, say)
                results["relay"], highest = report.contest_result(standings), standings.rates[report.OURS]
                say(report.table(standings))
            steps: dict[str, tuple[str, Callable[[], Awaitable[Result]]]] = {
                "far": ("(b) many mailboxes, far away", lambda: far_mailboxes.measure(arena, plan, say)),
                "latency": ("(c) latency", lambda: latency.measure(arena, plan, say, highest)),
                "copies": ("(d) copies in Sent", lambda: sent_copies.measure(arena, plan, say)),
                "size": ("(e) start, memory", lambda: size.measure(arena, plan, say)),
                "growth": ("(f) growth", lambda: growth.measure(arena, plan, say)),
            }
            for name, (title, measure) in steps.items():
                if name in only:
                    say(title)
                    results[name] = await measure()
    return results


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare this worker with others.")
    parser.add_argument("--quick", action="store_true", help="about two minutes instead of ten")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, help="some scenarios only")
    parser.add_argument("--keep", action="store_true", help="keep the figures for later runs to be compared with")
    arguments = parser.parse_args()
    install()
    plan = QUICK if arguments.quick else FULL
    only = tuple(arguments.only or (_QUICK_SCENARIOS if arguments.quick else SCENARIOS))
    try:
        results = asyncio.run(compare(plan, only))
    except TooFew as error:
        say(f"bench: {error}")
        return 1
    machine = {"python": platform.python_version(), "is_quick": plan.is_quick}
    report.write({"machine": machine, **results})
    rates = results.get("relay", {}).get("rate")
    if not isinstance(rates, dict):
        return 0
    if arguments.keep:
        kept = {"against_limits": report.against_limits(rates)}
        report.REFERENCE.write_text(json.dumps(kept, indent=2) + "\n")
        return 0
    for line in (slower := report.slower(rates)):
        say(f"SLOWER than the figures kept: {line}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
