"""Probes a server's readiness in its own protocol."""

import asyncio
from contextlib import suppress


async def greets(port: int, expected: bytes, *, hello: bytes = b"") -> bool:
    """Whether the server on this loopback port answers (`hello`, if given) with `expected` first."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(hello)
        return await reader.readexactly(len(expected)) == expected
    except (OSError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
