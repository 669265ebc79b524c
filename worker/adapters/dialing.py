"""Opening connections to hosts that customers chose: the port that the SMTP and IMAP adapters use."""

import socket
from typing import Protocol

from worker.domain.transmission import Fault
from worker.errors import SendasError


class DialError(SendasError):
    """No connection; `fault` says at which step (name, policy, connection, time)."""

    def __init__(self, message: str, fault: Fault) -> None:
        super().__init__(message)
        self.fault = fault


class Dialer(Protocol):
    """Connects to vetted addresses only."""

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connected non-blocking TCP socket (with TCP_NODELAY) to one of the host's vetted addresses.

        Raises:
            DialError: with fault `dns`, `egress`, `connect` or `timeout`.
        """
