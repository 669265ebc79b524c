"""Maps the library's replies and errors to the values of `domain.transmission`."""

import ssl
from types import TracebackType

from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from worker.adapters.smtp.protocol import MALFORMED
from worker.domain.failure.replies import make_reply
from worker.domain.text import one_line
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Phase
from worker.errors import SendasError

_MAX_DETAIL_CHARACTERS = 1_000  # goes into results and logs


class Failed(SendasError):
    """A failed step; internal to this package."""

    def __init__(self, trouble: DeliveryFailure) -> None:
        super().__init__(f"{trouble.phase}: {trouble.fault}")
        self.trouble = trouble

    @property
    def is_connection_gone(self) -> bool:
        """True when the server hung up, or replied 421, after which it hangs up (RFC 5321 section 3.8)."""
        reply = self.trouble.reply
        return self.trouble.fault is FailureKind.DISCONNECTED or (reply is not None and reply.code == 421)


def reply_of(response: SMTPResponse | SMTPResponseException) -> Reply:
    """The library's reply in normal form: enhanced code extracted, lines joined and cleaned."""
    return make_reply(response.code, response.message.split("\n"))


def refusal(phase: Phase, response: SMTPResponse | SMTPResponseException) -> DeliveryFailure:
    """The failure for an unexpected reply.

    A 2xx or 3xx out of place violates the protocol, and never counts as success or refusal.
    """
    reply = reply_of(response)
    if 400 <= response.code <= 599:
        return DeliveryFailure(phase, FailureKind.REPLY, reply)
    return DeliveryFailure(phase, FailureKind.PROTOCOL, reply, "the server's reply does not fit the command")


def trouble_of(error: SMTPException | OSError, phase: Phase) -> DeliveryFailure:
    """The failure for an error of the library or the network."""
    if isinstance(error, SMTPResponseException):
        if error.code == MALFORMED:
            return DeliveryFailure(phase, FailureKind.PROTOCOL, detail=one_line(error.message)[:_MAX_DETAIL_CHARACTERS])
        return refusal(phase, error)
    if isinstance(error, ssl.SSLError) and phase is Phase.TLS:
        return DeliveryFailure(phase, FailureKind.TLS, detail=_tls_detail(error))
    # The event loop raises ConnectionAbortedError when a handshake takes too long.
    if isinstance(error, TimeoutError | ConnectionAbortedError):
        return DeliveryFailure(phase, FailureKind.TIMEOUT, detail="the server did not answer in time")
    if isinstance(error, OSError):
        fault = FailureKind.TLS if phase is Phase.TLS else FailureKind.DISCONNECTED
        return DeliveryFailure(phase, fault, detail="the connection was lost")
    return DeliveryFailure(phase, FailureKind.PROTOCOL, detail=one_line(str(error)))


def _tls_detail(error: ssl.SSLError) -> str:
    # Errors raised by the event loop itself lack the attributes of OpenSSL's errors.
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {getattr(error, 'verify_message', None) or 'not valid'}"
    return f"handshake failed: {getattr(error, 'reason', None) or 'connection closed'}"


class failing_in:  # noqa: N801 - used like a function. A class, because a generator costs three times as much
    """Context manager: errors of the library and the network inside become `Failed` in this phase."""

    __slots__ = ("_phase",)

    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        if isinstance(error, SMTPException | OSError):
            # Not chained: a log must not show a traceback with the frames of a sign-in.
            raise Failed(trouble_of(error, self._phase)) from None
        if isinstance(error, ValueError) and self._phase is Phase.TLS:
            # Customers choose the host, and not every name can be matched against a certificate.
            raise Failed(
                DeliveryFailure(self._phase, FailureKind.TLS, detail="the host name cannot stand in a certificate")
            ) from None
