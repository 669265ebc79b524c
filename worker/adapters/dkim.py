"""DKIM signatures (RFC 6376) in received letters."""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from worker.adapters.child_process import ended, environment
from worker.adapters.dkim_names import signature_names
from worker.adapters.dkim_verifying import Report, Task
from worker.domain.probe import SignatureName, SignatureVerdict

_COMMAND = (sys.executable, "-P", "-m", "worker.adapters.dkim_verifying")
_AT_ONCE = 2  # children; each may use a whole CPU up to its time limit
_MEMORY_BYTES = 512 * 1024 * 1024
_STARTING_S = 10.0  # in addition to its CPU limit: on a busy machine it waits to be scheduled


class DkimSignatures:
    """Reads and verifies the signatures of a letter; the caller looks up the keys.

    Args:
        cpu_s: CPU time limit for verifying one letter, in seconds.
    """

    def __init__(self, cpu_s: int = 2) -> None:
        self._cpu_s = cpu_s
        self._places = asyncio.Semaphore(_AT_ONCE)

    def names(self, letter: bytes) -> tuple[SignatureName, ...]:
        """The names of the claimed signers; at most five, without unreadable ones."""
        return signature_names(letter)

    async def verify(self, letter: bytes, keys: Mapping[SignatureName, str]) -> Sequence[SignatureVerdict]:
        """Verify each signature for which there is a key record, in a separate process (see `dkim_verifying`)."""
        if not keys:
            return []
        task = Task(keys=list(keys.items()), cpu_s=self._cpu_s, memory_bytes=_MEMORY_BYTES)
        async with self._places:
            output = await self._run(task.model_dump_json().encode() + b"\n" + letter)
        try:
            return Report.model_validate_json(output).verdicts
        except ValidationError:
            why = "it takes too long to verify, or too much memory"
            return [SignatureVerdict(name, False, why) for name in keys]

    async def _run(self, given: bytes) -> bytes:
        """The child's output; empty when it did not finish."""
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # tracebacks hold pieces of the letter
                env=environment(),
            )
        except OSError:
            return b""
        async with ended(process):
            try:
                async with asyncio.timeout(self._cpu_s * 5 + _STARTING_S):
                    output, _ = await process.communicate(given)
            except TimeoutError:
                return b""
        return output
