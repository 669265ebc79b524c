"""What transactional services are asked in headers: exactly what they document, and nothing that is another header."""

import json
from email import message_from_bytes, policy
from typing import Any

import pytest
from pydantic import ValidationError

from tests.builders import a_comment_event, a_mailbox, a_sender, an_account
from tests.letter_reader import composed, defects, read
from worker.domain.snapshot.lint import advice
from worker.domain.snapshot.model import Mailbox

MAILGUN = {
    "provider": "mailgun",
    "tags": ["crm", "order update"],
    "track": True,
    "track_opens": False,
    "track_clicks": "html_only",
    "metadata": {"task": "4711", "client": "Клиент  из  Москвы"},
    "dkim": True,
    "require_tls": True,
}
SPARKPOST = {
    "provider": "sparkpost",
    "campaign": "crm",
    "tags": ["a", "b c"],
    "track_opens": True,
    "track_clicks": False,
    "transactional": True,
    "ip_pool": "sp_shared",
    "metadata": {"task": "4711", "note": 'two  spaces, кириллица, "quotes" and \\ slashes ' + "x" * 60},
}


def mailbox(host: str, service: dict[str, Any] | None = None) -> Mailbox:
    return a_mailbox(smtp={"host": host}, service=service)


def headers(host: str, service: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    letter = composed(a_comment_event(), a_sender(mailbox(host, service)))
    assert defects(read(letter.wire)) == []
    assert all(line.strip() for line in letter.wire.partition(b"\r\n\r\n")[0].split(b"\r\n"))
    assert max(map(len, letter.wire.split(b"\r\n"))) <= 998
    message = message_from_bytes(letter.wire, policy=policy.compat32)
    return [(name, value.replace("\r\n", "")) for name, value in message.items() if name.startswith("X-M")]


def test_mailgun_gets_its_headers() -> None:
    found = headers("smtp.eu.mailgun.org", MAILGUN)
    variables = found.pop()
    assert found == [
        ("X-Mailgun-Tag", "crm"),
        ("X-Mailgun-Tag", "order update"),
        ("X-Mailgun-Track", "yes"),
        ("X-Mailgun-Track-Opens", "no"),
        ("X-Mailgun-Track-Clicks", "htmlonly"),
        ("X-Mailgun-Dkim", "yes"),
        ("X-Mailgun-Require-TLS", "yes"),
    ]
    assert variables[0] == "X-Mailgun-Variables"
    assert json.loads(variables[1]) == MAILGUN["metadata"]
    assert variables[1].isascii()


def test_sparkpost_gets_one_object() -> None:
    ((name, value),) = headers("smtp.sparkpostmail.com", SPARKPOST)
    assert name == "X-MSYS-API"
    assert json.loads(value) == {
        "campaign_id": "crm",
        "tags": ["a", "b c"],
        "options": {"open_tracking": True, "click_tracking": False, "transactional": True, "ip_pool": "sp_shared"},
        "metadata": SPARKPOST["metadata"],
    }


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("smtp.acme.example", MAILGUN),
        ("smtp.mailgun.org", SPARKPOST),
        ("smtp.sparkpostmail.com", MAILGUN),
        ("smtp.mailgun.org", None),
        ("smtp.mailgun.org", {"provider": "mailgun"}),
        ("smtp.sparkpostmail.com", {"provider": "sparkpost"}),
    ],
)
def test_other_providers_and_settings_that_say_nothing_get_none(host: str, service: dict[str, Any] | None) -> None:
    assert headers(host, service) == []


def test_settings_for_another_provider_are_told_of() -> None:
    right = a_mailbox(id="mb-right", smtp={"host": "smtp.mailgun.org"}, service=MAILGUN)
    account = an_account(mailboxes=[mailbox("smtp.acme.example", MAILGUN), right])
    [(position, problem)] = [(position, text) for position, path, text in advice(account, 20) if path == "service"]
    assert position == 0
    assert problem.startswith("is for mailgun, but smtp.acme.example")


@pytest.mark.parametrize(
    ("service", "field", "value"),
    [
        (MAILGUN, "tags", ["a\r\nBcc: eve@x.example"]),
        (MAILGUN, "tags", ["two  spaces"]),
        (MAILGUN, "tags", ["тег"]),
        (MAILGUN, "tags", [""]),
        (MAILGUN, "tags", ["x"] * 11),
        (MAILGUN, "track_clicks", "sometimes"),
        (MAILGUN, "metadata", {"na me": "x"}),
        (MAILGUN, "metadata", {"a\n": "x"}),
        (MAILGUN, "metadata", {"name": "x" * 2_000}),
        (MAILGUN, "metadata", {"name": {"deep": "x"}}),
        (SPARKPOST, "campaign", "x" * 65),
        (SPARKPOST, "ip_pool", "a b"),
        (SPARKPOST, "metadata", {f"n{n}": "x" * 200 for n in range(6)}),
        (SPARKPOST, "provider", "sendpulse"),
    ],
)
def test_what_the_service_would_not_take_is_refused_at_the_edge(
    service: dict[str, Any], field: str, value: Any
) -> None:
    with pytest.raises(ValidationError):
        mailbox("smtp.mailgun.org", {**service, field: value})


@pytest.mark.parametrize("text", ["\r\nBcc: eve@x.example", "\x00\x1b[31m", "\u2028", "😀", "  " * 40, "</script>"])
def test_no_metadata_becomes_a_header(text: str) -> None:
    for provider, host in (("mailgun", "smtp.mailgun.org"), ("sparkpost", "smtp.sparkpostmail.com")):
        ((_, value),) = headers(host, {"provider": provider, "metadata": {"note": text}})
        found = json.loads(value)
        assert (found if provider == "mailgun" else found["metadata"]) == {"note": text}


def test_postmark_is_asked_to_keep_the_message_id() -> None:
    """Else answers carry a Message-ID that the product never saw."""
    letter = composed(a_comment_event(), a_sender(mailbox("smtp.postmarkapp.com")))
    assert b"\r\nX-PM-KeepID: true\r\n" in letter.wire
    assert b"X-PM-KeepID" not in composed(a_comment_event(), a_sender(mailbox("smtp.acme.example"))).wire
