"""The key with which an installation's workers recognise their own messages: created once, shared by all."""

import secrets

from sqlalchemy import Connection, select

from worker.adapters.ledger.schema import keys
from worker.adapters.ledger.statements import upsert

_MESSAGES = "messages"
_KEY_BYTES = 32


def message_key(connection: Connection) -> bytes:
    """The key for `delivery.signatures`; the first caller creates it, and all others get the same."""
    new = (
        upsert(connection.dialect.name, keys)
        .values(name=_MESSAGES, key=secrets.token_bytes(_KEY_BYTES))
        .on_conflict_do_nothing()
    )
    with connection.begin():
        connection.execute(new)
        found = connection.execute(select(keys.c.key).where(keys.c.name == _MESSAGES))
        return bytes(found.scalar_one())
