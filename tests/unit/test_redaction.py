"""A secret in a server's words is hidden, however the server writes it; everything else stays."""

import base64
from urllib.parse import quote

import pytest

from worker.adapters.auth.redaction import HIDDEN, Redaction

PASSWORD = 'canary-Pa55 w\\ö"rd+/'
TOKEN = "ya29." + "canaryT0ken_" * 30


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "said",
    [
        PASSWORD,
        encoded(PASSWORD),
        encoded(f"\0user@acme.example\0{PASSWORD}"),
        encoded(f"x{PASSWORD}"),
        encoded(f"xy{PASSWORD}z"),
        base64.urlsafe_b64encode(f"xyz{PASSWORD}".encode()).decode(),
        PASSWORD.encode().hex(),
        quote(PASSWORD, safe=""),
        PASSWORD.replace("\\", "\\\\").replace('"', '\\"'),
        PASSWORD.replace(" ", "\n"),
    ],
    ids=["plain", "base64", "PLAIN", "base64 + 1", "base64 + 2", "base64url", "hex", "URL", "quoted", "folded"],
)
def test_each_form_of_a_password_is_hidden(said: str) -> None:
    hidden = Redaction(PASSWORD)(f"5.7.8 wrong: {said} (again)")
    assert HIDDEN in hidden
    assert hidden.startswith("5.7.8 wrong: ")
    assert hidden.endswith(" (again)")
    for piece in (PASSWORD[:8], encoded(PASSWORD)[4:12], PASSWORD.encode().hex()[:16]):
        assert piece not in hidden


def test_a_long_token_broken_over_the_lines_of_a_reply_is_hidden() -> None:
    """If a server wraps what it got, with its enhanced code on each line, then no piece is left."""
    lines = [TOKEN[start : start + 70] for start in range(0, len(TOKEN), 70)]
    hidden = Redaction(TOKEN)("5.7.8 got\n" + "\n".join(f"5.7.8 {line}" for line in lines) + "\n5.7.8 bye")
    assert "canary" not in hidden
    assert hidden.endswith("bye")


@pytest.mark.parametrize("kept", [16, 40, 200])
def test_a_long_token_that_is_cut_off_is_hidden(kept: int) -> None:
    assert Redaction(TOKEN)(f"bad: {TOKEN[:kept]}") == f"bad: {HIDDEN}"


def test_a_password_that_is_a_common_word_leaves_other_words_whole() -> None:
    assert Redaction("no")("no such node, no.") == "*** such node, ***."


def test_the_form_that_was_sent_is_hidden() -> None:
    assert Redaction("secret", sent=["AGEAc2Vjcm90"])("got AGEAc2Vjcm90") == f"got {HIDDEN}"


def test_without_a_secret_nothing_changes() -> None:
    for redaction in (Redaction(""), Redaction()):
        assert redaction("2.0.0 OK") == "2.0.0 OK"


def test_it_does_not_show_what_it_hides() -> None:
    assert PASSWORD not in repr(Redaction(PASSWORD))


@pytest.mark.parametrize("secret", [PASSWORD, TOKEN, "no", "hunter2"])
@pytest.mark.parametrize("kept", [1, 4, 6, 15])
def test_a_secret_whose_rest_was_cut_off_by_us_is_hidden_by_its_beginning(secret: str, kept: int) -> None:
    """If a text is cut where a secret stands in it, then not even its beginning is shown."""
    begun = secret[: min(kept, len(secret) - 1)]
    assert Redaction(secret)(f"bad: {begun}", is_cut=True) == f"bad: {HIDDEN}"
