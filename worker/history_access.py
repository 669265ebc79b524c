"""Opens the history as the settings describe it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.adapters.history import SqlHistory, open_history
from worker.addresses import history_of
from worker.app import make_state_dir
from worker.errors import ConfigurationError
from worker.history.addresses import AddressPolicy, Keep
from worker.settings import Settings


def history_addresses(settings: Settings) -> AddressPolicy:
    """The policy for storing addresses in the history.

    Raises:
        ConfigurationError: the history is off, or its digests lack a key.
    """
    if settings.history == "off":
        raise ConfigurationError("SENDAS_HISTORY: it is off: set it to whole, masked or digest")
    if settings.history == "digest" and settings.history_key is None:
        raise ConfigurationError("SENDAS_HISTORY_KEY: missing, and SENDAS_HISTORY=digest needs it")
    secret = settings.history_key.get_secret_value().encode() if settings.history_key is not None else b""
    return AddressPolicy(Keep(settings.history), secret)


@asynccontextmanager
async def history_from(settings: Settings) -> AsyncIterator[SqlHistory]:
    """Open the history for reading.

    Raises:
        ConfigurationError: the history is off, a setting is wrong, or tables are missing.
        Unavailable: the database does not answer.
    """
    addresses = history_addresses(settings)
    make_state_dir(settings)
    history = await open_history(history_of(settings), addresses)
    try:
        yield history
    finally:
        await history.close()
