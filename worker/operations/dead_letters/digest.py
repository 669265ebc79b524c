"""What tells dead letters apart by their contents, however often they are listed, exported and put back."""

import hashlib
import json

from worker.operations.dead_letters.death import lasting_headers
from worker.operations.dead_letters.queue import DeadMessage

DIGEST_CHARS = 32


def digest_of(message: DeadMessage) -> str:
    """32 hexadecimal digits over body, content type and headers.

    Without what changes although the letter does not: the broker's own headers (each look counts as a delivery) and
    the message id, which is a fresh one wherever the letter is published again. Equal letters have equal digests.
    """
    headers = json.dumps(lasting_headers(message.headers), sort_keys=True)
    content_type = str(message.properties.get("content_type") or "")
    digest = hashlib.blake2b(digest_size=DIGEST_CHARS // 2)
    for part in (headers.encode(), content_type.encode("utf-8", "surrogatepass"), message.body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
