"""What trouble with a copy means."""

from worker.domain.classification import Classification
from worker.domain.copy_refusals import judge_refusal
from worker.domain.judgements import Judgement, fail, retry
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import Reason, Scope


def classify_copy(trouble: Trouble) -> Classification:
    """What a failed copy means; IMAP has no reply codes, so the server's own words are in the detail.

    A refused sign-in is not repeated: providers lock mailboxes for that.
    """
    judged = _judged(trouble)
    return Classification(judged.reason, Scope.MAILBOX, judged.action)


def _judged(trouble: Trouble) -> Judgement:
    if trouble.fault is Fault.REPLY:
        return judge_refusal(trouble.phase, trouble.detail)
    return _FAULTS.get(trouble.fault, retry(Reason.TEMPORARILY_UNAVAILABLE))


_FAULTS = {
    Fault.DNS: retry(Reason.DNS_FAILED),
    Fault.CONNECT: retry(Reason.CONNECT_FAILED),
    Fault.EGRESS: fail(Reason.EGRESS_DENIED),
    Fault.TLS: retry(Reason.TLS_FAILED),
    Fault.TIMEOUT: retry(Reason.TIMEOUT),
    Fault.DISCONNECTED: retry(Reason.DISCONNECTED),
    Fault.TOO_LARGE: fail(Reason.MESSAGE_TOO_LARGE),
    Fault.NO_FOLDER: fail(Reason.SENT_FOLDER_MISSING),
    Fault.SECRET: fail(Reason.AUTH_FAILED),
    Fault.NO_AUTH_MECHANISM: fail(Reason.AUTH_BASIC_DISABLED),
    Fault.TOKEN_REFUSED: fail(Reason.AUTH_TOKEN_REVOKED),
}
