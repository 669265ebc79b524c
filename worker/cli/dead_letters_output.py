"""What the dead-letter commands print, and when: never while messages are held, a pager may not read on for hours."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from worker.cli.output import print_json, print_line, say
from worker.errors import ConfigurationError
from worker.operations.dead_letters.acting import Tally
from worker.operations.dead_letters.replay import WORDS


class Spool:
    """Lines that are kept in a file until all of them are there: for standard output, or to become a file whole."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._part = None if path is None else path.with_name(path.name + ".part")
        self._file: IO[str] = self._opened()

    def _opened(self) -> IO[str]:
        try:
            if self._part is None:
                return tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace")
            # Customers' words: nobody else may read them.
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
        """Add a line."""
        self._file.write(line + "\n")

    def print_all(self) -> None:
        """Print all lines, or give the file its name."""
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
            # Whoever read has seen enough, as `head` does. What is left in the buffer must not fail at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operator's order ended; `problem`: what ended it before its end."""

    id: str
    tally: Tally
    problem: str | None
    is_rehearsal: bool


def show_outcome(outcome: Outcome, done: str, *, as_json: bool) -> int:
    """Print it; the command's exit status."""
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
def progress_bar(total: int) -> Iterator[Callable[[Tally], None]]:
    """A bar on standard error when that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking", total=total)

        def show(tally: Tally) -> None:
            words = f"{tally.done} done, {tally.refused.total()} refused"
            progress.update(task, completed=tally.seen, description=words)

        yield show
