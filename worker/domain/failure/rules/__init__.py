"""The classification rules, as data: the first that applies counts.

They are ordered by trust: what a code says alone, then a mailbox's own limits, then whose fault the words say it is,
and last what a single word suggests. Providers change their wording, so it is matched loosely.
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
