"""The rules of `classification`, as data: the first that applies counts.

Their order is that of trust: what a code says alone, then a mailbox's own limits, then whose fault it is by the
words, and last what only a word hints at. Words of providers change and are matched loosely.
"""

from worker.domain.failure.rules.limits import LIMITS, SPEED
from worker.domain.failure.rules.recipients import BY_CODE, BY_WORDS, FULL
from worker.domain.failure.rules.rejections import LATER, REJECTIONS, SPAM
from worker.domain.failure.rules.rule import Rule
from worker.domain.failure.rules.senders import BLOCKED, DOMAINS, SENDERS
from worker.domain.failure.rules.signing_in import NOT_SIGNED_IN, OUR_NAME, SIGNING_IN

RULES: tuple[Rule, ...] = (
    *OUR_NAME,
    *SIGNING_IN,
    *BY_CODE,
    *LIMITS,
    *NOT_SIGNED_IN,
    *DOMAINS,
    *SENDERS,
    *BLOCKED,
    *FULL,
    *SPAM,
    *SPEED,
    *REJECTIONS,
    *BY_WORDS,
    *LATER,
)
