"""The first step of a check: whether the settings can work at all, before anybody is connected to."""

from collections.abc import Callable
from typing import Any

from worker.domain.hints import Hint
from worker.domain.snapshot import PasswordAuth, SealedSecret, secrets_of
from worker.domain.vocabulary import Reason
from worker.operations.mailbox_check.part import OnStep, Part
from worker.operations.mailbox_check.subject import Subject
from worker.operations.mailbox_check.texts import OTHER_SIGN_IN

STEP = "settings"
_REFERS_OUTSIDE = Hint(
    en="The password of a mailbox that is not saved yet must come sealed. Please tell support: this cannot be mended "
    "in the mailbox's settings.",
    ru="Пароль ещё не сохранённого ящика должен передаваться зашифрованным. Сообщите в поддержку: настройками ящика "
    "это не исправить.",
)
_TOO_MANY = Hint(
    en="Too many checks of your mailboxes are under way at the same time. Please wait until they have ended, and check "
    "this one again.",
    ru="Одновременно идёт слишком много проверок ваших ящиков. Дождитесь их окончания и проверьте этот ящик ещё раз.",
)


def check_settings(subject: Subject, monotonic: Callable[[], float], on_step: OnStep = lambda _: None) -> Part:
    """The step, as a part of its own."""
    part = _begun(monotonic, on_step)
    auths = [subject.mailbox.smtp.auth, subject.imap_auth]
    secrets = [secret for auth in auths for secret in secrets_of(auth)]
    if not subject.is_trusted and not all(isinstance(secret, SealedSecret) for secret in secrets):
        # Variables and files are the operator's: see `SealedOnlyCredentials`, which holds whatever happens here.
        part.failed(
            Reason.SENDER_NOT_PERMITTED,
            hint=_REFERS_OUTSIDE,
            detail="variables and files of the worker are no mailbox's secrets",
        )
    else:
        part.passed(detail=f"provider: {subject.provider.name}", **_warning(subject))
    return part


def _warning(subject: Subject) -> dict[str, Any]:
    """A password where the provider takes none any more."""
    provider = subject.provider
    if provider.takes_password is not False or not isinstance(subject.mailbox.smtp.auth, PasswordAuth):
        return {}
    return {"hint": OTHER_SIGN_IN, "help_url": provider.help_oauth}


def failed_settings(reason: Reason, why: str, monotonic: Callable[[], float]) -> Part:
    """The step where there is nothing to be looked at: the snapshot has no such mailbox, for example."""
    part = _begun(monotonic)
    part.failed(reason, detail=why)
    return part


def too_many_checks(monotonic: Callable[[], float]) -> Part:
    """The step where the account had as many checks under way as it may have, for as long as one waits for them."""
    part = _begun(monotonic)
    part.failed(Reason.RATE_LIMITED, hint=_TOO_MANY, detail="the account has too many checks under way")
    return part


def _begun(monotonic: Callable[[], float], on_step: OnStep = lambda _: None) -> Part:
    part = Part({STEP: True}, monotonic, on_step)
    part.begin(STEP)
    return part
