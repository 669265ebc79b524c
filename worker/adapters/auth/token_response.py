"""Parses token endpoint responses (RFC 6749 section 5) as untrusted input: customers choose the endpoints.

No server text goes into an error: some servers repeat the submitted token in `error_description`.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from worker.domain.events.strict_json import read_any_json
from worker.errors import TokenRefused, Unavailable

MAX_RESPONSE_BYTES = 64 * 1024

_MAX_TOKEN_CHARS = 16 * 1024
_DEFAULT_LIFETIME_S = 300.0  # if the server omits it; RFC 6749 only recommends it
_MAX_LIFETIME_S = 86_400.0
_TOKEN = re.compile(r"[\x20-\x7e]+")  # VSCHAR, RFC 6749 appendix A

# RFC 6749 section 5.2, OpenID Connect Core section 3.1.2.6: permanent errors of the grant or the client.
_FINAL_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "interaction_required",
        "login_required",
        "consent_required",
    }
)
_REFUSAL_STATUSES = frozenset({400, 401, 403})
# Microsoft's own code says far more than `invalid_grant`; digits cannot be a token.
_MICROSOFT_CODE = re.compile(r"\bAADSTS[0-9]{5,8}\b")


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A granted token; `refresh_token` if the server issued a new one."""

    access_token: SecretStr
    lifetime_s: float
    refresh_token: SecretStr | None


def parse_token_response(status: int, body: bytes, host: str) -> TokenResponse:
    """Parse the response of the endpoint at `host`.

    Raises:
        TokenRefused: the endpoint refuses this grant or client in the form of RFC 6749.
        Unavailable: anything else that is not a token, including error pages of proxies: a retry may help.
    """
    document = _parse_object(body)
    if status != 200:
        raise _refusal(status, document, host)
    token = _token(document.get("access_token"))
    if token is None:
        raise Unavailable(f"{host} answered without an access token")
    kind = document.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Unavailable(f"{host} answered with a token that is not a bearer token")
    return TokenResponse(token, _lifetime_s(document.get("expires_in")), _token(document.get("refresh_token")))


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        document = read_any_json(body.decode())
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(status: int, document: dict[str, Any], host: str) -> TokenRefused | Unavailable:
    error = document.get("error")
    if status in _REFUSAL_STATUSES and isinstance(error, str) and error in _FINAL_ERRORS:
        number = _MICROSOFT_CODE.search(str(document.get("error_description", "")))
        return TokenRefused(f"{host} refused: {error}" + (f" ({number.group()})" if number else ""))
    return Unavailable(f"{host} answered with status {status} and no token")


def _token(value: object) -> SecretStr | None:
    if isinstance(value, str) and len(value) <= _MAX_TOKEN_CHARS and _TOKEN.fullmatch(value):
        return SecretStr(value)
    return None


def _lifetime_s(value: object) -> float:
    """Seconds from a number or, as some servers send it, from text."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return _DEFAULT_LIFETIME_S
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return _DEFAULT_LIFETIME_S
    if math.isnan(seconds):
        return _DEFAULT_LIFETIME_S
    return min(max(seconds, 0.0), _MAX_LIFETIME_S)
