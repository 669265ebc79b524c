"""Identifies dead letters by digest, and decides when two are equal."""

import hashlib
import json

from worker.operations.dead_letters.death import lasting_headers
from worker.operations.dead_letters.export import plain
from worker.operations.dead_letters.queue import DeadMessage

DIGEST_CHARS = 32


def digest_of(message: DeadMessage) -> str:
    """Identify a message by 32 hexadecimal digits over its entire contents.

    The broker's own headers are left out: every look counts as a delivery, and a letter must keep its digest from one
    listing to the next. Only letters that are identical, message id included, share a digest.
    """
    return _digest(message, json.dumps(plain(message.properties), sort_keys=True))


def contents_of(message: DeadMessage) -> str:
    """Digest only body, content type and headers, which survive when a letter is put back.

    The message id does not: the letter is published with a fresh one.
    """
    return _digest(message, str(message.properties.get("content_type") or ""))


def _digest(message: DeadMessage, properties: str) -> str:
    headers = json.dumps(lasting_headers(message.headers), sort_keys=True)
    digest = hashlib.blake2b(digest_size=DIGEST_CHARS // 2)
    for part in (headers.encode(), properties.encode("utf-8", "surrogatepass"), message.body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
