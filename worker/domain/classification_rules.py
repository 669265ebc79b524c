"""The rules of `classification`, as data: the first that applies counts, so the order within the table matters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from worker.domain.transmission import Fault
from worker.domain.vocabulary import Action, Phase, Reason, Scope

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a failure means; `pause_s` in seconds, for the action `pause`."""

    reason: Reason
    scope: Scope
    action: Action
    pause_s: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A judgement and when it applies: an empty condition always does, `text` is searched, `enhanced` must match."""

    judgement: Judgement
    phases: frozenset[Phase] = frozenset()
    codes: frozenset[int] = frozenset()
    providers: frozenset[str] = frozenset()
    enhanced: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None


def _rule(
    judgement: Judgement,
    *,
    phases: tuple[Phase, ...] = (),
    codes: tuple[int, ...] = (),
    providers: tuple[str, ...] = (),
    enhanced: str | None = None,
    text: str | None = None,
) -> Rule:
    return Rule(
        judgement,
        frozenset(phases),
        frozenset(codes),
        frozenset(providers),
        re.compile(enhanced) if enhanced else None,
        re.compile(text, re.IGNORECASE) if text else None,
    )


def _suspend(reason: Reason) -> Judgement:
    return Judgement(reason, Scope.MAILBOX, Action.SUSPEND)


def _pause(reason: Reason, pause_s: int) -> Judgement:
    return Judgement(reason, Scope.MAILBOX, Action.PAUSE, pause_s)


def _fail(reason: Reason, scope: Scope = Scope.MESSAGE) -> Judgement:
    return Judgement(reason, scope, Action.FAIL)


def _retry(reason: Reason, scope: Scope = Scope.MESSAGE) -> Judgement:
    return Judgement(reason, scope, Action.RETRY)


_SPAM_WORDS = r"\bspam\b|\bunsolicited\b|\bblack-?list|\bblock-?list|\bdnsbl\b|\bjunk\b"
_WHOM = r"(?:user|recipient|mailbox|address)"
_TOO_FAST = r"rate limit|\btoo (?:fast|many (?:messages|mails|emails|requests))\b|throttl|slow down|ratelimit"
_BEFORE_CONTENT = (Phase.MAIL, Phase.RCPT, Phase.DATA)

RULES: tuple[Rule, ...] = (
    # Signing in. Yandex answers a sign-in with 535 although it is the letter (or the mailbox) that it dislikes.
    _rule(_pause(Reason.MESSAGE_REJECTED_SPAM, _DAY), phases=(Phase.AUTH,), codes=(535,), text=_SPAM_WORDS),
    _rule(_suspend(Reason.AUTH_BASIC_DISABLED), codes=(535,), enhanced=r"5\.7\.139"),
    _rule(_suspend(Reason.AUTH_BASIC_DISABLED), codes=(550,), enhanced=r"5\.7\.30"),
    _rule(
        _suspend(Reason.AUTH_BASIC_DISABLED),
        phases=(Phase.AUTH,),
        text=r"basic auth\w* is (?:disabled|not supported)|smtpclientauthentication is disabled",
    ),
    _rule(
        _suspend(Reason.AUTH_APP_PASSWORD_REQUIRED),
        phases=(Phase.AUTH,),
        text=r"application[- ]specific password|app(?:lication)?[- ]?password|parol prilozheniya",
    ),
    _rule(
        _suspend(Reason.AUTH_CONFIRMATION_REQUIRED),
        phases=(Phase.AUTH,),
        text=r"verify your account|web ?browser|web login required|confirm your (?:account|identity)",
    ),
    _rule(_suspend(Reason.AUTH_CONFIRMATION_REQUIRED), codes=(534,), enhanced=r"5\.7\.14"),
    _rule(_suspend(Reason.AUTH_APP_PASSWORD_REQUIRED), codes=(534,), enhanced=r"5\.7\.9", providers=("gmail",)),
    _rule(
        _suspend(Reason.MAILBOX_BLOCKED),
        phases=(Phase.AUTH, Phase.MAIL),
        text=r"(?:account|mailbox|user|sender) (?:is |has been |was )?(?:blocked|disabled|suspended|locked)",
    ),
    _rule(_pause(Reason.TOO_MANY_CONNECTIONS, 15 * _MINUTE), codes=(454,), text=r"too many login"),
    _rule(_pause(Reason.RATE_LIMITED, 15 * _MINUTE), phases=(Phase.AUTH,), text=r"too many (?:login|auth|failed)"),
    _rule(_retry(Reason.TEMPORARILY_UNAVAILABLE), phases=(Phase.AUTH,), codes=(421, 432, 451, 454)),
    # Who may send as whom.
    _rule(
        _suspend(Reason.SENDER_NOT_OWNED),
        text=r"not owned by (?:auth )?user|send ?as (?:denied|permission)|sendasdenied"
        r"|sender address (?:must|should) (?:match|be)|not allowed to send (?:as|from)"
        r"|authenticat\w+ user.{0,40}not match",
    ),
    _rule(_suspend(Reason.SENDER_NOT_OWNED), codes=(550,), enhanced=r"5\.7\.60"),
    _rule(_suspend(Reason.SENDER_NOT_OWNED), codes=(554,), enhanced=r"5\.2\.252"),
    # Authentication of the sender's domain.
    _rule(
        _fail(Reason.SENDER_DOMAIN_UNAUTHENTICATED),
        phases=_BEFORE_CONTENT,
        codes=(550, 552, 553, 554),
        enhanced=r"5\.7\.(?:20|21|22|23|24|25|26|27)",
    ),
    _rule(
        _fail(Reason.SENDER_DOMAIN_UNAUTHENTICATED),
        phases=_BEFORE_CONTENT,
        codes=(550, 552, 553, 554),
        text=r"\b(?:spf|dkim|dmarc)\b|unauthenticated (?:mail|email|sender)",
    ),
    # Quotas and rates.
    _rule(
        _pause(Reason.QUOTA_EXCEEDED, _DAY),
        text=r"daily .{0,30}(?:quota|limit)|(?:quota|limit) .{0,30}(?:per|a) day"
        r"|sending (?:quota|limit) .{0,20}exceeded|recipient(?:s)? ?(?:rate|daily)? ?limit ?exceeded"
        r"|submission ?quota ?exceeded",
    ),
    _rule(_pause(Reason.QUOTA_EXCEEDED, _DAY), codes=(550, 454), enhanced=r"[45]\.4\.5", providers=("gmail",)),
    _rule(_pause(Reason.QUOTA_EXCEEDED, _DAY), codes=(550,), enhanced=r"5\.1\.90|5\.7\.233"),
    _rule(
        _pause(Reason.QUOTA_EXCEEDED, _DAY), codes=(554,), enhanced=r"5\.2\.0", providers=("exchange_online", "outlook")
    ),
    _rule(_pause(Reason.RATE_LIMITED, 5 * _MINUTE), codes=(421,), enhanced=r"4\.7\.\d+", providers=("gmail",)),
    _rule(_pause(Reason.TOO_MANY_CONNECTIONS, 2 * _MINUTE), codes=(432,)),
    _rule(
        _pause(Reason.TOO_MANY_CONNECTIONS, 2 * _MINUTE),
        text=r"too many (?:concurrent |simultaneous )?(?:connection|session)s?|concurrent connections? limit",
    ),
    _rule(
        _pause(Reason.RATE_LIMITED, 5 * _MINUTE),
        phases=(Phase.CONNECT, Phase.GREETING, Phase.MAIL),
        text=_TOO_FAST,
    ),
    _rule(
        _pause(Reason.RATE_LIMITED, 5 * _MINUTE),
        codes=(421, 450, 451, 452),
        text=_TOO_FAST,
    ),
    # Mailboxes, ours and theirs.
    _rule(
        _suspend(Reason.MAILBOX_FULL),
        codes=(554,),
        enhanced=r"5\.2\.2",
        providers=("exchange_online", "outlook"),
    ),
    _rule(
        _retry(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT),
        phases=(Phase.RCPT,),
        codes=(450, 451, 452),
        enhanced=r"4\.2\.2",
    ),
    _rule(
        _fail(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT),
        phases=(Phase.RCPT, Phase.DATA),
        codes=(550, 552, 554),
        enhanced=r"5\.2\.2",
    ),
    _rule(
        _retry(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT),
        phases=(Phase.RCPT,),
        codes=(450, 451, 452),
        text=r"over ?quota|mailbox (?:is )?full|quota exceeded",
    ),
    _rule(
        _fail(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT),
        phases=(Phase.RCPT,),
        codes=(550, 552, 554),
        text=r"over ?quota|mailbox (?:is )?full|quota exceeded",
    ),
    _rule(_retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.RECIPIENT), phases=(Phase.RCPT,), enhanced=r"4\.5\.3"),
    # Size.
    _rule(_fail(Reason.MESSAGE_TOO_LARGE), codes=(552, 554, 523), enhanced=r"5\.3\.4|5\.2\.3"),
    _rule(
        _fail(Reason.MESSAGE_TOO_LARGE),
        phases=(Phase.MAIL, Phase.DATA),
        codes=(552, 554),
        text=r"too (?:large|big)|size (?:limit|exceed)|exceeds? .{0,40}size|maximum .{0,20}size",
    ),
    # Spam.
    _rule(
        _pause(Reason.MESSAGE_REJECTED_SPAM, _DAY),
        phases=_BEFORE_CONTENT,
        codes=(554,),
        providers=("yandex",),
        text=_SPAM_WORDS,
    ),
    _rule(_fail(Reason.MESSAGE_REJECTED_SPAM), phases=_BEFORE_CONTENT, codes=(550, 552, 553, 554), text=_SPAM_WORDS),
    # Recipients.
    _rule(
        _fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT),
        phases=(Phase.RCPT, Phase.DATA),
        codes=(550, 551, 553, 554),
        enhanced=r"5\.1\.(?:0|1|2|3|6|10)",
    ),
    _rule(
        _fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT),
        phases=(Phase.RCPT,),
        codes=(550, 551, 553, 554),
        text=rf"{_WHOM} (?:is )?(?:unknown|not found|not exist|does ?n[o']t exist|unavailable)"
        rf"|no such {_WHOM}|unknown {_WHOM}|invalid {_WHOM}",
    ),
    # Later.
    _rule(
        _retry(Reason.GREYLISTED, Scope.RECIPIENT),
        phases=(Phase.MAIL, Phase.RCPT, Phase.DATA),
        codes=(421, 450, 451, 452),
        text=r"gr[ea]y-?list",
    ),
    _rule(_suspend(Reason.AUTH_FAILED), phases=(Phase.AUTH,), codes=(534, 535, 538, 530)),
    _rule(_suspend(Reason.AUTH_FAILED), phases=(Phase.MAIL,), codes=(530,)),
)

FALLBACKS: Mapping[Phase, tuple[Judgement, Judgement]] = {
    # phase: (below 500, 500 and above)
    Phase.CONNECT: (
        _retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
        _retry(Reason.CONNECT_FAILED, Scope.MAILBOX),
    ),
    Phase.GREETING: (
        _retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
        _retry(Reason.CONNECT_FAILED, Scope.MAILBOX),
    ),
    Phase.TLS: (_retry(Reason.TLS_FAILED, Scope.MAILBOX), _retry(Reason.TLS_FAILED, Scope.MAILBOX)),
    Phase.AUTH: (_retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX), _suspend(Reason.AUTH_FAILED)),
    Phase.MAIL: (_retry(Reason.TEMPORARILY_UNAVAILABLE), _fail(Reason.MESSAGE_REJECTED)),
    Phase.RCPT: (
        _retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.RECIPIENT),
        _fail(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT),
    ),
    Phase.DATA: (_retry(Reason.TEMPORARILY_UNAVAILABLE), _fail(Reason.MESSAGE_REJECTED)),
    Phase.QUIT: (_retry(Reason.TEMPORARILY_UNAVAILABLE), _retry(Reason.TEMPORARILY_UNAVAILABLE)),
}

FAULTS: Mapping[Fault, Judgement] = {
    Fault.REPLY: _retry(Reason.TEMPORARILY_UNAVAILABLE),
    Fault.DNS: _retry(Reason.DNS_FAILED, Scope.MAILBOX),
    Fault.CONNECT: _retry(Reason.CONNECT_FAILED, Scope.MAILBOX),
    Fault.EGRESS: _fail(Reason.EGRESS_DENIED, Scope.MAILBOX),
    Fault.TLS: _retry(Reason.TLS_FAILED, Scope.MAILBOX),
    Fault.TIMEOUT: _retry(Reason.TIMEOUT, Scope.MAILBOX),
    Fault.DISCONNECTED: _retry(Reason.DISCONNECTED, Scope.MAILBOX),
    Fault.TOO_LARGE: _fail(Reason.MESSAGE_TOO_LARGE),
    Fault.NO_SMTPUTF8: _fail(Reason.RECIPIENT_REFUSED),
    Fault.NO_AUTH_MECHANISM: _suspend(Reason.AUTH_FAILED),
    Fault.SECRET: _suspend(Reason.AUTH_FAILED),
    Fault.TOKEN_REFUSED: _suspend(Reason.AUTH_TOKEN_REVOKED),
    Fault.PROTOCOL: _retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX),
}
