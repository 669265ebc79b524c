"""Runs the compiler in a child process, to keep the event loop responsive and the worker's memory small."""

import asyncio
import sys
from pathlib import Path

from pydantic import ValidationError

from worker.adapters.child_process import ended, environment
from worker.adapters.snapshot.cache_directory import StateDirectory
from worker.adapters.snapshot.compiler import InUse, Report, Task
from worker.adapters.snapshot.problems import RefusedDocument
from worker.errors import SendasError

_COMMAND = (sys.executable, "-P", "-m", "worker.adapters.snapshot.compiler")


class CompilationFailed(SendasError):
    """The document could not be compiled for a reason that is not its own: a full disk, a killed process, no time."""


async def compile_in_child(
    document: Path, state: StateDirectory, in_use: InUse | None, timeout_s: float
) -> Path | None:
    """Compile a document; None when it is the one in use. Cancellation ends the child.

    Raises:
        RefusedDocument: the document is refused as a whole.
        CompilationFailed: nothing can be said about the document.
        OSError: the state directory cannot be made or written to.
    """
    unfinished = await asyncio.to_thread(state.unfinished)
    task = Task(
        document=document,
        state_directory=state.path,
        source=state.source,
        unfinished=unfinished,
        in_use=in_use,
        reference_accounts=state.reference_accounts,
    )
    try:
        output, errors, status = await _run(task, timeout_s)
    finally:
        await asyncio.to_thread(unfinished.unlink, missing_ok=True)  # a killed child cannot
    return _result(status, output, errors)


async def _run(task: Task, timeout_s: float) -> tuple[bytes, bytes, int | None]:
    try:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            task.model_dump_json(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
        )
    except OSError as error:
        raise CompilationFailed(f"the compiler cannot be started: {error.strerror}") from None
    async with ended(process):
        try:
            async with asyncio.timeout(timeout_s):
                output, errors = await process.communicate()
        except TimeoutError:
            raise CompilationFailed(f"the compiler took longer than {timeout_s:g} s") from None
    return output, errors, process.returncode


def _result(status: int | None, output: bytes, errors: bytes) -> Path | None:
    try:
        report = Report.model_validate_json(output)
    except ValidationError:
        # The name of the exception alone: its text could hold a piece of the document.
        lines = errors.decode(errors="replace").strip().splitlines() or [""]
        raise CompilationFailed(
            f"the compiler ended with status {status} {lines[-1].split(':')[0][:60]}".strip()
        ) from None
    if report.refusal is not None:
        raise RefusedDocument(report.refusal, report.message)
    if report.failure is not None:
        raise CompilationFailed(f"the document cannot be compiled: {report.failure}")
    return report.path
