"""What a server's refusal of a copy means. IMAP has no reply codes: response codes (RFC 5530) come first, then words.

Servers' wording comes from their source code, from documentation and from public reports; it is matched loosely.
Quoted names, addresses and links are no evidence: a folder may be called "Over quota". Unrecognised refusals are
retried.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from worker.domain.failure.judgements import Judgement, fail, retry
from worker.domain.vocabulary import Phase, Reason, Scope

_MAX_WORDS = 300
_REFUSAL = re.compile(r"(NO|BAD|BYE)\b ?(?:\[([A-Za-z0-9-]{1,40})[^\]]{0,200}\]?)?")
_NO_EVIDENCE = re.compile(r'"[^"]*"|<[^<>]*>|\b[a-z]{2,8}://\S+|\S+@\S+', re.IGNORECASE)


def _refused(reason: Reason) -> Judgement:
    return fail(reason, Scope.MAILBOX)


_DENIED = _refused(Reason.SENT_FOLDER_DENIED)
_MISSING = _refused(Reason.SENT_FOLDER_MISSING)
_FULL = _refused(Reason.MAILBOX_FULL)
_TOO_LARGE = fail(Reason.MESSAGE_TOO_LARGE)
_REJECTED = fail(Reason.MESSAGE_REJECTED)
_PASSING = retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.MAILBOX)
_TOO_MANY = retry(Reason.TOO_MANY_CONNECTIONS, Scope.MAILBOX)
_TOO_FAST = retry(Reason.RATE_LIMITED, Scope.MAILBOX)

_CODES: Mapping[str, Judgement] = MappingProxyType(
    {
        "OVERQUOTA": _FULL,  # RFC 9208
        "TOOBIG": _TOO_LARGE,  # RFC 7889
        "PARSE": _REJECTED,  # RFC 9051 section 7.1: the letter's header cannot be parsed
        "NOPERM": _DENIED,
        "CANNOT": _DENIED,
        "LIMIT": _DENIED,
        "READ-ONLY": _DENIED,
        "CONTACTADMIN": _DENIED,
        "AUTHORIZATIONFAILED": _DENIED,
        "CLIENTBUG": _DENIED,
        "NONEXISTENT": _MISSING,
        "TRYCREATE": _MISSING,
        "UNAVAILABLE": _PASSING,
        "INUSE": _PASSING,
        "SERVERBUG": _PASSING,
        "CORRUPTION": _PASSING,
        "THROTTLED": _TOO_FAST,
    }
)
"""Codes that answer a folder or a letter; those that say nothing of it (ALERT and the like) are left to the words."""

_SIGN_IN_CODES: Mapping[str, Judgement] = MappingProxyType(
    {
        "AUTHENTICATIONFAILED": _refused(Reason.AUTH_FAILED),
        "AUTHORIZATIONFAILED": _refused(Reason.AUTH_FAILED),
        "EXPIRED": _refused(Reason.AUTH_FAILED),
        "PRIVACYREQUIRED": _refused(Reason.TLS_FAILED),
        "WEBALERT": _refused(Reason.AUTH_CONFIRMATION_REQUIRED),  # Gmail: sign in with a browser, at the given link
        "UNAVAILABLE": _PASSING,
        "INUSE": _PASSING,
        "SERVERBUG": _PASSING,
        "LIMIT": _TOO_MANY,
        "THROTTLED": _TOO_FAST,
    }
)


@dataclass(frozen=True, slots=True)
class _Words:
    judgement: Judgement
    pattern: re.Pattern[str]


def _words(judgement: Judgement, pattern: str) -> _Words:
    return _Words(judgement, re.compile(pattern, re.IGNORECASE))


_WORDS = (
    # The quota lookup failed, which says nothing of the free space (Dovecot: "Internal quota calculation error").
    _words(
        _PASSING, r"quota (?:calculation|lookup|check|service|server|backend)|(?:check|determine|get|read)\w* quota"
    ),
    _words(_TOO_FAST, r"throttl|rate.?limit|too (?:fast|quickly)|backoff"),
    _words(_TOO_MANY, r"too many (?:\w+ ){0,2}(?:connections|sessions)|connection limit"),
    # Cyrus "Over quota", Courier "You exceeded your mail quota", GroupWise "The … MB storage limit has been exceeded".
    _words(
        _FULL,
        r"quota|mail ?box(?: \S+)? (?:is |was )?(?:full|over)|full mail ?box|mailbox ?full|account is full"
        r"|(?:mail ?box|storage|disk|space|account) (?:\w+ )?(?:size )?limit"
        r"|exceed\w* (?:\S+ ){0,4}(?:storage|disk|space)|(?:storage|disk|space|room)(?: \w+){0,3} exceeded"
        r"|(?:not enough|insufficient|no more|no|out of) (?:\w+ )?(?:storage|space|room)(?: left)? in (?:\w+ ){0,2}mail"
        r"|(?:not enough|insufficient|no more|out of) (?:mail ?box )?(?:storage|room)"
        r"|квот|переполнен|speicherplatz|postfach (?:ist )?voll|boîte .{0,20}pleine|buz[oó]n .{0,10}lleno"
        r"|casella .{0,10}piena|容量|已满|空间不足",
    ),
    # Exchange Online "command line limit exceeded", Gmail "Message too large", maddy "Message size exceeding limit".
    _words(
        _TOO_LARGE,
        r"too (?:large|big|long)|zu (?:groß|gross)"
        r"|(?:message|literal|letter|mail|append|command|line)(?: \w+){0,2} (?:size|limit) (?:\w+ ){0,2}exceed"
        r"|exceed\w* (?:\S+ ){0,4}(?:message size|size|length)|max\w* (?:\w+ ){0,2}size",
    ),
    # Cyrus "Message contains bare newlines", Gmail "invalid argument: unable to parse message".
    _words(
        _REJECTED,
        r"message contains|bare newline|invalid header|unable to parse|cannot parse message|nul character|8bit data"
        r"|\bvirus\b|infected|malware|\bspam\b|content (?:policy|filter)",
    ),
    _words(
        _MISSING,
        r"(?:mail ?box|folder)(?: \S+){0,2} (?:does ?n[o']t|does not) exist|no such (?:mail ?box|folder)|non-?existent"
        r"|unknown (?:mail ?box|folder)|(?:mail ?box|folder)(?: \S+){0,2} (?:is |was )?not found"
        r"|(?:error|failed|failure) finding folder",
    ),
    # Courier 'Access denied for APPEND on … (ACL "i" required)', "Invalid mailbox name."; NetEase "Unsafe Login".
    _words(
        _DENIED,
        r"permission|permitted|denied|\bnot (?:allowed|authori[sz]ed|supported|writable|writeable|a valid|valid)\b"
        r"|unauthori[sz]ed|forbidden|prohibited|\bACL\b|read[- ]?only|no (?:\w+ )?(?:rights|access)\b|insufficient"
        r"|privilege|may not|illegal|invalid (?:mail ?box|folder)|(?:mail ?box|folder) name|unsafe login|disabled"
        r"|(?:does ?n[o']t|does not) (?:support|allow|permit)|cannot (?:be written|write|append|create)|reserved",
    ),
)

_PASSING_WORDS = re.compile(
    r"try again|again later|\blater\b|temporar|\bbusy\b|in use|\block(?:ed)?\b|time(?:d )?[- ]?out|unavailable"
    r"|internal (?:server )?error|server error|system error|server bug|maintenance|overload|not connected|not available"
    r"|disk is full|no space left|i/o error|in progress|please wait",
    re.IGNORECASE,
)

_SIGN_IN_WORDS = (
    _words(
        _refused(Reason.AUTH_APP_PASSWORD_REQUIRED),
        r"app(?:lication)?[- ]?(?:specific )?password|parol prilozheniya|authori[sz]ation (?:code|password)|授权码",
    ),
    _words(
        _refused(Reason.AUTH_CONFIRMATION_REQUIRED),
        r"web ?browser|web ?login ?required|verify your (?:account|identity)|confirm your (?:account|identity)",
    ),
    _words(
        _refused(Reason.AUTH_BASIC_DISABLED),
        r"basic ?auth\w*(?: is |-)?(?:disabled|blocked|not supported)|basicauthblocked|use oauth",
    ),
    _words(_refused(Reason.AUTH_FAILED), r"password|credential|authentication failed|login fail"),
    _words(
        _TOO_MANY, r"too many (?:\w+ ){0,2}(?:connections|sessions)|(?:maximum|max) (?:number of )?\w* ?connections"
    ),
    _words(_PASSING, r"temporar|try again|again later|\bbusy\b|internal (?:server )?error|system error|maintenance"),
)

_EXACT_SIGN_IN = (
    _refused(Reason.AUTH_APP_PASSWORD_REQUIRED),
    _refused(Reason.AUTH_CONFIRMATION_REQUIRED),
    _refused(Reason.AUTH_BASIC_DISABLED),
)


def judge_refusal(phase: Phase, detail: str) -> Judgement:
    """Judge a refusal, given its result, response code and words in `detail`."""
    text = detail[:_MAX_WORDS]
    found = _REFUSAL.match(text)
    result, code = (found[1], (found[2] or "").upper()) if found else ("NO", "")
    said = _NO_EVIDENCE.sub(" ", text[found.end() :] if found else text)
    if phase is Phase.AUTH:
        coded, judged = _SIGN_IN_CODES.get(code), _first(_SIGN_IN_WORDS, said)
        # AUTHENTICATIONFAILED does not say what is missing; words about an app password or a browser do.
        is_exact = coded == _refused(Reason.AUTH_FAILED) and judged in _EXACT_SIGN_IN
        return (judged if is_exact else coded or judged) or _refused(Reason.AUTH_FAILED)
    judged = _first(_WORDS, said)
    if code in _CODES:
        # LIMIT and CANNOT do not say which limit, or why; words about a full mailbox or a large letter do.
        return judged if _CODES[code] == _DENIED and judged in (_FULL, _TOO_LARGE) else _CODES[code]
    if judged:
        # "Over quota" applies to any command; permission may be missing only for a moment.
        is_passing = judged in (_DENIED, _MISSING) and _PASSING_WORDS.search(said) is not None
        return _PASSING if is_passing else judged
    if result == "BAD" and not _PASSING_WORDS.search(said):
        return _DENIED  # the server does not understand the command, and will not next time
    return _PASSING


def _first(words: tuple[_Words, ...], said: str) -> Judgement | None:
    return next((each.judgement for each in words if each.pattern.search(said)), None)
