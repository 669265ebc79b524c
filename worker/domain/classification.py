"""What a failure means: its reason, whom it concerns, and what follows.

Facts are weighed in this order of trust: the phase, the code, the enhanced code, the provider, the text. A 5xx alone
does not mean permanent and a 4xx alone does not mean short, so the rules that know a provider's words come first,
then those that know enhanced codes (RFC 3463, RFC 5248), and what nobody knows falls back to its first digit.
"""

import re
from dataclasses import dataclass

from worker.domain.classification_fallbacks import FALLBACKS, FAULTS
from worker.domain.classification_rules import RULES, Rule
from worker.domain.judgements import DAY, HOUR, MINUTE, Judgement
from worker.domain.transmission import Fault, Reply, Trouble
from worker.domain.vocabulary import Action, Phase, Reason, Scope

PLATFORM = "platform"
"""The provider's name when the letter leaves through the platform's own relay."""

MIN_PAUSE_S = 30
MAX_PAUSE_S = DAY
_MAX_TEXT = 2_000  # of the server's words; more than that says nothing more

# Only with words that ask to wait: other times in a reply are those of a limit, such as "100 messages in 60 seconds".
_STATED = re.compile(
    r"\b(?:again|wait|retry|back|listed|after|blocked|paused)\b\D{0,30}\b(\d{1,5}) ?"
    r"(s|m|h)(?:ec|in|our|econd|inute)?s?\b",
    re.IGNORECASE,
)
_UNIT_S = {"s": 1, "m": MINUTE, "h": HOUR}

# Servers without RFC 2034 put the code into the words, as qmail's "(#5.1.1)".
_EMBEDDED = re.compile(r"#([245]\.\d{1,3}\.\d{1,3})\b")


@dataclass(frozen=True, slots=True)
class Classification:
    """A judged failure; `pause_s` is how long the mailbox rests, in seconds, when the action is to pause."""

    reason: Reason
    scope: Scope
    action: Action
    pause_s: int | None = None


UNCERTAIN = Classification(Reason.OUTCOME_UNKNOWN, Scope.MESSAGE, Action.UNCERTAIN)
"""The one failure after the final dot: whatever it was, it says nothing about the letter."""


def classify(trouble: Trouble, provider: str) -> Classification:
    """Judge a trouble; `provider` is a provider's name (see `providers`), or `PLATFORM`."""
    reply = trouble.reply
    # Any other code where it makes no sense is a fault of the protocol, and its words mean nothing.
    if reply is None or trouble.fault is not Fault.REPLY or not 400 <= reply.code <= 599:
        fault = Fault.PROTOCOL if trouble.fault is Fault.REPLY and reply is not None else trouble.fault
        return _classification(FAULTS[fault], "", provider)
    reply = Reply(reply.code, reply.enhanced or _embedded(reply), reply.text[:_MAX_TEXT])
    judgement = next((rule.judgement for rule in RULES if _applies(rule, trouble.phase, reply, provider)), None)
    return _classification(judgement or _fallback(trouble.phase, reply), reply.text, provider)


def _embedded(reply: Reply) -> str | None:
    found = _EMBEDDED.search(reply.text, 0, _MAX_TEXT)
    return found[1] if found and found[1][0] == str(reply.code)[0] else None


def _applies(rule: Rule, phase: Phase, reply: Reply, provider: str) -> bool:
    return (
        (not rule.phases or phase in rule.phases)
        and (not rule.codes or reply.code in rule.codes or reply.code // 100 in rule.codes)
        and (not rule.providers or provider in rule.providers)
        and (rule.enhanced is None or rule.enhanced.fullmatch(reply.enhanced or "") is not None)
        and (rule.text is None or rule.text.search(reply.text) is not None)
    )


def _fallback(phase: Phase, reply: Reply) -> Judgement:
    fallback = FALLBACKS[phase]
    return fallback.temporary if reply.code < 500 else fallback.permanent


def _classification(judgement: Judgement, words: str, provider: str) -> Classification:
    scope = judgement.scope
    if provider == PLATFORM and scope is Scope.MAILBOX:
        scope = Scope.PLATFORM  # no customer's mailbox is in it, and none of them can mend it
    pause_s = judgement.pause_s
    if judgement.action is Action.PAUSE:
        pause_s = _stated_pause_s(words) or pause_s
    return Classification(judgement.reason, scope, judgement.action, pause_s)


def _stated_pause_s(words: str) -> int | None:
    """How long the server's own words ask to wait, if they do, within bounds."""
    found = _STATED.search(words)
    if found is None:
        return None
    seconds = int(found[1]) * _UNIT_S[found[2].lower()]
    return max(MIN_PAUSE_S, min(seconds, MAX_PAUSE_S))
