"""The targets, one a module; a module is loaded when its target is asked for, so that the fuzzer can instrument it."""

from importlib import import_module

from fuzz.target import Target

NAMES = (
    "amqp_headers",
    "deliveries",
    "egress",
    "events",
    "growth",
    "imap_responses",
    "imap_sessions",
    "results",
    "sealed_secrets",
    "smtp_replies",
    "smtp_sessions",
    "snapshots",
    "token_responses",
)


def load(name: str) -> Target:
    """The target of this name. Raises `KeyError` when there is none."""
    if name not in NAMES:
        raise KeyError(name)
    found = import_module(f"fuzz.targets.{name}").TARGET
    assert isinstance(found, Target)
    return found
