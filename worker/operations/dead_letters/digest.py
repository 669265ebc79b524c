"""What tells dead letters apart, and what makes two of them equal."""

import hashlib
import json

from worker.operations.dead_letters.death import lasting_headers
from worker.operations.dead_letters.export import plain
from worker.operations.dead_letters.queue import DeadMessage

DIGEST_CHARS = 32


def digest_of(message: DeadMessage) -> str:
    """32 hexadecimal digits over all that the message has, to name it by.

    The broker's own headers are left out: each look counts as a delivery, and a letter must have the same digest in
    every listing. Only letters that differ in nothing, the message id included, share one.
    """
    return _digest(message, json.dumps(plain(message.properties), sort_keys=True))


def contents_of(message: DeadMessage) -> str:
    """The same over body, content type and headers alone, which are what lasts when a letter is put back.

    It is published with a fresh message id then.
    """
    return _digest(message, str(message.properties.get("content_type") or ""))


def _digest(message: DeadMessage, properties: str) -> str:
    headers = json.dumps(lasting_headers(message.headers), sort_keys=True)
    digest = hashlib.blake2b(digest_size=DIGEST_CHARS // 2)
    for part in (headers.encode(), properties.encode("utf-8", "surrogatepass"), message.body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
