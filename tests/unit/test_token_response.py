"""Reading what token endpoints answer, of which some are hostile and many are sloppy."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters.auth.token_response import parse_token_response
from worker.errors import TokenRefused, Unavailable

GOOD: dict[str, Any] = {"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600}


def body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_token_with_its_lifetime_and_a_new_refresh_token() -> None:
    response = parse_token_response(200, body(refresh_token="rt-2"), "t.example")
    assert response.access_token.get_secret_value() == "at-1"
    assert response.lifetime_s == 3600
    assert response.refresh_token is not None
    assert response.refresh_token.get_secret_value() == "rt-2"


@pytest.mark.parametrize(
    ("expires_in", "lifetime_s"),
    [("3600", 3600), (59.5, 59.5), (None, 300), (True, 300), ("soon", 300), ([], 300), (-1, 0), (0, 0), (1e12, 86_400)],
)
def test_odd_lifetimes_are_read_with_care(expires_in: Any, lifetime_s: float) -> None:
    assert parse_token_response(200, body(expires_in=expires_in), "t.example").lifetime_s == lifetime_s


def test_lifetimes_that_json_should_not_have() -> None:
    assert parse_token_response(200, body(expires_in=float("nan")), "t.example").lifetime_s == 300
    assert parse_token_response(200, body(expires_in=10**400), "t.example").lifetime_s == 300
    assert parse_token_response(200, body(expires_in=float("inf")), "t.example").lifetime_s == 86_400


@pytest.mark.parametrize(
    "error", ["invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "interaction_required"]
)
@pytest.mark.parametrize("status", [400, 401])
def test_a_refusal_in_the_form_of_the_rfc_is_final(status: int, error: str) -> None:
    with pytest.raises(TokenRefused, match=error):
        parse_token_response(status, json.dumps({"error": error}).encode(), "t.example")


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, b'{"error":"invalid_grant"}'),
        (503, b""),
        (429, b'{"error":"slow_down"}'),
        (400, b'{"error":"temporarily_unavailable"}'),
        (400, b'{"error":"server_error"}'),
        (400, b'{"error":["invalid_grant"]}'),
        (400, b"<html>invalid_grant</html>"),
        (403, b"<html>Access denied by the firewall</html>"),
        (404, b"<html>not found</html>"),
        (302, b""),
        (200, b"<html>sign in, please</html>"),
        (200, b"garbage"),
        (200, b"\xff\xfe"),
        (200, b"null"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b"[" * 60_000),
        (200, body(access_token=None)),
        (200, body(access_token="")),
        (200, body(access_token=7)),
        (200, body(access_token="a\r\nb")),
        (200, body(access_token="\x01")),
        (200, body(access_token="токен")),
        (200, body(access_token="a" * 20_000)),
        (200, body(token_type="mac")),
        (200, body(token_type=1)),
    ],
)
def test_anything_else_may_pass_so_the_mailbox_is_not_cut_off_for_it(status: int, content: bytes) -> None:
    with pytest.raises(Unavailable):
        parse_token_response(status, content, "t.example")


def test_a_server_that_repeats_the_token_does_not_get_it_into_the_error() -> None:
    said = {"error": "invalid_grant", "error_description": "AADSTS70008: the token rt-canary has expired"}
    with pytest.raises(TokenRefused) as caught:
        parse_token_response(400, json.dumps(said).encode(), "t.example")
    assert "canary" not in str(caught.value)
    assert "AADSTS70008" in str(caught.value)


@given(
    st.integers(100, 599),
    st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,0e-n', max_size=80).map(str.encode)),
)
def test_any_answer_is_a_token_or_one_of_two_errors(status: int, content: bytes) -> None:
    with pytest.raises((TokenRefused, Unavailable)):
        parse_token_response(status, content, "t.example")
