"""What a failure means that no rule knows: by the reply's first digit, or by what went wrong without a reply."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from worker.domain.judgements import Judgement, Remedy, fail, retry, suspend
from worker.domain.transmission import Fault
from worker.domain.vocabulary import Phase, Reason, Scope


@dataclass(frozen=True, slots=True)
class Fallback:
    """Judgements by the first digit of a code (RFC 5321 section 4.3.2)."""

    temporary: Judgement
    permanent: Judgement


# Whom the server does not want to talk to now, it may want to talk to in an hour: no letter is lost for a 554 greeting.
_ENTRANCE = Fallback(
    retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
    retry(Reason.CONNECT_FAILED, Scope.MAILBOX),
)
_LETTER = Fallback(retry(Reason.TEMPORARILY_UNAVAILABLE), fail(Reason.MESSAGE_REJECTED))

FALLBACKS: Mapping[Phase, Fallback] = MappingProxyType(
    {
        Phase.CONNECT: _ENTRANCE,
        Phase.GREETING: _ENTRANCE,
        Phase.TLS: Fallback(retry(Reason.TLS_FAILED, Scope.MAILBOX), retry(Reason.TLS_FAILED, Scope.MAILBOX)),
        Phase.AUTH: Fallback(retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX), suspend(Reason.AUTH_FAILED)),
        Phase.MAIL: _LETTER,
        Phase.RCPT: Fallback(
            retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.RECIPIENT),
            fail(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT),
        ),
        Phase.DATA: _LETTER,
        # The letter has had its answer already.
        Phase.QUIT: Fallback(
            retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
            retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
        ),
    }
)

FAULTS: Mapping[Fault, Judgement] = MappingProxyType(
    {
        Fault.REPLY: retry(Reason.TEMPORARILY_UNAVAILABLE),
        Fault.DNS: retry(Reason.DNS_FAILED, Scope.MAILBOX),
        Fault.CONNECT: retry(Reason.CONNECT_FAILED, Scope.MAILBOX),
        Fault.EGRESS: fail(Reason.EGRESS_DENIED, Scope.MAILBOX),
        Fault.TLS: retry(Reason.TLS_FAILED, Scope.MAILBOX),
        Fault.TIMEOUT: retry(Reason.TIMEOUT, Scope.MAILBOX),
        Fault.DISCONNECTED: retry(Reason.DISCONNECTED, Scope.MAILBOX),
        Fault.TOO_LARGE: fail(Reason.MESSAGE_TOO_LARGE),
        Fault.NO_FOLDER: fail(Reason.SENT_FOLDER_MISSING, Scope.MAILBOX),
        Fault.NO_SMTPUTF8: fail(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT, Remedy.ADDRESS),
        Fault.NO_AUTH_MECHANISM: suspend(Reason.AUTH_FAILED, Remedy.MECHANISM),
        Fault.ONLY_TOKENS: suspend(Reason.AUTH_BASIC_DISABLED),
        Fault.SECRET: suspend(Reason.AUTH_FAILED),
        Fault.TOKEN_REFUSED: suspend(Reason.AUTH_TOKEN_REVOKED),
        Fault.PROTOCOL: retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
    }
)
