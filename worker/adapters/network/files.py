"""Downloads events' files."""

from dataclasses import dataclass

import aiohttp
from pydantic import SecretStr
from yarl import URL

from worker.adapters.network.http import GuardedSession, TooLarge, read_at_most
from worker.domain.events.models import File
from worker.errors import ConfigurationError, EgressDenied, FileUnavailable, Unavailable

_GONE = frozenset({403, 404, 410})
_PAGES = frozenset({"text/html", "application/xhtml+xml", "application/octet-stream"})  # the last says nothing


@dataclass(frozen=True, slots=True)
class FileServerToken:
    """A bearer token and the one origin it is sent to, such as `https://files.product.example`."""

    origin: str
    token: SecretStr

    def __post_init__(self) -> None:
        if not self.origin.startswith("https://") or not self.is_for(self.origin):
            raise ConfigurationError("a file server with a token is given as https://host or https://host:port")

    def is_for(self, url: str) -> bool:
        """True when the URL has exactly this origin; a shared prefix or suffix of the host is not enough."""
        try:
            return URL(url).origin() == URL(self.origin).origin()
        except ValueError:
            return False


class HttpFileStore:
    """Files over HTTP; implements `FileStore`. Every download is bounded in size and time."""

    def __init__(
        self, session: GuardedSession, *, timeout_s: float = 120.0, token: FileServerToken | None = None
    ) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._token = token

    async def fetch(self, file: File, max_bytes: int) -> bytes:
        """See `FileStore`."""
        try:
            async with self._session.get(file.url, timeout_s=self._timeout_s, headers=self._headers(file)) as response:
                if response.status == 200:
                    _refuse_page(response, file)
                    return await read_at_most(response, max_bytes)
        except EgressDenied as error:
            raise FileUnavailable(f"a file's URL may not be used: {error}", is_permanent=True) from None
        except Unavailable as error:
            raise FileUnavailable(f"a file cannot be downloaded: {error}", is_permanent=False) from None
        except TooLarge:
            raise FileUnavailable(f"a file has more than {max_bytes} bytes", is_permanent=True) from None
        raise FileUnavailable(
            f"{response.url.host} has no file for us: status {response.status}", is_permanent=response.status in _GONE
        )

    def _headers(self, file: File) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}  # the file itself, not a compressed form that may be a bomb
        if self._token is not None and self._token.is_for(file.url):
            headers["Authorization"] = f"Bearer {self._token.token.get_secret_value()}"
        return headers


def _refuse_page(response: aiohttp.ClientResponse, file: File) -> None:
    """Refuse an HTML page in place of a file: expired links often return one with status 200."""
    if response.content_type == "text/html" and file.content_type.partition(";")[0] not in _PAGES:
        raise FileUnavailable(
            f"{response.url.host} has a page for us where a file of another type was expected", is_permanent=True
        )
