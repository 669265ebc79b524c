"""What servers' refusals of copies mean, in the words of servers that are in use."""

import pytest

from worker.delivery.sent_copy.jobs import classify_copy
from worker.domain.failure.classify import Classification
from worker.domain.failure.copy_hints import COPY_HINTS, copy_hint
from worker.domain.failure.hints import HINTS
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Action, Phase, Reason, Scope

DENIED, MISSING, FULL = Reason.SENT_FOLDER_DENIED, Reason.SENT_FOLDER_MISSING, Reason.MAILBOX_FULL
LARGE, REJECTED = Reason.MESSAGE_TOO_LARGE, Reason.MESSAGE_REJECTED
PASSING, TOO_FAST, TOO_MANY = Reason.TEMPORARILY_UNAVAILABLE, Reason.RATE_LIMITED, Reason.TOO_MANY_CONNECTIONS

FOR_GOOD = [
    # No room, in any words and with or without the code of RFC 9208.
    ("NO [OVERQUOTA] Quota exceeded (mailbox for user is full)", FULL),
    ("NO Over quota", FULL),
    ("NO [ALERT] You exceeded your mail quota.", FULL),
    ("NO APPEND The 1500 MB storage limit has been exceeded.", FULL),
    ("NO Your quota has been exceeded.", FULL),
    ("NO APPEND failed: mailbox is full", FULL),
    ("NO [ALERT] Mailbox full", FULL),
    ("NO mail box storage exceeded", FULL),
    ("NO account is over quota, please try again later", FULL),
    ("NO Disk quota exceeded", FULL),
    ("NO insufficient storage", FULL),
    ("NO Mailbox size limit exceeded", FULL),
    ("NO Почтовый ящик переполнен", FULL),
    ("BAD [OVERQUOTA] full", FULL),
    ("NO [LIMIT] mailbox size limit reached", FULL),
    ("NO [CANNOT] APPEND failed, mailbox is full", FULL),
    ("NO [NOPERM] over quota", FULL),
    # No right to.
    ("NO Permission denied", DENIED),
    ('NO Access denied for APPEND on INBOX.Sent (ACL "i" required)', DENIED),
    ("NO [NOPERM] not allowed", DENIED),
    ("NO [CANNOT] not possible", DENIED),
    ("NO [LIMIT] too many messages in this mailbox", DENIED),
    ("NO [READ-ONLY] no", DENIED),
    ("NO Current box is selected READ-ONLY.", DENIED),
    ("NO Mailbox is read-only", DENIED),
    ("NO [ALERT] Cannot create message - no write permission or out of disk space.", DENIED),
    ("NO Invalid mailbox name.", DENIED),
    ("NO SELECT Unsafe Login. Please contact kefu@188.com for help", DENIED),
    ("NO [CONTACTADMIN] ask your administrator", DENIED),
    ("NO operation not supported on this folder", DENIED),
    ("BAD Command Error. 10", DENIED),
    ("BAD Command Argument Error. 11", DENIED),
    ("BAD unknown command", DENIED),
    # No such folder.
    ("NO [NONEXISTENT] Unknown Mailbox: Sent (Failure)", MISSING),
    ("NO [TRYCREATE] APPEND error finding folder", MISSING),
    ("NO Mailbox doesn't exist: Sent", MISSING),
    ("NO Mailbox does not exist", MISSING),
    ("NO no such mailbox", MISSING),
    (
        "NO Client tried to access nonexistent namespace. (Mailbox name should probably be prefixed with: INBOX.)",
        MISSING,
    ),
    # The letter itself.
    ("BAD command line limit exceeded", LARGE),
    ("BAD [TOOBIG] Message too large. https://support.google.com/mail/answer/6584#limit", LARGE),
    ("NO [TOOBIG] Message size exceeding limit", LARGE),
    ("NO [LIMIT] message exceeds maximum size", LARGE),
    ("NO Die Nachricht ist zu groß", LARGE),
    ("BAD maximum message size exceeded", LARGE),
    ("BAD literal size too large", LARGE),
    ("NO Message contains bare newlines", REJECTED),
    ("NO [PARSE] Message violates mail syntax", REJECTED),
    ("NO Message contains invalid header", REJECTED),
    ("BAD invalid argument: unable to parse message", REJECTED),
]

IN_PASSING = [
    ("NO [UNAVAILABLE] Temporary problem, please try again later", PASSING),
    ("NO [INUSE] Mailbox is locked, permission denied for now", PASSING),
    ("NO [SERVERBUG] Internal error occurred. Refer to server log for more information.", PASSING),
    ("NO [SERVERBUG] Internal quota calculation error", PASSING),
    ("NO Failed to check quota", PASSING),
    ("NO Temporary unavailable", PASSING),
    ("NO permission denied, try again later", PASSING),
    ("NO System I/O error", PASSING),
    ("NO APPEND failed.", PASSING),
    ("NO", PASSING),
    ("BAD internal server error", PASSING),
    ("BAD User is authenticated but not connected.", PASSING),
    ("BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds", TOO_FAST),
    ("NO [THROTTLED] slow down", TOO_FAST),
    ("NO Too many simultaneous connections", TOO_MANY),
    # Names and addresses are no evidence.
    ('NO mailbox "over quota, permission denied" is not ready', PASSING),
    ("NO see https://help.example/quota-exceeded", PASSING),
    ("NO rejected for <quota@permission.example>", PASSING),
]


@pytest.mark.parametrize(("words", "reason"), FOR_GOOD)
@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.DATA])
def test_what_no_repetition_mends_is_told_at_once(phase: Phase, words: str, reason: Reason) -> None:
    judged = classify_copy(DeliveryFailure(phase, FailureKind.REPLY, detail=words))
    assert judged == Classification(reason, Scope.MAILBOX, Action.FAIL)


@pytest.mark.parametrize(("words", "reason"), IN_PASSING)
def test_what_may_pass_is_tried_again(words: str, reason: Reason) -> None:
    judged = classify_copy(DeliveryFailure(Phase.DATA, FailureKind.REPLY, detail=words))
    assert judged == Classification(reason, Scope.MAILBOX, Action.RETRY)


@pytest.mark.parametrize(
    ("words", "reason", "action"),
    [
        ("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", Reason.AUTH_FAILED, Action.FAIL),
        ("NO LOGIN failed.", Reason.AUTH_FAILED, Action.FAIL),
        (
            "NO Login fail. Account is abnormal, password is incorrect, or system is busy.",
            Reason.AUTH_FAILED,
            Action.FAIL,
        ),
        ("NO [ALERT] Application-specific password required", Reason.AUTH_APP_PASSWORD_REQUIRED, Action.FAIL),
        ("NO [AUTHENTICATIONFAILED] Use an app password", Reason.AUTH_APP_PASSWORD_REQUIRED, Action.FAIL),
        ("NO [AUTHENTICATIONFAILED] server is busy", Reason.AUTH_FAILED, Action.FAIL),
        ("NO [ALERT] Please log in via your web browser", Reason.AUTH_CONFIRMATION_REQUIRED, Action.FAIL),
        ("NO [WEBALERT https://x.example] Web login required.", Reason.AUTH_CONFIRMATION_REQUIRED, Action.FAIL),
        ("NO BasicAuthBlocked-10000", Reason.AUTH_BASIC_DISABLED, Action.FAIL),
        ("NO [UNAVAILABLE] Temporary authentication failure.", PASSING, Action.RETRY),
        ("NO [LIMIT] Maximum number of connections from user+IP exceeded", TOO_MANY, Action.RETRY),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", TOO_MANY, Action.RETRY),
        ("NO server is busy", PASSING, Action.RETRY),
        ("NO [INUSE] x", PASSING, Action.RETRY),
    ],
)
def test_a_refused_sign_in_is_not_repeated_unless_it_passes_by_itself(
    words: str, reason: Reason, action: Action
) -> None:
    judged = classify_copy(DeliveryFailure(Phase.AUTH, FailureKind.REPLY, detail=words))
    assert (judged.reason, judged.action) == (reason, action)


@pytest.mark.parametrize(
    ("fault", "reason", "action"),
    [
        (FailureKind.NO_FOLDER, MISSING, Action.FAIL),
        (FailureKind.TOO_LARGE, LARGE, Action.FAIL),
        (FailureKind.NO_AUTH_MECHANISM, Reason.AUTH_BASIC_DISABLED, Action.FAIL),
        (FailureKind.TOKEN_REFUSED, Reason.AUTH_TOKEN_REVOKED, Action.FAIL),
        (FailureKind.DISCONNECTED, Reason.DISCONNECTED, Action.RETRY),
        (FailureKind.PROTOCOL, PASSING, Action.RETRY),
    ],
)
def test_faults(fault: FailureKind, reason: Reason, action: Action) -> None:
    judged = classify_copy(DeliveryFailure(Phase.DATA, fault, detail="Over quota"))
    assert (judged.reason, judged.action) == (reason, action)


def test_whatever_a_copy_can_end_with_has_a_hint_of_its_own() -> None:
    words = [(Phase.DATA, each) for each, _ in (*FOR_GOOD, *IN_PASSING)]
    words += [(Phase.AUTH, each) for each in ("NO", "NO [WEBALERT x]", "NO BasicAuthBlocked", "NO app password")]
    words.append((Phase.AUTH, "NO [PRIVACYREQUIRED] TLS first"))
    troubles = [DeliveryFailure(phase, FailureKind.REPLY, detail=each) for phase, each in words]
    troubles += [DeliveryFailure(Phase.CONNECT, fault) for fault in FailureKind]
    reasons = {classify_copy(each).reason for each in troubles} | {Reason.EXPIRED, Reason.SENDER_UNAVAILABLE}
    assert reasons <= COPY_HINTS.keys()


def test_hints_for_copies_speak_of_copies() -> None:
    """The letter has left: nobody may be told to send it again, or that it is tried again."""
    for reason, hint in COPY_HINTS.items():
        assert "cop" in hint.en.lower(), reason
        assert "копи" in hint.ru.lower(), reason
        for other in ("letter is tried", "letter could not be sent", "write again", "sending", "resume"):
            assert other not in hint.en, reason
        for other in ("Отправка повтор", "отправка повтор", "Письмо не удалось", "напишите ещё раз", "возобновите"):
            assert other not in hint.ru, reason
    assert copy_hint(Reason.GREYLISTED) == HINTS[Reason.GREYLISTED]
