"""`sendas classify`: what a mail server's reply means."""

from typing import Annotated

from cyclopts import Parameter

from worker.adapters.clock import SystemClock
from worker.cli.common import print_json, print_line
from worker.domain.failure.classify import classify as judge
from worker.domain.failure.hints import hint_for
from worker.domain.failure.replies import parse_reply
from worker.domain.providers import provider_of
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Phase
from worker.errors import ConfigurationError


def classify(
    reply: str,
    /,
    *,
    phase: Phase,
    host: str,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say what a mail server's reply means, and what the worker would do.

    Parameters
    ----------
    reply
        A whole reply, such as "550 5.4.5 Daily user sending quota exceeded."
    phase
        Where in the SMTP session it came.
    host
        The SMTP host that said it: providers differ.
    as_json
        Print JSON alone.
    """
    try:
        parsed = parse_reply(reply)
    except ValueError as error:
        raise ConfigurationError(f"the reply: {error}") from None
    if parsed.code < 400:
        raise ConfigurationError(f"the reply: {parsed.code} refuses nothing; what is judged begins with 4 or 5")
    judged = judge(DeliveryFailure(phase, FailureKind.REPLY, parsed), provider_of(host).name, SystemClock().now())
    hint = hint_for(judged.reason, judged.remedy)
    if as_json:
        print_json(
            {
                "reason": judged.reason.value,
                "scope": judged.scope.value,
                "action": judged.action.value,
                "pause_s": judged.pause_s,
                "hint": {"en": hint.en, "ru": hint.ru},
            }
        )
    else:
        pause = f" for {judged.pause_s} s" if judged.pause_s else ""
        print_line(f"{judged.reason.value} ({judged.scope.value}): {judged.action.value}{pause}")
        print_line(f"  {hint.en}")
        print_line(f"  {hint.ru}")
    return 0
