"""The HTTP session that exports spans, with the worker's TLS context instead of the libraries' defaults."""

import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter


def session(tls: ssl.SSLContext) -> requests.Session:
    """A session that verifies servers with this context."""
    made = requests.Session()
    made.mount("https://", _Adapter(tls))
    return made


class _Adapter(HTTPAdapter):
    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **kwargs, ssl_context=self._tls)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Skip the CA bundle of requests, which would be trusted in addition to what the operator chose."""
        super().cert_verify(conn, url, verify, cert)
        if verify is True:
            conn.ca_certs = None
