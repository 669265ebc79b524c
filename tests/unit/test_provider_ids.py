"""Message-IDs that servers put in the place of a letter's own, read out of what they say."""

import pytest

from worker.domain.failure.replies import parse_reply
from worker.domain.providers import provider_of
from worker.domain.transmission import rewritten_message_id

OWN = "<5f0c8f1f0e7f4f0f9d0e6d8a1b2c3d4e@acme.product.example>"
SES_ID = "0100018c5a6b7c8d-1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d-000000"


@pytest.mark.parametrize(
    ("host", "reply", "expected"),
    [
        (
            "smtp-mail.outlook.com",
            "250 2.0.0 OK <AM6PR01MB1234ABCD@AM6PR01MB1234.eurprd01.prod.exchangelabs.com> [Hostname=AM6PR01]",
            "<AM6PR01MB1234ABCD@AM6PR01MB1234.eurprd01.prod.exchangelabs.com>",
        ),
        (
            "smtp.office365.com",
            "250 2.0.0 OK <DB7PR03MB99@DB7PR03MB99.eurprd03.prod.outlook.com> [Hostname=DB7PR03MB99]",
            "<DB7PR03MB99@DB7PR03MB99.eurprd03.prod.outlook.com>",
        ),
        ("smtp.office365.com", f"250 2.0.0 OK {OWN} [Hostname=DB7.outlook.com]", None),
        (
            "mail.acme.example",
            f"250 2.6.0 {OWN} [InternalId=157736968921770, Hostname=EX1] Queued mail for delivery",
            None,
        ),
        (
            "mail.acme.example",
            "250 2.6.0 <b1@EX1.acme.local> [InternalId=1, Hostname=EX1.acme.local] Queued mail for delivery",
            "<b1@EX1.acme.local>",
        ),
        ("email-smtp.us-east-1.amazonaws.com", f"250 Ok {SES_ID}", f"<{SES_ID}@email.amazonses.com>"),
        ("email-smtp.eu-west-1.amazonaws.com", f"250 Ok {SES_ID}", f"<{SES_ID}@eu-west-1.amazonses.com>"),
        ("email-smtp-fips.us-west-2.amazonaws.com", f"250 Ok {SES_ID}", f"<{SES_ID}@us-west-2.amazonses.com>"),
        ("email-smtp.eu-west-1.amazonaws.com", "250 Ok", None),
        (
            "smtp-relay.brevo.com",
            "250 2.0.0 OK: queued as <202311231000.12345@smtp-relay.mailin.fr>",
            "<202311231000.12345@smtp-relay.mailin.fr>",
        ),
        (
            "smtp.gmail.com",
            "250 2.0.0 OK  1700733600 s5-20020a170902a50500b001c736746d33sm1234567plq.217 - gsmtp",
            None,
        ),
        ("smtp.yandex.ru", "250 2.0.0 Ok: queued on mail-nwsmtp-smtp-production-main-45.iva 1700733600-abc", None),
        ("smtp.mail.ru", "250 OK id=1r6abc-0001Ab-2C", None),
        ("smtp.mailgun.org", "250 Great success", None),
        ("smtp.sendgrid.net", "250 Ok: queued as qRxG9b0nQ6mT1w", None),
        ("mail.acme.example", "250 2.0.0 Ok: queued as 4XyZ <not@ours.example>", None),
        ("smtp-mail.outlook.com", "250 2.0.0 OK <broken", None),
        ("smtp-mail.outlook.com", "250 2.0.0 OK <a b@c>", None),
        ("smtp-mail.outlook.com", f"250 2.0.0 OK <{'x' * 400}@outlook.com> [Hostname=x]", None),
        ("smtp-mail.outlook.com", "250 2.0.0 OK", None),
    ],
)
def test_a_rewritten_message_id_is_found_where_the_server_means_one(
    host: str, reply: str, expected: str | None
) -> None:
    """If a server's words name a Message-ID, then it is believed only where these words mean that."""
    assert rewritten_message_id(parse_reply(reply), OWN, provider_of(host), host) == expected
