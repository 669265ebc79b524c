"""DKIM signatures (RFC 6376) in letters that were read back."""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from worker.adapters.child_process import ended, environment
from worker.adapters.dkim_names import signature_names
from worker.adapters.dkim_verifying import Report, Task
from worker.domain.probe import SignatureName, SignatureVerdict

_COMMAND = (sys.executable, "-P", "-m", "worker.adapters.dkim_verifying")
_AT_ONCE = 2  # children; each may take a processor for as long as it is let
_MEMORY_BYTES = 512 * 1024 * 1024
_STARTING_S = 10.0  # besides what it may compute: on a busy machine it waits for its turns


class DkimSignatures:
    """Reads and verifies the signatures of a letter; the keys are looked up by whoever asks.

    Args:
        cpu_s: how long the verification of a letter may compute.
    """

    def __init__(self, cpu_s: int = 2) -> None:
        self._cpu_s = cpu_s
        self._places = asyncio.Semaphore(_AT_ONCE)

    def names(self, letter: bytes) -> tuple[SignatureName, ...]:
        """Who says that they signed it; at most five, those that cannot be read left out."""
        return signature_names(letter)

    async def verify(self, letter: bytes, keys: Mapping[SignatureName, str]) -> Sequence[SignatureVerdict]:
        """Verify each signature for which there is a key record, in a process of its own (see `dkim_verifying`)."""
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
        """What the child says; nothing when it came to no end."""
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
