"""What a failure means: its reason, its scope, and the action that follows.

Facts count in this order of trust: the phase, the code, the enhanced code, the provider, the text. A 5xx alone does
not mean permanent and a 4xx alone does not mean brief, so rules for a provider's wording come first, then rules for
enhanced codes (RFC 3463, RFC 5248), and an unrecognised reply falls back to its first digit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from worker.domain.failure.judgements import Judgement, Remedy, fail, retry, suspend
from worker.domain.failure.replies import evidence
from worker.domain.failure.rules import RULES
from worker.domain.failure.rules.limits import SESSION_LIMIT
from worker.domain.failure.stated_pause import stated_pause_s
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Action, Phase, Reason, Scope


@dataclass(frozen=True, slots=True)
class Fallback:
    """Judgements by the first digit of a code (RFC 5321 section 4.3.2)."""

    temporary: Judgement
    permanent: Judgement


# A server that refuses to talk now may talk in an hour: no letter is lost for a 554 greeting.
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
        # The letter has already had its answer.
        Phase.QUIT: Fallback(
            retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
            retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
        ),
    }
)

FAULTS: Mapping[FailureKind, Judgement] = MappingProxyType(
    {
        FailureKind.REPLY: retry(Reason.TEMPORARILY_UNAVAILABLE),
        FailureKind.DNS: retry(Reason.DNS_FAILED, Scope.MAILBOX),
        FailureKind.CONNECT: retry(Reason.CONNECT_FAILED, Scope.MAILBOX),
        FailureKind.EGRESS: fail(Reason.EGRESS_DENIED, Scope.MAILBOX),
        FailureKind.TLS: retry(Reason.TLS_FAILED, Scope.MAILBOX),
        FailureKind.TIMEOUT: retry(Reason.TIMEOUT, Scope.MAILBOX),
        FailureKind.DISCONNECTED: retry(Reason.DISCONNECTED, Scope.MAILBOX),
        FailureKind.TOO_LARGE: fail(Reason.MESSAGE_TOO_LARGE),
        FailureKind.NO_FOLDER: fail(Reason.SENT_FOLDER_MISSING, Scope.MAILBOX),
        FailureKind.NO_SMTPUTF8: fail(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT, Remedy.ADDRESS),
        FailureKind.NO_AUTH_MECHANISM: suspend(Reason.AUTH_FAILED, Remedy.MECHANISM),
        FailureKind.ONLY_TOKENS: suspend(Reason.AUTH_BASIC_DISABLED),
        FailureKind.SECRET: suspend(Reason.AUTH_FAILED),
        FailureKind.TOKEN_REFUSED: suspend(Reason.AUTH_TOKEN_REVOKED),
        FailureKind.PROTOCOL: retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
    }
)


PLATFORM = "platform"
"""The provider's name for letters that leave through the platform's own relay."""

_MAX_TEXT = 1_000  # of the server's words; more adds no information

# RFC 4954 section 4 has 504; others call the command unknown, and Naver answers 553.
_MECHANISM_CODES = frozenset({500, 501, 502, 504, 553})
_TOO_WEAK = 534

# Servers without RFC 2034 put the code into the text, like qmail's "(#5.1.1)".
_EMBEDDED = re.compile(r"#([245]\.\d{1,3}\.\d{1,3})\b")


@dataclass(frozen=True, slots=True)
class Classification:
    """A classified failure; `pause_s` is the mailbox's cooldown, in seconds, when the action is to pause."""

    reason: Reason
    scope: Scope
    action: Action
    pause_s: int | None = None
    remedy: Remedy | None = None


UNCERTAIN = Classification(Reason.OUTCOME_UNKNOWN, Scope.MESSAGE, Action.UNCERTAIN)
"""The one failure after the final dot: whatever its cause, it says nothing about the letter."""


def classify(trouble: DeliveryFailure, provider: str, now: datetime | None = None) -> Classification:
    """Classify a trouble.

    Args:
        trouble: what happened.
        provider: a provider's name (see `providers`), or `PLATFORM`.
        now: needed to turn a reply that names a moment to wait for into a duration.
    """
    reply = trouble.reply
    # Any other code where it makes no sense is a protocol error, and its words mean nothing.
    if reply is None or trouble.fault is not FailureKind.REPLY or not 400 <= reply.code <= 599:
        fault = FailureKind.PROTOCOL if trouble.fault is FailureKind.REPLY and reply is not None else trouble.fault
        return _classification(FAULTS[fault], "", provider, now)
    seen = _evident(reply)
    judgement = next((rule.judgement for rule in RULES if rule.applies(trouble.phase, seen, provider)), None)
    return _classification(judgement or _fallback(trouble.phase, seen), seen.text, provider, now)


def is_session_limit(reply: Reply) -> bool:
    """True when the server limits the letters per connection, and this connection has reached the limit."""
    return SESSION_LIMIT.applies(Phase.MAIL, _evident(reply), "")


def refuses_mechanism(reply: Reply) -> bool:
    """True when AUTH was refused because of the mechanism, so that another one may be tried with the same password.

    Never when the reply may be about the password (535, X.7.8), nor when its words say something else.
    """
    if reply.code not in _MECHANISM_CODES or reply.enhanced in ("5.7.8", "5.7.9"):
        return reply.code == _TOO_WEAK and "mechanism" in evidence(reply.text).lower()
    return classify(DeliveryFailure(Phase.AUTH, FailureKind.REPLY, reply), "").reason is Reason.AUTH_FAILED


def _evident(reply: Reply) -> Reply:
    text = evidence(reply.text[:_MAX_TEXT])
    return Reply(reply.code, reply.enhanced or _embedded(reply.code, text), text)


def _embedded(code: int, text: str) -> str | None:
    found = _EMBEDDED.search(text)
    return found[1] if found and found[1][0] == str(code)[0] else None


def _fallback(phase: Phase, reply: Reply) -> Judgement:
    fallback = FALLBACKS[phase]
    return fallback.temporary if reply.code < 500 else fallback.permanent


def _classification(judgement: Judgement, words: str, provider: str, now: datetime | None) -> Classification:
    scope = judgement.scope
    if provider == PLATFORM and scope is Scope.MAILBOX:
        scope = Scope.PLATFORM  # involves no customer's mailbox, and no customer can correct it
    pause_s = judgement.pause_s
    if judgement.action is Action.PAUSE:
        pause_s = stated_pause_s(words, now) or pause_s
    return Classification(judgement.reason, scope, judgement.action, pause_s, judgement.remedy)
