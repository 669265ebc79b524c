"""Errors that cross module boundaries. A letter's outcome is a value (`domain.transmission`), not an error."""


class SendasError(Exception):
    """Base class; the text is one line that says what is wrong and where, and contains no secret."""


class ConfigurationError(SendasError):
    """Wrong usage or settings: a command exits with status 2 and this one line."""


class InvalidEvent(SendasError):
    """A message that is not an event of the contract; it goes to the dead queue with this text."""


class ForeignEvent(SendasError):
    """The event's `source` and `id` already belong to an earlier event of another account."""


class InvalidSnapshot(SendasError):
    """A snapshot that is rejected as a whole; the last good one stays in use."""


class Unavailable(SendasError):
    """One of the worker's own dependencies does not answer: broker, ledger, snapshot source, file store."""


class SecretUnavailable(SendasError):
    """A secret cannot be opened: the key, variable or file does not exist, or it is sealed for another key."""


class FileUnavailable(SendasError):
    """An event's file cannot be downloaded; `is_permanent` means that a retry would not help."""

    def __init__(self, message: str, *, is_permanent: bool) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class EgressDenied(SendasError):
    """The egress guard forbids connecting to a host or port."""


class LostClaim(SendasError):
    """The ledger gave this letter to another worker after this one's lease expired."""


class OversizedPublication(SendasError):
    """A message exceeds the broker's size limit and can never be published."""


class TokenRefused(SendasError):
    """An OAuth 2 token endpoint refused the grant (RFC 6749 section 5.2); the mailbox must be reconnected."""
