"""A trouble as a step of the report tells it: reason, hint, the server's words, and the provider's own page."""

from typing import Any

from worker.delivery.sent_copy.jobs import classify_copy
from worker.domain.classification import Classification, classify
from worker.domain.copy_hints import copy_hint
from worker.domain.hints import Hint, hint_for
from worker.domain.providers import Provider
from worker.domain.results import ServerReply, server_reply
from worker.domain.snapshot import Auth, PasswordAuth
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import Reason
from worker.operations.mailbox_check.texts import APP_PASSWORD, BAD_CERTIFICATE, OTHER_SIGN_IN, joined

SIGN_IN_REASONS = frozenset(
    {
        Reason.AUTH_FAILED,
        Reason.AUTH_APP_PASSWORD_REQUIRED,
        Reason.AUTH_BASIC_DISABLED,
        Reason.AUTH_CONFIRMATION_REQUIRED,
        Reason.AUTH_TOKEN_REVOKED,
    }
)
_REACHING = frozenset({Reason.DNS_FAILED, Reason.CONNECT_FAILED, Reason.TLS_FAILED, Reason.TIMEOUT})


def judge_smtp(trouble: Trouble, provider: Provider) -> Classification:
    """What it means, by the rules that letters are judged by."""
    return classify(trouble, provider.name)


def smtp_facts(trouble: Trouble, provider: Provider, auth: Auth) -> dict[str, Any]:
    """The fields of a failed step of the SMTP part."""
    judged = judge_smtp(trouble, provider)
    reason = judged.reason
    return {
        "reason": reason,
        "hint": BAD_CERTIFICATE
        if _is_about_certificate(trouble)
        else _hint(hint_for(reason, judged.remedy), judged, provider, auth),
        "reply": server_reply(trouble.reply),
        "help_url": help_url(reason, provider, auth),
        "detail": trouble.detail or None,
    }


def imap_facts(trouble: Trouble, provider: Provider, auth: Auth) -> dict[str, Any]:
    """The same for the IMAP part. IMAP has no codes: what the server said is in the trouble's detail."""
    judged = classify_copy(trouble)
    reason = judged.reason
    is_said = trouble.fault is Fault.REPLY and bool(trouble.detail)
    return {
        "reason": reason,
        "hint": BAD_CERTIFICATE if _is_about_certificate(trouble) else _hint(copy_hint(reason), judged, provider, auth),
        "reply": ServerReply(code=None, text=trouble.detail) if is_said else None,
        "help_url": help_url(reason, provider, auth),
        "detail": None if is_said else trouble.detail or None,
    }


def _hint(hint: Hint, judged: Classification, provider: Provider, auth: Auth) -> Hint:
    """A wrong password is mostly the usual one where an app password is wanted: said where the provider has them."""
    is_password_refused = judged.reason is Reason.AUTH_FAILED and judged.remedy is None
    if not is_password_refused or not isinstance(auth, PasswordAuth):
        return hint
    if provider.help_app_passwords is not None:
        return joined(hint, APP_PASSWORD)
    if provider.takes_password is False:
        return joined(hint, OTHER_SIGN_IN)
    return hint


def _is_about_certificate(trouble: Trouble) -> bool:
    """The reason is the same as for a handshake that fails, which passes; this does not."""
    return trouble.fault is Fault.TLS and "certificate" in trouble.detail


def help_url(reason: Reason, provider: Provider, auth: Auth) -> str | None:
    """The provider's own page that helps with this reason."""
    if reason in (Reason.AUTH_BASIC_DISABLED, Reason.AUTH_TOKEN_REVOKED) or not isinstance(auth, PasswordAuth):
        return provider.help_oauth if reason in SIGN_IN_REASONS else provider.help_smtp
    if reason in (Reason.AUTH_FAILED, Reason.AUTH_APP_PASSWORD_REQUIRED):
        return provider.help_app_passwords or provider.help_oauth or provider.help_smtp
    return provider.help_smtp if reason in _REACHING else None
