"""What token endpoints answer: the first line is the status, the rest the body."""

from fuzz.target import CANARY, Target
from fuzz.words import check_shown
from worker.adapters.auth.token_response import parse_token_response
from worker.errors import TokenRefused, Unavailable

_DAY_S = 86_400.0


def check(data: bytes) -> None:
    """A token with a lifetime that can be counted on, or one of two errors, in which nothing of the answer stands."""
    status, _, body = data.partition(b"\n")
    try:
        granted = parse_token_response(_status(status), body, "login.example")
    except (TokenRefused, Unavailable) as error:
        assert CANARY not in str(error), error
        check_shown(str(error))
        return
    assert 0.0 <= granted.lifetime_s <= _DAY_S
    for token in (granted.access_token, granted.refresh_token):
        assert token is None or (token.get_secret_value().isascii() and token.get_secret_value().isprintable())
    assert CANARY not in repr(granted)


def _status(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) == 3 else 200


TARGET = Target(
    check,
    tokens=(
        *(
            b'"access_token":"',
            b'"token_type":"Bearer"',
            b'"expires_in":',
            b'"refresh_token":"',
            b'"error":"invalid_grant"',
        ),
        *(b'"error_description":"AADSTS70008: ', b"NaN", b"Infinity", b"-1e999", b"\\u0000", CANARY.encode()),
    ),
)
