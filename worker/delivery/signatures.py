"""How a worker knows the messages that workers of its installation made: by a signature that nobody else can make.

Who may publish to the product's exchange, or to a queue by its name, can write any header. What stands in those named
`sendas-…` (attempts, age, who still waits, whose letter a copy is) is believed only with a signature over it, by a key
that the ledger keeps and no producer can read.
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from worker.delivery.messages import Arrival, Publication

T = TypeVar("T")

SIGNATURE = "sendas-signature"

_OWN = "sendas-"
# What an event is read from in binary mode. Longer names are no attributes that anybody reads, and AMQP cuts them.
_ATTRIBUTE = re.compile(r"(?:ce-|cloudevents[_:])[a-z0-9]{1,40}", re.IGNORECASE)
_AT_ONCE_BYTES = 256 * 1024  # takes less than a millisecond; more is digested beside the event loop


class Signatures:
    """Signs messages for queues of our own, and takes unsigned headers of ours from those that arrive.

    Args:
        key: a secret of at least 16 bytes that all workers of an installation share.

    The signature is keyed BLAKE2b (RFC 7693) over the body, the content type, and the headers that are ours or an
    event's attributes. Other headers may be changed by brokers on the way.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("the key of the messages is too short")
        self._key = key

    async def signed(self, publication: Publication) -> Publication:
        """The message with its signature, when it is for a queue; results have none."""
        if publication.exchange:
            return publication
        headers = {name: value for name, value in publication.headers.items() if name != SIGNATURE}
        signature = await _beside(self.signature, headers, publication.content_type, publication.body)
        return replace(publication, headers={**headers, SIGNATURE: signature})

    async def trusted(self, arrival: Arrival) -> Arrival:
        """The message with those headers of ours alone that may be believed: all with a signature, and else none."""
        if not any(name.startswith(_OWN) for name in arrival.headers):
            return arrival
        given = arrival.headers, arrival.content_type, arrival.body
        if await _beside(self.is_ours, *given):
            headers = {name: value for name, value in arrival.headers.items() if name != SIGNATURE}
        else:
            headers = {name: value for name, value in arrival.headers.items() if not name.startswith(_OWN)}
        return replace(arrival, headers=headers)

    def is_ours(self, headers: Mapping[str, object], content_type: str | None, body: bytes) -> bool:
        """Whether one of us signed the message as it is."""
        given = headers.get(SIGNATURE)
        if not isinstance(given, str):
            return False
        signature = self.signature(headers, content_type, body)
        return hmac.compare_digest(signature.encode(), given.encode("utf-8", "replace"))

    def signature(self, headers: Mapping[str, object], content_type: str | None, body: bytes) -> str:
        """What stands in the header `SIGNATURE` of the message when one of us made it."""
        digest = hashlib.blake2b(key=self._key, digest_size=32, person=b"sendas message")
        head = json.dumps([content_type or "", *sorted(_covered(headers))]).encode()
        digest.update(len(head).to_bytes(8, "big") + head)
        digest.update(body)
        return digest.hexdigest()


async def _beside(
    work: Callable[[Mapping[str, object], str | None, bytes], T],
    headers: Mapping[str, object],
    content_type: str | None,
    body: bytes,
) -> T:
    """Do it, in a thread when the body is large: the event loop is not to stand still meanwhile."""
    if len(body) <= _AT_ONCE_BYTES:
        return work(headers, content_type, body)
    return await asyncio.to_thread(work, headers, content_type, body)


def _covered(headers: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if name != SIGNATURE and (name.startswith(_OWN) or _ATTRIBUTE.fullmatch(name)):
            yield name, repr(value)
