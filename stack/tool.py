"""Runs a server's tools to completion."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence

from stack.process import ServerError, end_group, setpriv, spawned


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    input_text: str = "",
    user: str | None = None,
) -> str:
    """Run a tool to completion; returns its output. Raises ServerError with the output if it fails."""
    process = await spawned(
        *setpriv(signal.SIGKILL, user),
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
        start_new_session=True,  # its own group, so that its children end with it on cancellation
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **(env or {})},
    )
    try:
        output, errors = await process.communicate(input_text.encode())
    except BaseException:
        await end_group(process.pid)
        await process.wait()
        raise
    if process.returncode != 0:
        raise ServerError(
            f"{' '.join(argv)}: exit code {process.returncode}\n{(output + errors).decode(errors='replace')}"
        )
    return output.decode()
