"""Rules about recipients: unknown, full, refused for now."""

from worker.domain.failure.judgements import fail, retry, suspend
from worker.domain.failure.rules.rule import LETTER, MICROSOFT, RCPT, RECIPIENT, rule
from worker.domain.failure.rules.senders import SENDER_CODES
from worker.domain.vocabulary import Phase, Reason, Scope

_WHOM = r"(?:user|recipient|mailbox|address|account)"
_OVER_QUOTA = (
    r"over ?quota|mailbox (?:is )?full|quota exceeded|exceeded storage|mailbox size limit|(?:over"
    r"|exceed\w*) .{0,20}quota"
    r"|bo[iî]te.{0,30}pleine|postfach.{0,20}voll|casella.{0,20}piena|buzón.{0,20}lleno|skrzynka.{0,20}pełna|переполнен"
)

# What the code alone says (RFC 3463) precedes all words.
BY_CODE = (
    rule(suspend(Reason.MAILBOX_FULL), 554, enhanced=r"5\.2\.2", providers=MICROSOFT),
    rule(suspend(Reason.MAILBOX_FULL), 554, providers=MICROSOFT, text=r"shutoffquotaexceeded"),
    rule(retry(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 4, phases=RCPT, enhanced=r"4\.2\.2"),
    rule(fail(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 5, phases=RECIPIENT, enhanced=r"5\.2\.2"),
    # Orange uses the code of an unknown address for a full mailbox.
    rule(fail(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 552, phases=RCPT, enhanced=r"5\.1\.1", text=_OVER_QUOTA),
    rule(
        fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT),
        5,
        phases=RECIPIENT,
        enhanced=r"5\.1\.(?:[1-469]|10)",
    ),
    rule(fail(Reason.MESSAGE_TOO_LARGE), 5, phases=LETTER, enhanced=r"5\.3\.4|5\.2\.3"),
    *SENDER_CODES,
)

FULL = (
    rule(suspend(Reason.MAILBOX_FULL), 552, phases=(Phase.MAIL,), enhanced=r"5\.2\.2"),
    rule(retry(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 4, phases=RCPT, text=_OVER_QUOTA),
    rule(fail(Reason.RECIPIENT_MAILBOX_FULL, Scope.RECIPIENT), 5, phases=RCPT, text=_OVER_QUOTA),
)

BY_WORDS = (
    rule(
        fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT),
        5,
        phases=RECIPIENT,
        enhanced=r"5\.1\.[05]",
    ),
    # Exchange Online's directory-based blocking of addresses it does not have.
    rule(fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT), 550, phases=RCPT, enhanced=r"5\.4\.(?:1|310)"),
    rule(
        fail(Reason.RECIPIENT_UNKNOWN, Scope.RECIPIENT),
        5,
        phases=RECIPIENT,
        text=rf"{_WHOM} (?:is )?(?:unknown|not found|not exist|does ?n[o']t exist|unavailable)"
        rf"|no such {_WHOM}|unknown {_WHOM}|invalid (?:recipient|mailbox)|unrouteable address|no mailbox here"
        r"|user doesn't have an? (?:\S{1,80} )?account",
    ),
    rule(retry(Reason.GREYLISTED, Scope.RECIPIENT), 4, phases=RCPT, text=r"gr[ea]y-?\s?list"),
    rule(retry(Reason.GREYLISTED), 4, phases=(Phase.MAIL, Phase.DATA), text=r"gr[ea]y-?\s?list"),
)
