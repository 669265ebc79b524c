"""What a mail server did with a letter: facts, before anybody judges them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from worker.domain.vocabulary import Phase


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: code, enhanced status code (RFC 3463) or None, and its text without codes, lines joined."""

    code: int
    enhanced: str | None
    text: str


class Fault(StrEnum):
    """What went wrong when it was not a reply of the server."""

    REPLY = "reply"
    DNS = "dns"
    CONNECT = "connect"
    EGRESS = "egress"
    TLS = "tls"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    TOO_LARGE = "too_large"
    NO_FOLDER = "no_folder"
    NO_SMTPUTF8 = "no_smtputf8"
    NO_AUTH_MECHANISM = "no_auth_mechanism"
    ONLY_TOKENS = "only_tokens"
    SECRET = "secret"  # noqa: S105 - the name of a fault, not a secret
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - the name of a fault, not a token
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a letter, or a recipient of it, was not accepted: where in the session, and what the server said if it did.

    `detail` is a short text of our own for logs and results; it holds no secret.
    """

    phase: Phase
    fault: Fault
    reply: Reply | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Transmission:
    """The outcome of one SMTP transaction, recipient by recipient (keys as they were passed in).

    Every recipient stands in exactly one of the mappings. `uncertain`: the final dot was written and no answer
    came, so that nobody knows whether the letter was accepted.
    """

    accepted: Mapping[str, Reply] = field(default_factory=dict)
    refused: Mapping[str, Trouble] = field(default_factory=dict)
    uncertain: Mapping[str, Trouble] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    is_connection_reused: bool = False
