"""The rules of `classification`, as data: the first that applies counts, so the order within the table matters.

Conditions are phases, the code or its first digit, the enhanced code, providers, and words. Words of providers change
and are matched loosely; every pattern has only bounded repetition, as the text is the server's to choose.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from worker.domain.judgements import DAY, HOUR, MINUTE, Judgement, fail, pause, retry, suspend
from worker.domain.vocabulary import Phase, Reason, Scope


@dataclass(frozen=True, slots=True)
class Rule:
    """A judgement and when it applies: an empty condition always does, `text` is searched, `enhanced` must match.

    `codes` are whole codes or first digits: a server may choose codes that no RFC has (RFC 5321 section 4.3.2).
    """

    judgement: Judgement
    phases: frozenset[Phase]
    codes: frozenset[int]
    providers: frozenset[str]
    enhanced: re.Pattern[str] | None
    text: re.Pattern[str] | None


def _rule(
    judgement: Judgement,
    *codes: int,
    phases: Iterable[Phase] = (),
    providers: Iterable[str] = (),
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


_ENTRANCE = (Phase.CONNECT, Phase.GREETING)
_AUTH = (Phase.AUTH,)
_RCPT = (Phase.RCPT,)
_LETTER = (Phase.MAIL, Phase.RCPT, Phase.DATA)
_MICROSOFT = ("exchange_online", "outlook")
_SERVICES = (
    "mailgun",
    "sparkpost",
    "sendpulse",
    "sendgrid",
    "ses",
    "postmark",
    "brevo",
    "mailjet",
    "mandrill",
    "unisender",
)

_SPAM_WORDS = (
    r"\bspam\b|\bunsolicited\b|\bblack[- ]?list|\bblock[- ]?list|\bdnsbl\b|\brbl\b|\bjunk\b|spamhaus|blocked using"
    r"|possible abuse|\bDT:SPM\b"
)
_WHOM = r"(?:user|recipient|mailbox|address|account)"
_TOO_FAST = (
    r"rate.?limit|rate overlimit|\btoo (?:fast|quickly)\b|throttl|slow down|(?:temporarily|permanently) deferred"
    r"|sending rate"
    r"|\btoo (?:many|much) (?:messages|mails?|emails|letters|requests)\b|unusual rate"
)
_OVER_QUOTA = r"over ?quota|mailbox (?:is )?full|quota exceeded|exceeded storage|mailbox size limit"

_SIGNING_IN = (
    _rule(
        suspend(Reason.AUTH_FAILED), 535, enhanced=r"5\.7\.139", text=r"credentials were incorrect|invalid credentials"
    ),
    _rule(suspend(Reason.AUTH_BASIC_DISABLED), 535, enhanced=r"5\.7\.139"),
    _rule(suspend(Reason.AUTH_BASIC_DISABLED), 550, enhanced=r"5\.7\.30", providers=_MICROSOFT),
    _rule(
        suspend(Reason.AUTH_BASIC_DISABLED),
        5,
        text=r"basic auth\w* is (?:disabled|not supported)|smtpclientauthentication is disabled",
    ),
    _rule(
        suspend(Reason.AUTH_APP_PASSWORD_REQUIRED),
        phases=_AUTH,
        text=r"app(?:lication)?[- ]specific password|app(?:lication)?[- ]?password|parol prilozheniya",
    ),
    _rule(
        suspend(Reason.AUTH_CONFIRMATION_REQUIRED),
        phases=_AUTH,
        text=r"verify your account|web ?browser|web ?login ?required|confirm your (?:account|identity)|accept eula",
    ),
    _rule(suspend(Reason.AUTH_CONFIRMATION_REQUIRED), 534, enhanced=r"5\.7\.14"),
    _rule(suspend(Reason.AUTH_APP_PASSWORD_REQUIRED), 534, enhanced=r"5\.7\.9", providers=("gmail",)),
    # Yandex answers a sign-in with 535 although it is the letters, and with them the mailbox, that it dislikes.
    _rule(
        pause(Reason.MESSAGE_REJECTED_SPAM, DAY),
        535,
        phases=_AUTH,
        text=r"message looks like spam|suspicion of spam|suspected spam",
    ),
    _rule(
        suspend(Reason.MAILBOX_BLOCKED),
        5,
        phases=(Phase.AUTH, Phase.MAIL),
        text=r"(?:account|mailbox|user|sender)(?: address)? (?:is |has been |was )?(?:temporarily )?"
        r"(?:blocked|disabled|suspended|locked)",
    ),
    _rule(pause(Reason.QUOTA_EXCEEDED, HOUR), phases=_AUTH, text=r"credits exceeded"),
    _rule(pause(Reason.TOO_MANY_CONNECTIONS, 15 * MINUTE), 421, 454, text=r"too many (?:concurrent )?(?:login|auth)"),
    _rule(
        pause(Reason.RATE_LIMITED, 15 * MINUTE),
        phases=_AUTH,
        text=r"too many (?:bad |failed |invalid )?(?:login|auth|failed|attempts|times)|authenticate too many",
    ),
    # A group or a person that takes letters from insiders only: it is not our sign-in that is missed.
    _rule(
        fail(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT),
        5,
        phases=(Phase.RCPT, Phase.DATA),
        providers=_MICROSOFT,
        enhanced=r"5\.7\.(?:12|124|13[3-6])",
    ),
    # Passwords are not wanted in plain text, so no sign-in came about.
    _rule(suspend(Reason.TLS_FAILED), 530, 538, text=r"\bstarttls\b|encryption required|\btls\b.{0,20}\bfirst\b"),
    _rule(
        suspend(Reason.AUTH_FAILED),
        5,
        phases=_LETTER,
        text=r"auth\w* (?:is )?required|not (?:logged in|authenticated)|authenticate first"
        r"|unauthenticated senders? not allowed|turn on smtp auth|mail relay denied.{0,30}invalid credentials",
    ),
    _rule(suspend(Reason.AUTH_FAILED), 530, phases=_LETTER),
)

_SENDER = (
    _rule(
        suspend(Reason.SENDER_NOT_OWNED),
        5,
        text=r"not owned by|send ?as ?(?:denied|permission)|permissions? to send as|not one of your addresses"
        r"|sender address (?:must|should) (?:match|be)|not allowed to send (?:as|from)\b"
        r"|not authorized to (?:perform|send)"
        r"|authenticat\w+ user.{0,40}not match|relaying disallowed as|sender (?:identity|signature)"
        r"|address (?:is )?not verified|user.{0,40}is not the owner|not local sender over smtp|sender mismatch"
        r"|must (?:equal|be same as) authori|validate your sender",
    ),
    _rule(suspend(Reason.SENDER_NOT_OWNED), 550, enhanced=r"5\.7\.60"),
    _rule(suspend(Reason.SENDER_NOT_OWNED), 554, enhanced=r"5\.2\.252"),
    _rule(suspend(Reason.MAILBOX_BLOCKED), 550, 554, enhanced=r"5\.1\.8", providers=(*_MICROSOFT, "zoho")),
    _rule(suspend(Reason.MAILBOX_BLOCKED), 550, enhanced=r"5\.7\.(?:50[1-4]|705|708|750)", providers=_MICROSOFT),
    _rule(
        suspend(Reason.MAILBOX_BLOCKED),
        5,
        text=r"unusual sending activity|outboundspamexception|sending (?:paused|suspended|blocked)|outgoing blocked"
        r"|account.{0,40}(?:pending approval|not yet activated|is not active)|sender account (?:is )?locked"
        r"|accountdisabledexception",
    ),
    _rule(
        suspend(Reason.MAILBOX_BLOCKED),
        5,
        phases=_LETTER,
        providers=_SERVICES,
        text=r"account (?:is |has been )?(?:suspended|disabled|blocked|locked)",
    ),
    _rule(
        fail(Reason.SENDER_DOMAIN_UNAUTHENTICATED),
        5,
        phases=_LETTER,
        enhanced=r"5\.7\.(?:20|21|22|23|24|25|26|27|509|515)",
    ),
    _rule(
        fail(Reason.SENDER_DOMAIN_UNAUTHENTICATED),
        5,
        phases=_LETTER,
        text=r"\b(?:spf|dkim|dmarc)\b|unauthenticated (?:mail|email|sender)|sender is unauthenticated"
        r"|unconfigured sending domain|domain (?:\S{1,253} )?is unverified|not from an authorized domain",
    ),
    _rule(fail(Reason.MESSAGE_REJECTED), 5, phases=_LETTER, text=r"sender verif(?:y|ication) failed"),
    # The sender's address itself, not a recipient's, whatever command the server waited for.
    _rule(fail(Reason.MESSAGE_REJECTED), 5, phases=_LETTER, enhanced=r"5\.1\.[78]"),
)

_QUOTAS_AND_RATES = (
    # Theirs: the recipient gets more than their server takes.
    _rule(
        retry(Reason.RATE_LIMITED, Scope.RECIPIENT),
        4,
        phases=_RCPT,
        text=r"receiving mail (?:at a rate|too)|recipient.{0,100}exceeded.{0,40}rate",
    ),
    # Ours.
    _rule(
        pause(Reason.QUOTA_EXCEEDED, HOUR),
        text=r"(?:per|an) hour.{0,20}exceeded|exceeded.{0,40}(?:per hour|hour limit)|hourly.{0,20}(?:limit|quota)",
    ),
    _rule(
        pause(Reason.QUOTA_EXCEEDED, DAY),
        text=r"daily .{0,30}(?:quota|limit)|(?:quota|limit) .{0,30}(?:per|a) day"
        r"|sending (?:quota|limit) .{0,20}exceeded"
        r"|exceed\w* (?:its |your |the )?(?:daily |message |outgoing )?sending (?:quota|limit)"
        r"|recipients? ?(?:rate|daily)? ?limit ?exceeded|submission ?quota ?exceeded|\brefusequota\b"
        r"|exceeded your messaging limits",
    ),
    _rule(pause(Reason.QUOTA_EXCEEDED, DAY), 550, 454, enhanced=r"[45]\.4\.5", providers=("gmail",)),
    _rule(
        pause(Reason.QUOTA_EXCEEDED, DAY), 550, enhanced=r"5\.7\.1", providers=("gmail",), text=r"^email quota exceeded"
    ),
    _rule(suspend(Reason.MAILBOX_FULL), 554, providers=_MICROSOFT, text=r"shutoffquotaexceeded"),
    _rule(pause(Reason.QUOTA_EXCEEDED, DAY), 550, enhanced=r"5\.1\.90|5\.7\.23[23]"),
    _rule(pause(Reason.QUOTA_EXCEEDED, DAY), 554, enhanced=r"5\.2\.0", providers=_MICROSOFT),
    _rule(pause(Reason.RATE_LIMITED, 5 * MINUTE), 421, enhanced=r"4\.7\.\d+", providers=("gmail",)),
    _rule(pause(Reason.TOO_MANY_CONNECTIONS, 2 * MINUTE), 432),
    _rule(
        pause(Reason.TOO_MANY_CONNECTIONS, 2 * MINUTE),
        text=r"too many (?:open |concurrent |simultaneous |smtp ){0,3}(?:connection|session)s?"
        r"|concurrent.{0,20}connections?.{0,20}(?:limit|exceed)|connections? limit",
    ),
    _rule(pause(Reason.RATE_LIMITED, 5 * MINUTE), 4, text=_TOO_FAST),
    _rule(pause(Reason.RATE_LIMITED, 5 * MINUTE), 5, phases=(*_ENTRANCE, Phase.MAIL), text=_TOO_FAST),
)

_MAILBOXES = (
    _rule(suspend(Reason.MAILBOX_FULL), 554, enhanced=r"5\.2\.2", providers=_MICROSOFT),
    _rule(retry(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 4, phases=_RCPT, enhanced=r"4\.2\.2"),
    _rule(
        fail(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 5, phases=(Phase.RCPT, Phase.DATA), enhanced=r"5\.2\.2"
    ),
    _rule(retry(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 4, phases=_RCPT, text=_OVER_QUOTA),
    _rule(fail(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 5, phases=_RCPT, text=_OVER_QUOTA),
    # Those beyond a server's limit are taken in another transaction (RFC 5321 section 4.5.3.1.10).
    _rule(retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.RECIPIENT), phases=_RCPT, enhanced=r"[45]\.5\.3"),
    _rule(retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.RECIPIENT), phases=_RCPT, text=r"too many recipients"),
)

_SIZE_AND_SPAM = (
    _rule(fail(Reason.MESSAGE_TOO_LARGE), 5, phases=_LETTER, enhanced=r"5\.3\.4|5\.2\.3"),
    _rule(
        fail(Reason.MESSAGE_TOO_LARGE),
        5,
        phases=(Phase.MAIL, Phase.DATA),
        text=r"too (?:large|big)|size (?:limit|exceed)|exceed\w* .{0,40}\bsize|maximum .{0,20}size|databytes limit",
    ),
    _rule(fail(Reason.MESSAGE_REJECTED), 5, phases=_LETTER, providers=("yandex",), text=r"rejected for policy reasons"),
    # A block of about a day follows; each further attempt lengthens it.
    _rule(pause(Reason.MESSAGE_REJECTED_SPAM, DAY), 5, phases=_LETTER, providers=("yandex",), text=_SPAM_WORDS),
    _rule(fail(Reason.MESSAGE_REJECTED_SPAM), 5, phases=_LETTER, text=_SPAM_WORDS),
)

_RECIPIENTS = (
    _rule(
        fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT),
        5,
        phases=(Phase.RCPT, Phase.DATA),
        enhanced=r"5\.1\.(?:[0-69]|10)",
    ),
    # Exchange Online's directory-based blocking of addresses it does not have.
    _rule(fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT), 550, phases=_RCPT, enhanced=r"5\.4\.(?:1|310)"),
    _rule(
        fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT),
        5,
        phases=(Phase.RCPT, Phase.DATA),
        text=rf"{_WHOM} (?:is )?(?:unknown|not found|not exist|does ?n[o']t exist|unavailable)"
        rf"|no such {_WHOM}|unknown {_WHOM}|invalid (?:recipient|mailbox)|unrouteable address|no mailbox here"
        r"|user doesn't have a \S{1,80} account",
    ),
    _rule(retry(Reason.GREYLISTED, Scope.RECIPIENT), 4, phases=_RCPT, text=r"gr[ea]y-?\s?list"),
    _rule(retry(Reason.GREYLISTED), 4, phases=(Phase.MAIL, Phase.DATA), text=r"gr[ea]y-?\s?list"),
)

RULES: tuple[Rule, ...] = (
    *_SIGNING_IN,
    *_SENDER,
    *_QUOTAS_AND_RATES,
    *_MAILBOXES,
    *_SIZE_AND_SPAM,
    *_RECIPIENTS,
)
