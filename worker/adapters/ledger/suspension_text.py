"""A suspension as the text that is stored of it."""

from pydantic import TypeAdapter

from worker.delivery.mailbox_states import Suspension

_SUSPENSION = TypeAdapter(Suspension)


def suspension_text(suspension: Suspension) -> str:
    """JSON; all of the suspension."""
    # PostgreSQL stores no NUL; what else JSON escapes, it escapes too.
    return _SUSPENSION.dump_json(suspension).decode()


def suspension_from(text: str) -> Suspension:
    """The suspension of which `suspension_text` made this."""
    return _SUSPENSION.validate_json(text)
