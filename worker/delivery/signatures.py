"""Signatures by which a worker recognises messages made by workers of its own installation.

A client that may publish to the product's exchange, or to a queue by its name, can write any header. Headers named
`sendas-…` (attempts, age, remaining recipients, owner of a copy) are trusted only with a signature over them, by a key
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
# What an event is read from in binary mode. No consumer reads longer names, and AMQP cuts them.
_ATTRIBUTE = re.compile(r"(?:ce-|cloudevents[_:])[a-z0-9]{1,40}", re.IGNORECASE)
_AT_ONCE_BYTES = 256 * 1024  # takes less than a millisecond; more is digested off the event loop


class Signatures:
    """Signs messages for our own queues, and strips our headers from arriving messages that are unsigned.

    Args:
        key: a secret of at least 16 bytes that all workers of an installation share.

    The signature is keyed BLAKE2b (RFC 7693) over the body, the content type, and the headers that are ours or an
    event's attributes. Brokers may change other headers on the way.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("the key of the messages is too short")
        self._key = key

    async def signed(self, publication: Publication) -> Publication:
        """The message with its signature if it goes to a queue; results carry none."""
        if publication.exchange:
            return publication
        headers = {name: value for name, value in publication.headers.items() if name != SIGNATURE}
        signature = await _beside(self.signature, headers, publication.content_type, publication.body)
        return replace(publication, headers={**headers, SIGNATURE: signature})

    async def trusted(self, arrival: Arrival) -> Arrival:
        """The message with only those of our headers that can be trusted: all if signed, none otherwise."""
        if not any(name.startswith(_OWN) for name in arrival.headers):
            return arrival
        given = arrival.headers, arrival.content_type, arrival.body
        if await _beside(self.is_ours, *given):
            headers = {name: value for name, value in arrival.headers.items() if name != SIGNATURE}
        else:
            headers = {name: value for name, value in arrival.headers.items() if not name.startswith(_OWN)}
        return replace(arrival, headers=headers)

    def is_ours(self, headers: Mapping[str, object], content_type: str | None, body: bytes) -> bool:
        """True when a worker of this installation signed exactly this message."""
        given = headers.get(SIGNATURE)
        if not isinstance(given, str):
            return False
        signature = self.signature(headers, content_type, body)
        return hmac.compare_digest(signature.encode(), given.encode("utf-8", "replace"))

    def signature(self, headers: Mapping[str, object], content_type: str | None, body: bytes) -> str:
        """The value of the header `SIGNATURE` for this message."""
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
    """Run it, in a thread when the body is large, so that the event loop never stalls."""
    if len(body) <= _AT_ONCE_BYTES:
        return work(headers, content_type, body)
    return await asyncio.to_thread(work, headers, content_type, body)


def _covered(headers: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if name != SIGNATURE and (name.startswith(_OWN) or _ATTRIBUTE.fullmatch(name)):
            yield name, repr(value)
