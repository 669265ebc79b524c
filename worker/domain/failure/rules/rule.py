"""The form of a classification rule."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from worker.domain.failure.judgements import Judgement
from worker.domain.transmission import Reply
from worker.domain.vocabulary import Phase

ENTRANCE = (Phase.CONNECT, Phase.GREETING)
AUTH = (Phase.AUTH,)
RCPT = (Phase.RCPT,)
RECIPIENT = (Phase.RCPT, Phase.DATA)
LETTER = (Phase.MAIL, Phase.RCPT, Phase.DATA)

MICROSOFT = ("exchange_online", "outlook")
SERVICES = (
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


@dataclass(frozen=True, slots=True)
class Rule:
    """A judgement and its conditions: an empty condition always holds.

    `codes` are whole codes or first digits: a server may choose codes that no RFC has (RFC 5321 section 4.3.2).
    `enhanced` must match whole; `text` must be found in the evidence (`replies.evidence`), and `unless` must not.
    """

    judgement: Judgement
    phases: frozenset[Phase]
    codes: frozenset[int]
    providers: frozenset[str]
    enhanced: re.Pattern[str] | None
    text: re.Pattern[str] | None
    unless: re.Pattern[str] | None

    def applies(self, phase: Phase, reply: Reply, provider: str) -> bool:
        """True when the rule applies to this reply, whose text is evidence only."""
        return (
            (not self.phases or phase in self.phases)
            and (not self.codes or reply.code in self.codes or reply.code // 100 in self.codes)
            and (not self.providers or provider in self.providers)
            and (self.enhanced is None or self.enhanced.fullmatch(reply.enhanced or "") is not None)
            and (self.text is None or self.text.search(reply.text) is not None)
            and (self.unless is None or self.unless.search(reply.text) is None)
        )


def rule(
    judgement: Judgement,
    *codes: int,
    phases: Iterable[Phase] = (),
    providers: Iterable[str] = (),
    enhanced: str | None = None,
    text: str | None = None,
    unless: str | None = None,
) -> Rule:
    """A rule; see `Rule`. Patterns have bounded repetition only: the server chooses the text."""
    return Rule(
        judgement,
        frozenset(phases),
        frozenset(codes),
        frozenset(providers),
        re.compile(enhanced) if enhanced else None,
        re.compile(text, re.IGNORECASE) if text else None,
        re.compile(unless, re.IGNORECASE) if unless else None,
    )
