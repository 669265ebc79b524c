"""Where a worker's processor time goes: `python -m bench.profile [--letters 3000] [--picture docs/profile.svg]`.

Sends letters through one process as the comparison does, samples it with py-spy, prints which parts take how much of
the event loop's time, and draws a flame graph. The shares hold on a busy machine too; the totals do not.
"""

import argparse
import asyncio
import re
import secrets
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.arena import Arena
from bench.counting import watch
from bench.tools import PYTHON, install
from bench.workers import one_worker
from stack import private_directory

_PY_SPY = PYTHON.with_name("py-spy")
_EVENT_LOOP = "Runner.run"
_FRAME = re.compile(r"(.*) \((.*?)(?::\d+)?\)$")
_PARTS = {
    "SMTP": ("_transmit",),
    "results": ("Outcomes.of_transmission",),
    "composing": ("Composer.compose",),
    "claims and lanes": ("LetterDelivery.deliver",),
    "publishing": ("Publisher.publish",),
    "reading events, resolving, planning": ("Pipeline.handle",),
    "settling": ("Consumer._work",),
    "ledger, on the event loop": ("SqlLedger._run", "GroupCommit._write"),
    "AMQP frames in and out": ("aiormq", "broker/tap.py"),
}
"""Parts by a name in the stack; the first that fits counts."""


async def record(letters: int, samples: Path) -> None:
    """Write collapsed stacks of one worker that sends so many letters."""
    with private_directory() as directory:
        async with Arena.open(directory) as arena, one_worker(arena, []) as worker:
            options = ["--format", "raw", "--rate", "400", "--gil", "--output", str(samples)]
            spy = await asyncio.create_subprocess_exec(_PY_SPY, "record", "--pid", str(worker.child.pid), *options)
            arrived = arena.arrivals()
            await arena.load(letters, run := secrets.token_hex(4))
            await watch(arrived, letters)
            await arena.audit(letters, run, arrived)
            spy.send_signal(signal.SIGINT)
            await spy.wait()


def stacks(samples: Path) -> Iterable[tuple[list[str], int]]:
    """Each stack, outermost frame first, and how often it was seen."""
    for line in samples.read_text().splitlines():
        stack, _, seen = line.rpartition(" ")
        yield stack.split(";"), int(seen)


def part_of(frames: list[str]) -> str:
    """To which part of the work a stack belongs."""
    if not any(_EVENT_LOOP in frame for frame in frames):
        return "other threads: the ledger's"
    text = ";".join(frames)
    return next((part for part, names in _PARTS.items() if any(name in text for name in names)), "the loop itself")


def summary(samples: Path, shown: int = 25) -> str:
    """Parts and functions, with their shares."""
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for frames, seen in stacks(samples):
        parts[part_of(frames)] += seen
        if found := _FRAME.match(frames[-1]):
            functions[f"{found[1]} ({'/'.join(found[2].split('/')[-2:])})"] += seen
    total = parts.total()
    lines = [f"{100 * seen / total:5.1f} %  {part}" for part, seen in parts.most_common()]
    lines += ["", *(f"{100 * seen / total:5.1f} %  {name}" for name, seen in functions.most_common(shown))]
    return "\n".join(lines)


def draw(samples: Path, picture: Path) -> None:
    """A flame graph of the parts and what is below them."""
    subprocess.run(
        [str(PYTHON), str(Path(__file__).parent / "peers" / "flames.py"), str(samples), str(picture)], check=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description="Profile one worker.")
    parser.add_argument("--letters", type=int, default=3_000)
    parser.add_argument("--picture", type=Path, help="where to draw a flame graph")
    parser.add_argument("--samples", type=Path, default=Path("profile.txt"), help="where the stacks are kept")
    arguments = parser.parse_args()
    install()
    asyncio.run(record(arguments.letters, arguments.samples))
    print(summary(arguments.samples))
    if arguments.picture:
        draw(arguments.samples, arguments.picture)


if __name__ == "__main__":
    main()
