"""From the server's words to values: codes, enhanced codes, texts."""

import ssl

import pytest
from aiosmtplib import SMTPException, SMTPReadTimeoutError, SMTPResponse, SMTPResponseException, SMTPServerDisconnected

from worker.adapters.smtp.errors import refusal, reply_of, trouble_of
from worker.domain.transmission import FailureKind, Reply
from worker.domain.vocabulary import Phase


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (550, "5.1.1 no such user", Reply(550, "5.1.1", "no such user")),
        (550, "5.7.26 first\n5.7.26 second", Reply(550, "5.7.26", "first second")),
        (550, "first\n5.7.1 second", Reply(550, "5.7.1", "first second")),
        (250, "2.0.0", Reply(250, "2.0.0", "")),
        (550, "4.1.1 the class is another", Reply(550, None, "4.1.1 the class is another")),
        (550, "5.1 too short", Reply(550, None, "5.1 too short")),
        (550, "5.1.1234 too long", Reply(550, None, "5.1.1234 too long")),
        (550, "5.1.1-and more", Reply(550, None, "5.1.1-and more")),
        (550, "see 5.1.1", Reply(550, None, "see 5.1.1")),
        (354, "3.0.0 there is no class 3", Reply(354, None, "3.0.0 there is no class 3")),
        (550, "", Reply(550, None, "")),
        (550, "bad \x1b[31mred\x07 \u202etext", Reply(550, None, "bad [31mred text")),
    ],
)
def test_the_enhanced_code_is_taken_out_of_the_text(code: int, message: str, expected: Reply) -> None:
    assert reply_of(SMTPResponse(code, message)) == expected


def test_a_long_text_is_cut() -> None:
    assert len(reply_of(SMTPResponse(550, "x" * 30_000)).text) == 1_000


@pytest.mark.parametrize(
    ("code", "fault"),
    [(550, FailureKind.REPLY), (421, FailureKind.REPLY), (250, FailureKind.PROTOCOL), (354, FailureKind.PROTOCOL)],
)
def test_a_positive_reply_is_never_a_refusal(code: int, fault: FailureKind) -> None:
    assert refusal(Phase.RCPT, SMTPResponse(code, "text")).fault is fault


@pytest.mark.parametrize(
    ("error", "phase", "fault"),
    [
        (SMTPReadTimeoutError("slow"), Phase.RCPT, FailureKind.TIMEOUT),
        (TimeoutError(), Phase.DATA, FailureKind.TIMEOUT),
        (ConnectionAbortedError(), Phase.TLS, FailureKind.TIMEOUT),
        (SMTPServerDisconnected("gone"), Phase.DATA, FailureKind.DISCONNECTED),
        (ConnectionResetError(), Phase.MAIL, FailureKind.DISCONNECTED),
        (ConnectionResetError(), Phase.TLS, FailureKind.TLS),
        (ssl.SSLError(1, "wrong version"), Phase.TLS, FailureKind.TLS),
        (ssl.SSLError(1, "bad record"), Phase.DATA, FailureKind.DISCONNECTED),
        (SMTPResponseException(-1, "not a reply"), Phase.MAIL, FailureKind.PROTOCOL),
        (SMTPResponseException(550, "no"), Phase.MAIL, FailureKind.REPLY),
        (SMTPException("something"), Phase.MAIL, FailureKind.PROTOCOL),
    ],
)
def test_every_error_has_its_fault(error: SMTPException | OSError, phase: Phase, fault: FailureKind) -> None:
    trouble = trouble_of(error, phase)
    assert (trouble.phase, trouble.fault) == (phase, fault)
