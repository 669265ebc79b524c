"""What targets that drive whole sessions share."""

import asyncio
import socket
import ssl
from functools import cache

from stack import client_context

_TURNS = 20


class LoopDialer:
    """Gives an unconnected socket, which the virtual loop closes: there is no network."""

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """The socket."""
        del host, port, timeout_s
        return socket.socket()


@cache
def tls_context() -> ssl.SSLContext:
    """Verifies, and trusts nobody; made once, as that is slow."""
    return client_context()


async def settle() -> None:
    """Let what was begun by a closing come to its end."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
