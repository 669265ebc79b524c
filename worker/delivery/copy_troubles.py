"""What trouble with a copy means."""

from worker.domain.classification import Classification
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import Action, Phase, Reason, Scope

_PASSING_CODES = ("[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]")


def classify_copy(trouble: Trouble) -> Classification:
    """What a failed copy means; IMAP has no reply codes, so the server's own words are in the detail (RFC 5530).

    A refused sign-in is not repeated: providers lock mailboxes for that.
    """
    words = trouble.detail.upper()
    if "[OVERQUOTA]" in words:
        return Classification(Reason.MAILBOX_FULL, Scope.MAILBOX, Action.FAIL)
    if trouble.fault is Fault.TOKEN_REFUSED:
        return Classification(Reason.AUTH_TOKEN_REVOKED, Scope.MAILBOX, Action.FAIL)
    is_refused = trouble.fault in (Fault.REPLY, Fault.SECRET, Fault.NO_AUTH_MECHANISM)
    if trouble.phase is Phase.AUTH and is_refused and not any(code in words for code in _PASSING_CODES):
        return Classification(Reason.AUTH_FAILED, Scope.MAILBOX, Action.FAIL)
    reason = _REASONS.get(trouble.fault, Reason.TEMPORARILY_UNAVAILABLE)
    is_permanent = trouble.fault in (Fault.TOO_LARGE, Fault.EGRESS)
    return Classification(reason, Scope.MAILBOX, Action.FAIL if is_permanent else Action.RETRY)


_REASONS = {
    Fault.DNS: Reason.DNS_FAILED,
    Fault.CONNECT: Reason.CONNECT_FAILED,
    Fault.EGRESS: Reason.EGRESS_DENIED,
    Fault.TLS: Reason.TLS_FAILED,
    Fault.TIMEOUT: Reason.TIMEOUT,
    Fault.DISCONNECTED: Reason.DISCONNECTED,
    Fault.TOO_LARGE: Reason.MESSAGE_TOO_LARGE,
}
