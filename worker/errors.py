"""The errors that cross module borders. What happens to a letter is a value (`domain.transmission`), not an error."""


class SendasError(Exception):
    """Root of the tree; its text is one line that says what and where, and holds no secret."""


class ConfigurationError(SendasError):
    """Wrong usage or wrong settings: a command ends with exit status 2 and this one line."""


class InvalidEvent(SendasError):
    """A message that is no event of the contract; it goes to the dead queue with this text."""


class ForeignEvent(SendasError):
    """The event's `source` and `id` are those of another account's event, which came before it."""


class InvalidSnapshot(SendasError):
    """A configuration document that is refused as a whole; the last good one goes on serving."""


class Unavailable(SendasError):
    """A service that the worker itself depends on does not answer now: broker, ledger, snapshot source, file store."""


class SecretUnavailable(SendasError):
    """A secret cannot be opened: no such key, variable or file, or sealed for another key."""


class FileUnavailable(SendasError):
    """A file of an event cannot be downloaded; `is_permanent` when trying again would not help."""

    def __init__(self, message: str, *, is_permanent: bool) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class EgressDenied(SendasError):
    """A host or port that the egress guard does not let the worker connect to."""


class LostClaim(SendasError):
    """The ledger gave this letter to another worker, because this one was silent for too long."""


class OversizedPublication(SendasError):
    """A message too large for the broker; it can never be published."""


class TokenRefused(SendasError):
    """An OAuth 2 token endpoint refused the grant (RFC 6749 section 5.2); the mailbox must be connected anew."""
