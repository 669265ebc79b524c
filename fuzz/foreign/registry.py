"""All entries."""

from fuzz.foreign import events_and_letters, history, mail_servers, names_and_tokens
from fuzz.foreign.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    *mail_servers.ENTRIES,
    *names_and_tokens.ENTRIES,
    *events_and_letters.ENTRIES,
    *history.ENTRIES,
)


def covered() -> frozenset[str]:
    """The names of all functions that an entry stands for."""
    return frozenset(name for entry in ENTRIES for name in entry.covers)
