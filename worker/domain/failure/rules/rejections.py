"""Rules about one letter: taken for spam, too large, or refused in other words."""

from worker.domain.failure.judgements import DAY, fail, pause, retry
from worker.domain.failure.rules.rule import LETTER, RCPT, rule
from worker.domain.vocabulary import Phase, Reason, Scope

_SPAM_WORDS = (
    r"\bspam\b|\bunsolicited\b|\bblack[- ]?list|\bblock[- ]?list|\bdnsbl\b|\brbl\b|\bjunk\b|spamhaus|blocked using"
    r"|possible abuse|\bDT:SPM\b|\b(?:ip|host|address|client)\b.{0,60}\blisted (?:at|by|in|on)\b|спам|垃圾邮件"
)

SPAM = (
    rule(fail(Reason.MESSAGE_REJECTED), 5, phases=LETTER, text=r"sender verif(?:y|ication) failed"),
    # The sender's address itself, not a recipient's, whichever command the server deferred the refusal to.
    rule(fail(Reason.MESSAGE_REJECTED), 5, phases=LETTER, enhanced=r"5\.1\.[78]"),
    rule(fail(Reason.MESSAGE_REJECTED), 5, phases=LETTER, text=r"sender address rejected: (?!access)"),
    rule(
        fail(Reason.MESSAGE_TOO_LARGE),
        5,
        phases=(Phase.MAIL, Phase.DATA),
        text=r"too (?:large|big)|size (?:limit|exceed)|exceed\w* .{0,40}\bsize|maximum .{0,20}size|databytes limit",
    ),
    rule(fail(Reason.MESSAGE_REJECTED), 5, phases=LETTER, providers=("yandex",), text=r"rejected for policy reasons"),
    # A block of about a day follows; each further attempt lengthens it.
    rule(pause(Reason.MESSAGE_REJECTED_SPAM, DAY), 5, phases=LETTER, providers=("yandex",), text=_SPAM_WORDS),
    rule(fail(Reason.MESSAGE_REJECTED_SPAM), 5, phases=LETTER, text=_SPAM_WORDS),
)

REJECTIONS = (rule(retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.RECIPIENT), phases=RCPT, text=r"too many recipients"),)

# A 5xx alone does not mean permanent: this server says itself that it is temporary.
LATER = (
    rule(
        retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.RECIPIENT),
        5,
        phases=RCPT,
        text=r"(?:try|come back)(?: it)?(?: again)?,? (?:later|tomorrow|in \d|after)|later,? please"
        r"|temporarily unavailable",
        unless=r"\b(?:permanent|not be retried|will not succeed)",
    ),
    rule(
        retry(Reason.TEMPORARILY_UNAVAILABLE),
        5,
        phases=(Phase.MAIL, Phase.DATA),
        text=r"(?:try|come back)(?: it)?(?: again)?,? (?:later|tomorrow|in \d|after)|later,? please"
        r"|temporarily unavailable",
        unless=r"\b(?:permanent|not be retried|will not succeed)",
    ),
)
