"""Classification holds for whatever a server says."""

import time

from hypothesis import example, given
from hypothesis import strategies as st

from worker.domain.failure.classify import PLATFORM, Classification, classify
from worker.domain.failure.replies import parse_reply
from worker.domain.failure.stated_pause import MAX_PAUSE_S, MIN_PAUSE_S
from worker.domain.providers import providers
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Action, Phase, Reason, Scope

KNOWN_CODES = """
    5.3.4 5.2.3 5.2.2 4.2.2 5.1.1 5.1.8 5.7.26 5.7.139 5.4.5 5.1.90 5.2.252 4.7.0 5.7.60 5.4.1 5.5.3
"""
KNOWN_WORDS = """
    spam daily limit quota exceeded per hour too many connections not owned by user account blocked
    greylisted try again in 99999 seconds basic authentication is disabled mailbox full unknown size
"""
ENHANCED = (
    st.none() | st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True) | st.sampled_from(KNOWN_CODES.split())
)
WORDS = st.text() | st.lists(st.sampled_from(KNOWN_WORDS.split())).map(" ".join)
REPLIES = st.builds(Reply, st.integers(200, 599), ENHANCED, WORDS)
PROVIDERS = st.sampled_from(["generic", PLATFORM, *(provider.name for provider in providers())])


def is_sensible(judged: Classification, provider: str) -> bool:
    whole = Scope.PLATFORM if provider == PLATFORM else Scope.MAILBOX
    match judged.action:
        case Action.PAUSE:
            return judged.scope is whole and judged.pause_s is not None and MIN_PAUSE_S <= judged.pause_s <= MAX_PAUSE_S
        case Action.SUSPEND:
            return judged.scope is whole and judged.pause_s is None
        case Action.FAIL | Action.RETRY:
            return judged.pause_s is None
        case _:
            return False  # only the transaction knows that an outcome is unknown


@given(phase=st.sampled_from(Phase), fault=st.sampled_from(FailureKind), reply=st.none() | REPLIES, provider=PROVIDERS)
def test_scope_action_and_pause_fit_together(
    phase: Phase, fault: FailureKind, reply: Reply | None, provider: str
) -> None:
    """If the mailbox stops or rests, then it is the mailbox that is named; only a pause has a length, and a bounded."""
    assert is_sensible(classify(DeliveryFailure(phase, fault, reply), provider), provider)


@given(phase=st.sampled_from(Phase), code=st.integers(400, 499), enhanced=ENHANCED, text=WORDS)
def test_a_temporary_code_never_fails_a_letter(phase: Phase, code: int, enhanced: str | None, text: str) -> None:
    """If the first digit is 4, then the letter is tried again, whatever the words are."""
    judged = classify(DeliveryFailure(phase, FailureKind.REPLY, Reply(code, enhanced, text)), "generic")
    assert judged.action is not Action.FAIL


@given(phase=st.sampled_from([Phase.CONNECT, Phase.GREETING, Phase.TLS, Phase.QUIT]), reply=REPLIES)
def test_before_a_sign_in_no_letter_fails_and_no_password_is_blamed(phase: Phase, reply: Reply) -> None:
    """If the server does not let us in, then that says nothing about a letter, a recipient or a password."""
    judged = classify(DeliveryFailure(phase, FailureKind.REPLY, reply), "generic")
    assert judged.action is not Action.FAIL
    assert judged.scope in (Scope.MAILBOX, Scope.PLATFORM)
    assert judged.reason is not Reason.AUTH_FAILED


@given(text=st.text())
@example("550-5.1.1 a\n550 5.1.1 b")
def test_any_text_is_a_reply_or_refused(text: str) -> None:
    """If a person pastes anything, then it is either read or refused with the one error that the command knows."""
    try:
        reply = parse_reply(text)
    except ValueError:
        return
    assert 200 <= reply.code <= 599
    assert "\n" not in reply.text
    assert reply.enhanced is None or reply.enhanced[0] == str(reply.code)[0]


def test_long_hostile_texts_take_no_time() -> None:
    """If a server says a megabyte made to stall a pattern, then the worker does not notice."""
    pieces = ("daily ", "exceed ", "limit ", "again ", "user ", "concurrent ", "a" * 50 + " ", "\t", "#5.1.", "5.1.1 ")
    began = time.process_time()
    for piece in pieces:
        text = piece * (1_000_000 // len(piece))
        for phase in Phase:
            classify(DeliveryFailure(phase, FailureKind.REPLY, Reply(550, None, text)), "generic")
        parse_reply("550 " + text)
    assert time.process_time() - began < 5
