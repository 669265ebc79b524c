"""Connects the dead-letter commands to the broker, and stops them gracefully at the first signal."""

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from worker.adapters.broker.dead_letter_queue import AmqpDeadQueue, open_dead_queue
from worker.adapters.clock import SystemClock
from worker.adapters.ledger import SqlLedger, open_ledger
from worker.addresses import broker_of, ledger_of
from worker.cli.common import print_json, print_line, say, user
from worker.cli.configured import configured
from worker.cli.dead_letters_options import Filters
from worker.cli.publishing import publishing
from worker.delivery.signatures import Signatures
from worker.errors import ConfigurationError, SendasError
from worker.operations.dead_letters.actions import ActEvent, Auditor, Consents, Order
from worker.operations.dead_letters.bulk import BulkAction, BulkRun, RunStats, look, with_whole_digest
from worker.operations.dead_letters.importing import Filed, Imported, put_all_back
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.queue import DeadMessage, Publish
from worker.operations.dead_letters.replay_rules import WORDS
from worker.operations.dead_letters.sightings import Sightings
from worker.settings import Settings


class Spool:
    """Buffers lines in a file until complete, then prints them or moves the file into place."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._part = None if path is None else path.with_name(path.name + ".part")
        self._file: IO[str] = self._opened()

    def _opened(self) -> IO[str]:
        try:
            if self._part is None:
                return tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace")
            # Customers' words: readable by the owner only.
            descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            return os.fdopen(descriptor, "w+", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{self._path}: {error.strerror}") from None

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def write(self, line: str) -> None:
        """Append a line."""
        self._file.write(line + "\n")

    def print_all(self) -> None:
        """Print all lines, or rename the file to its final name."""
        if self._part is not None and self._path is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._part.replace(self._path)
            return
        self._file.seek(0)
        try:
            shutil.copyfileobj(self._file, sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader closed the pipe early, as `head` does. Flushing the rest at exit must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an operator's order; `problem` is what ended it early."""

    id: str
    tally: RunStats
    problem: str | None
    is_rehearsal: bool


def show_outcome(outcome: Outcome, done: str, *, as_json: bool) -> int:
    """Print the outcome; returns the command's exit status."""
    tally = outcome.tally
    if as_json:
        print_json(
            {
                "id": outcome.id,
                "dry_run": outcome.is_rehearsal,
                "problem": outcome.problem,
                "matched": tally.matched,
                done: 0 if outcome.is_rehearsal else tally.done,
                "possible": tally.done if outcome.is_rehearsal else None,
                "by_reason": dict(tally.by_reason.most_common()),
                "by_queue": dict(tally.by_queue.most_common()),
                "refused": {why.value: count for why, count in tally.refused.most_common()},
            }
        )
    else:
        _print_readable(outcome, done)
    if outcome.problem:
        say(f"sendas: {outcome.problem}")
    return 1 if tally.refused or outcome.problem else 0


def _print_readable(outcome: Outcome, done: str) -> None:
    tally = outcome.tally
    print_line(f"{'can be ' if outcome.is_rehearsal else ''}{done}: {tally.done}")
    for reason, count in tally.by_reason.most_common():
        print_line(f"{count:>9}  {reason}")
    if tally.refused:
        print_line(f"cannot be {done}: {tally.refused.total()}")
    for why, count in tally.refused.most_common():
        print_line(f"{count:>9}  {WORDS[why]}")
    if outcome.is_rehearsal and tally.done:
        print_line("nothing was changed; with --yes and --why it is done")
    elif tally.done:
        print_line(f"id: {outcome.id}")


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[RunStats], None]]:
    """A progress bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking", total=total)

        def show(tally: RunStats) -> None:
            words = f"{tally.done} done, {tally.refused.total()} refused"
            progress.update(task, completed=tally.seen, description=words)

        yield show


def look_through(filters: Filters, see: Callable[[DeadMessage, DeadLetter], None]) -> int:
    """Pass letters that match the filters to `see`; returns how many. If none does, say how many there are at all.

    Raises:
        ConfigurationError: a filter's value matches no letter and never could; the text lists the existing values.
    """
    selection = filters.selection()
    settings = configured(is_quiet=True)
    sightings = Sightings(selection, settings.topology)

    async def run() -> int:
        async with _queue(settings) as queue:
            whole = await with_whole_digest(queue, selection)
            return await look(queue, whole, filters.at_most, see, sightings.add)

    count = asyncio.run(run())
    if not count:
        _say_that_none_matches(sightings)
    return count


def _say_that_none_matches(sightings: Sightings) -> None:
    if complaint := sightings.complaint():
        raise ConfigurationError(complaint)
    say(sightings.summary())


@asynccontextmanager
async def _queue(settings: Settings) -> AsyncIterator[AmqpDeadQueue]:
    async with open_dead_queue(broker_of(settings), settings.topology.dead) as queue:
        yield queue


class _NoConsents:
    """Takes the place of a missing ledger."""

    async def consent(self, event_key: str, recipients: Sequence[int], up_to_attempt: int) -> None:  # noqa: ARG002
        raise ConfigurationError("--resend-uncertain: the consent is kept in the ledger, and there is none here")


@asynccontextmanager
async def trust(settings: Settings) -> AsyncIterator[tuple[Signatures, Consents]]:
    """Open the signatures and consents that workers trust: those of their ledger.

    Without the ledger's file, no message can be verified as a worker's and none can be signed, so letters go back as
    new events.

    Raises:
        ConfigurationError: the ledger cannot be used.
        Unavailable: its database does not answer.
    """
    path = settings.ledger.removeprefix("sqlite:///")
    if path != settings.ledger and not Path(path).exists():  # noqa: ASYNC240 - nothing runs concurrently
        say(f"no ledger at {path} (SENDAS_LEDGER_URL): without the workers' own, letters go back as new events")
        yield Signatures(secrets.token_bytes()), _NoConsents()
        return
    ledger: SqlLedger = await open_ledger(ledger_of(settings), f"sendas dead-letters/{user()}", SystemClock())
    try:
        yield Signatures(ledger.message_key), ledger
    finally:
        await ledger.close()


def _publisher(settings: Settings) -> AbstractAsyncContextManager[Publish]:
    return publishing(settings, "sendas-dead-letters-publisher")


async def act(
    settings: Settings,
    deed: Callable[[Publish], BulkAction],
    event: ActEvent,
    order: Order,
    rate: float,
    *,
    is_rehearsal: bool,
) -> Outcome:
    """Carry out an order, or only count what could be done. The outcome says what ended it early.

    Raises:
        ConfigurationError: a filter's value matches no letter and never could; nothing was done.
    """
    clock, sightings = SystemClock(), Sightings(order.selection, settings.topology)
    async with _queue(settings) as queue, _publisher(settings) as publish:
        order = replace(order, selection=await with_whole_digest(queue, order.selection))
        with progress_bar(await queue.size()) as on_progress:
            campaign = BulkRun(
                queue,
                deed(publish),
                order.selection,
                clock,
                limit=order.limit,
                per_s=rate,
                on_progress=on_progress,
                on_letter=sightings.add,
            )
            auditor = Auditor(publish, settings.topology, settings.source, clock)
            job = campaign.rehearse() if is_rehearsal else auditor.carry_out(campaign, event, order)
            problem = await _unless_told_to_stop(job)
    if problem is None and not campaign.tally.matched:
        _say_that_none_matches(sightings)
    return Outcome(order.id, campaign.tally, problem, is_rehearsal)


async def _unless_told_to_stop(job: Awaitable[object]) -> str | None:
    """Run a job; returns None, or what ended it early. The first signal ends it gracefully."""
    task = asyncio.ensure_future(job)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return "interrupted"
    except SendasError as error:
        return str(error)
    return None


async def put_back(settings: Settings, filed: Filed) -> tuple[Imported, str | None]:
    """Import a file's letters into the dead queue; returns how many went, and what ended it early."""
    imported = Imported(filed.count)
    async with trust(settings) as (signatures, _), _queue(settings) as queue, _publisher(settings) as publish:
        problem = await _unless_told_to_stop(
            put_all_back(queue, publish, settings.topology.dead, filed, imported, signatures)
        )
    return imported, problem
