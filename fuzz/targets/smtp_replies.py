"""Replies of mail servers, and what is made of them: first line phase and host, the rest the reply."""

from fuzz.target import Target
from fuzz.words import check_shown
from worker.domain.failure.classify import classify
from worker.domain.failure.hints import HINTS
from worker.domain.failure.replies import parse_reply
from worker.domain.providers import provider_of
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Action, Phase

_PHASES = tuple(Phase)
_MAX_PAUSE_S = 24 * 3600
_MAX_TEXT_CHARS = 1_000


def check(data: bytes) -> None:
    """A reply that is fit to be shown, and a judgement that can be acted on; or a ValueError."""
    head, _, raw = data.partition(b"\n")
    phase = _PHASES[head[0] % len(_PHASES)] if head else Phase.CONNECT
    provider = provider_of(head[1:].decode("latin-1"))
    try:
        reply = parse_reply(raw.decode("utf-8", "replace"))
    except ValueError:
        return
    assert 200 <= reply.code <= 599
    check_shown(reply.text)
    assert len(reply.text) <= _MAX_TEXT_CHARS
    assert reply.enhanced is None or reply.enhanced[0] == str(reply.code)[0]
    judged = classify(DeliveryFailure(phase, FailureKind.REPLY, reply), provider.name)
    assert judged.reason in HINTS
    if judged.action is Action.PAUSE:
        assert judged.pause_s is not None
        assert 0 < judged.pause_s <= _MAX_PAUSE_S


TARGET = Target(
    check,
    tokens=(
        *(b"550 5.1.1 ", b"451 4.7.1 ", b"421-4.7.28 ", b"535 5.7.8 ", b"554 5.7.1 ", b"452 4.2.2 ", b"550-5.4.5 "),
        *(b"smtp.gmail.com", b"smtp.office365.com", b"smtp.yandex.ru", b"smtp.mail.ru", b"try again in 60 seconds"),
        *(
            b"Daily user sending quota exceeded",
            b"greylisted",
            b"spam",
            b"SPF",
            b"not owned by",
            b"application password",
        ),
    ),
)
