"""What a failure means: its reason, whom it concerns, and what follows.

Facts are weighed in this order of trust: the phase, the code, the enhanced code, the provider, the text. A 5xx alone
does not mean permanent and a 4xx alone does not mean short, so the rules that know a provider's words come first,
then those that know enhanced codes (RFC 3463, RFC 5248), and what nobody knows falls back to its first digit.
"""

import re
from dataclasses import dataclass

from worker.domain.classification_rules import FALLBACKS, FAULTS, RULES, Judgement, Rule
from worker.domain.transmission import Reply, Trouble
from worker.domain.vocabulary import Action, Phase, Reason, Scope

_SECONDS = re.compile(r"\b(\d{1,5})\s*(?:s|sec|second)s?\b", re.IGNORECASE)
_MINUTES = re.compile(r"\b(\d{1,4})\s*(?:m|min|minute)s?\b", re.IGNORECASE)
_MAX_STATED_PAUSE_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Classification:
    """A judged failure; `pause_s` is how long the mailbox rests, in seconds, when the action is to pause."""

    reason: Reason
    scope: Scope
    action: Action
    pause_s: int | None = None


def classify(trouble: Trouble, provider: str) -> Classification:
    """Judge a trouble; `provider` is a provider's name (see `providers`)."""
    if trouble.reply is None:
        return _classification(FAULTS[trouble.fault], None)
    judgement = next(
        (rule.judgement for rule in RULES if _applies(rule, trouble.phase, trouble.reply, provider)),
        None,
    )
    return _classification(judgement or _fallback(trouble.phase, trouble.reply), trouble.reply)


UNCERTAIN = Classification(Reason.OUTCOME_UNKNOWN, Scope.MESSAGE, Action.UNCERTAIN)
"""The one failure after the final dot: whatever it was, it says nothing about the letter."""


def _applies(rule: Rule, phase: Phase, reply: Reply, provider: str) -> bool:
    return (
        (not rule.phases or phase in rule.phases)
        and (not rule.codes or reply.code in rule.codes)
        and (not rule.providers or provider in rule.providers)
        and (rule.enhanced is None or rule.enhanced.fullmatch(reply.enhanced or "") is not None)
        and (rule.text is None or rule.text.search(reply.text) is not None)
    )


def _fallback(phase: Phase, reply: Reply) -> Judgement:
    return FALLBACKS[phase][0 if reply.code < 500 else 1]


def _classification(judgement: Judgement, reply: Reply | None) -> Classification:
    pause_s = judgement.pause_s
    if judgement.action is Action.PAUSE and reply is not None:
        pause_s = _stated_pause_s(reply.text) or pause_s
    return Classification(judgement.reason, judgement.scope, judgement.action, pause_s)


def _stated_pause_s(text: str) -> int | None:
    """How long the server's own words ask to wait, if they do."""
    if seconds := _SECONDS.search(text):
        return min(int(seconds[1]), _MAX_STATED_PAUSE_S) or None
    if minutes := _MINUTES.search(text):
        return min(int(minutes[1]) * 60, _MAX_STATED_PAUSE_S) or None
    return None
