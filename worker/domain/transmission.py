"""What a mail server did with a letter: facts, not yet classified.

Also the Message-ID that a server assigned in place of the letter's own, parsed from its acceptance reply.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from worker.domain.providers import Provider
from worker.domain.vocabulary import Phase


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: code, enhanced status code (RFC 3463) or None, and its text without codes, lines joined."""

    code: int
    enhanced: str | None
    text: str


class FailureKind(StrEnum):
    """What went wrong, when it was not a server's reply."""

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
class DeliveryFailure:
    """Why a letter, or one of its recipients, was not accepted: the session's phase, and the server's reply if any.

    `detail` is a short text of our own for logs and results; it contains no secret.
    """

    phase: Phase
    fault: FailureKind
    reply: Reply | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Transmission:
    """The outcome of one SMTP transaction, recipient by recipient (keys as passed in).

    Every recipient is in exactly one of the mappings. `uncertain`: the final dot was written and no answer came, so it
    is unknown whether the letter was accepted.
    """

    accepted: Mapping[str, Reply] = field(default_factory=dict)
    refused: Mapping[str, DeliveryFailure] = field(default_factory=dict)
    uncertain: Mapping[str, DeliveryFailure] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    is_connection_reused: bool = False


_MAX_CHARS = 300
_MESSAGE_ID = re.compile(r"<[!-;=?A-~]{1,200}@[!-;=?A-~]{1,100}>")
# Exchange always reports it as: "2.6.0 <id> [InternalId=…, Hostname=…] Queued mail for delivery".
_EXCHANGE = re.compile(r"\[(?:InternalId|Hostname)=", re.IGNORECASE)
_SES_ID = re.compile(r"ok:? ([0-9a-f-]{40,100})", re.IGNORECASE)
_SES_HOST = re.compile(r"email-smtp(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com")
_SES_FIRST_REGION = "us-east-1"


def rewritten_message_id(reply: Reply, own: str, provider: Provider, smtp_host: str) -> str | None:
    """The Message-ID that recipients see, with angle brackets; None when it is the letter's own, as far as is known.

    Only replies of known meaning count: many servers name an id of their own queue.
    """
    if provider.name == "ses":
        return _of_ses(reply, smtp_host)
    if provider.keeps_message_id and not _EXCHANGE.search(reply.text):
        return None
    found = _MESSAGE_ID.search(reply.text)
    return found[0] if found and found[0] != own and len(found[0]) <= _MAX_CHARS else None


def _of_ses(reply: Reply, smtp_host: str) -> str | None:
    """SES reports the part before the @; the domain is the region's (docs.aws.amazon.com/ses, header fields)."""
    found = _SES_ID.fullmatch(reply.text.strip())
    host = _SES_HOST.fullmatch(smtp_host.strip().lower().rstrip("."))
    if found is None or host is None:
        return None
    region = "email" if host[1] == _SES_FIRST_REGION else host[1]
    return f"<{found[1]}@{region}.amazonses.com>"
