"""Wording for people of the contract's closed lists."""

from collections.abc import Mapping

from worker.console.languages import Code, Language
from worker.domain.failure.hints import HINTS
from worker.domain.vocabulary import Reason, ResultType, Tier, Why

TYPES: Mapping[str, str] = {
    ResultType.MAIL_SENT: "Accepted by the mail server",
    ResultType.MAIL_DEFERRED: "Deferred",
    ResultType.MAIL_FAILED: "Failed",
    ResultType.MAIL_UNCERTAIN: "Handed over, no answer",
    ResultType.SENT_COPY_SAVED: "Copy saved to Sent",
    ResultType.SENT_COPY_SKIPPED: "No copy needed",
    ResultType.SENT_COPY_FAILED: "Copy not saved",
    ResultType.SENT_COPY_DEFERRED: "Copy deferred",
    ResultType.MAILBOX_SUSPENDED: "Mailbox suspended",
    ResultType.MAILBOX_RESUMED: "Mailbox resumed",
    ResultType.MAILBOX_CHECKED: "Mailbox checked",
    ResultType.MAILBOX_TOKEN_ROTATED: "Refresh token renewed",
    ResultType.DEAD_LETTER_REPLAYED: "Dead letters replayed",
    ResultType.DEAD_LETTER_DISCARDED: "Dead letters discarded",
}

TONES: Mapping[str, str] = {
    ResultType.MAIL_SENT: "good",
    ResultType.MAIL_DEFERRED: "wait",
    ResultType.MAIL_FAILED: "bad",
    ResultType.MAIL_UNCERTAIN: "wait",
    ResultType.SENT_COPY_SAVED: "good",
    ResultType.SENT_COPY_SKIPPED: "good",
    ResultType.SENT_COPY_FAILED: "bad",
    ResultType.SENT_COPY_DEFERRED: "wait",
    ResultType.MAILBOX_SUSPENDED: "bad",
    ResultType.MAILBOX_RESUMED: "good",
}
"""How a result is highlighted; others are neutral."""

TIERS: Mapping[str, str] = {
    Tier.CHOSEN: "The author's choice",
    Tier.EMPLOYEE_PROJECT: "The author's own, of this project",
    Tier.EMPLOYEE: "The author's own",
    Tier.COMPANY_PROJECT: "The company's, of this project",
    Tier.COMPANY: "The company's",
    Tier.INTERNAL: "Internal address",
}

WHYS: Mapping[str, str] = {
    Why.USABLE: "usable",
    Why.NOT_ENTITLED: "the plan does not include it",
    Why.INACTIVE: "switched off",
    Why.NO_ACCESS: "the author has no access",
    Why.OTHER_PROJECT: "bound to other projects",
    Why.CHOICE_IGNORED_NO_TEMPLATE_FIELD: "ignored: the template has no field for it",
    Why.UNKNOWN_MAILBOX: "not in the snapshot",
    Why.LOWER_TIER: "another one goes first",
}

STEPS: Mapping[str, str] = {
    "settings": "Settings",
    "dns": "SMTP server's name",
    "connect": "SMTP connection",
    "tls": "SMTP encryption (TLS)",
    "greeting": "SMTP greeting",
    "capabilities": "What the SMTP server offers",
    "auth": "Sign-in",
    "sender": "Sender accepted",
    "test_letter": "Test letter",
    "imap_dns": "IMAP server's name",
    "imap_connect": "IMAP connection",
    "imap_tls": "IMAP encryption (TLS)",
    "imap_greeting": "IMAP greeting",
    "imap_auth": "IMAP sign-in",
    "sent_folder": "Sent folder",
    "sent_writable": "Sent folder can be written to",
    "mx": "Domain receives mail (MX)",
    "spf": "SPF",
    "dkim": "DKIM",
    "dmarc": "DMARC",
}

REFUSALS: Mapping[str, str] = {
    "uncertain": "may have been accepted already: find out first, or allow it to be sent again",
    "replayed_too_often": "was replayed three times already: fix the cause first, or allow it once more",
    "no_destination": "does not say which work queue it died in",
    "came_back": "was replayed just now and has died again",
    "forgotten": "is older than the ledger's memory: find out who got it, or allow it to be sent again",
    "unsigned": "is a copy for Sent that no worker signed: discard it",
}
"""Why a dead letter stays (`operations.dead_letters.replay.Refusal`)."""

FACETS: Mapping[str, str] = {
    "reason": "Reason",
    "account": "Account",
    "type": "Type",
    "mailbox": "Mailbox",
    "queue": "Queue",
    "worker_error": "Worker error",
}

PHASES: Mapping[str, str] = {
    "counting": "Counting",
    "counted": "Counted",
    "acting": "In progress",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
}

CATALOGUES = (TYPES, TIERS, WHYS, STEPS, REFUSALS, FACETS, PHASES)
"""All English texts here; a test checks that each has a Russian translation."""


def type_text(name: str, language: Language) -> str:
    """A result type's wording."""
    return language.text(TYPES.get(name, name))


def tier_text(name: str, language: Language) -> str:
    """A tier's wording."""
    return language.text(TIERS.get(name, name))


def why_text(name: str, language: Language) -> str:
    """A verdict's reason in words."""
    return language.text(WHYS.get(name, name))


def reason_hint(reason: str | None, code: Code) -> str | None:
    """A reason's hint; None for a reason outside the closed list."""
    try:
        hint = HINTS[Reason(reason or "")]
    except ValueError:
        return None
    return hint.ru if code == "ru" else hint.en
