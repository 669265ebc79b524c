"""Snapshot documents over HTTP: requested with `If-None-Match`, streamed to a file, bounded in size and time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import aiohttp
from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from yarl import URL

from worker.adapters.network.egress import RefusedLookup
from worker.adapters.network.tls import tls_refusal
from worker.adapters.snapshot.file_source import MAX_DOCUMENT_BYTES, Document, Unchanged
from worker.adapters.snapshot.problems import Refusal, RefusedDocument
from worker.domain.text import has_control_character
from worker.domain.transmission import FailureKind
from worker.errors import ConfigurationError, EgressDenied, Unavailable

_BATCH_BYTES = 1024 * 1024
_OK, _NOT_MODIFIED, _TOO_MANY = 200, 304, 429
_MAX_TAG_CHARS = 1_000


class _Passing(Exception):
    """A transient failure: another attempt in a moment may succeed."""


class HttpSource:
    """A document behind an http or https URL.

    Args:
        url: without user name and password; its query is kept out of messages, as it may hold a secret.
        token: a bearer token, or a file with one, reread for each request so that it can be rotated.
        connector: opens the connections (an egress guard, for example); closed together with the source.
        attempts: within one `fetch`, for transient failures.
        timeout_s: for a whole attempt; `idle_timeout_s` for connecting and for each wait for data.

    Redirects are not followed: the token would go to a host that is not configured.

    Raises:
        ConfigurationError: the URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: SecretStr | Path | None = None,
        connector: aiohttp.BaseConnector | None = None,
        max_bytes: int = MAX_DOCUMENT_BYTES,
        attempts: int = 3,
        max_wait_s: float = 5.0,
        timeout_s: float = 600.0,
        idle_timeout_s: float = 30.0,
    ) -> None:
        self._url = URL(url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ConfigurationError("the snapshot's URL should begin with http:// or https:// and name a host")
        if self._url.user or self._url.password:
            raise ConfigurationError("the snapshot's URL holds a user name or password: set a token instead")
        self._token = token
        self._connector = connector
        self._max_bytes = max_bytes
        self._attempts = attempts
        self._max_wait_s = max_wait_s
        self._timeout = aiohttp.ClientTimeout(timeout_s, sock_connect=idle_timeout_s, sock_read=idle_timeout_s)
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        return str(self._url.with_query(None).with_fragment(None))

    async def fetch(self, tag: str | None, unfinished: Path) -> Document | Unchanged:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(self._attempts),
            wait=wait_random_exponential(multiplier=0.5, max=self._max_wait_s),
            reraise=True,
        )
        try:
            return await retrying(self._attempt, tag, unfinished)
        except _Passing as error:
            raise Unavailable(f"{self.name}: {error}") from None

    async def changes(self) -> AsyncIterator[None]:
        return  # a server does not announce changes; the interval and `configuration.changed` cover them
        yield None  # makes this a generator

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        elif self._connector is not None:
            await self._connector.close()

    async def _attempt(self, tag: str | None, unfinished: Path) -> Document | Unchanged:
        headers = await self._headers(tag)
        if self._session is None:  # created here, where an event loop certainly runs
            self._session = aiohttp.ClientSession(
                connector=self._connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        try:
            async with self._session.get(self._url, headers=headers, allow_redirects=False) as response:
                if response.status == _NOT_MODIFIED and tag is not None:
                    return Unchanged()
                self._require_document(response)
                await self._save(response, unfinished)
                return Document(unfinished, _usable_tag(response.headers.get("ETag")), is_temporary=True)
        except TimeoutError:
            raise _Passing("no answer in time") from None
        except EgressDenied as error:
            raise Unavailable(f"{self.name}: {error}") from None
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, RefusedLookup) and error.os_error.denial.fault is FailureKind.EGRESS:
                raise Unavailable(f"{self.name}: {error.os_error}") from None
            raise _Passing(_said(error)) from None
        except aiohttp.ClientError as error:
            raise _Passing(_said(error)) from None

    async def _headers(self, tag: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if tag is not None:
            headers["If-None-Match"] = tag
        token = await self._bearer_token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    async def _bearer_token(self) -> str | None:
        if self._token is None:
            return None
        if isinstance(self._token, SecretStr):
            return self._token.get_secret_value()
        try:
            token = (await asyncio.to_thread(self._token.read_text, encoding="utf-8")).strip()
        except OSError as error:
            raise Unavailable(f"the token's file {self._token}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise Unavailable(f"the token's file {self._token} is not text") from None
        if not token or not token.isascii() or has_control_character(token):
            raise Unavailable(f"the token's file {self._token} does not hold one line of ASCII text")
        return token

    def _require_document(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status == _OK:
            if response.content_length is not None and response.content_length > self._max_bytes:
                raise self._too_large()
            return
        if status >= 500 or status == _TOO_MANY:
            raise _Passing(f"the answer is {status}")
        if 300 <= status < 400 and status != _NOT_MODIFIED:
            raise Unavailable(f"{self.name}: the answer is a redirect ({status}), which is not followed")
        raise Unavailable(f"{self.name}: the answer is {status}")

    async def _save(self, response: aiohttp.ClientResponse, path: Path) -> None:
        """Write the body in batches from a thread, because a slow disk would stall the event loop."""
        written = 0
        batch = bytearray()
        file = await asyncio.to_thread(path.open, "wb")
        try:
            # Bytes after decompression are counted, so a small answer cannot fill the disk.
            async for chunk in response.content.iter_any():
                batch += chunk
                written += len(chunk)
                if written > self._max_bytes:
                    raise self._too_large()
                if len(batch) >= _BATCH_BYTES:
                    await _write(file, batch)
                    batch = bytearray()
            await _write(file, batch)
        finally:
            await asyncio.to_thread(file.close)

    def _too_large(self) -> RefusedDocument:
        return RefusedDocument(Refusal.TOO_LARGE, f"the document has more than {self._max_bytes} bytes")


async def _write(file: BinaryIO, batch: bytearray) -> None:
    await asyncio.to_thread(file.write, batch)


def _usable_tag(etag: str | None) -> str | None:
    return etag if etag and len(etag) <= _MAX_TAG_CHARS and etag.isascii() else None


def _said(error: aiohttp.ClientError) -> str:
    """Describe the error, without text that could repeat the URL's query or a header."""
    if (refusal := tls_refusal(error)) is not None:
        return refusal
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host's name is not found"
        case aiohttp.ClientConnectorError(os_error=PermissionError()):
            return "connecting to this address is not allowed"
        case aiohttp.ClientConnectorError():
            return "cannot connect"
        case aiohttp.ClientPayloadError():
            return "the answer is cut off or badly encoded"
        case _:
            return f"the connection fails ({type(error).__name__})"
