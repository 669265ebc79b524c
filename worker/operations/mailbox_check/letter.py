"""The test letter of a check."""

from datetime import datetime
from email.utils import format_datetime

from worker.domain.addresses import parse_address
from worker.domain.headers import NamedAddress, address_field, text_field, token_field
from worker.domain.identity import check_letter_token
from worker.domain.letters import ComposedLetter
from worker.domain.mime import Boundaries, text_part
from worker.domain.snapshot import Mailbox

_SUBJECT = "Test letter / Проверочное письмо"
_TEXT = """\
This letter was sent to test the settings of the mailbox {address}.
It arrived, so letters can be sent from there. Nothing needs to be done.

Это письмо отправлено, чтобы проверить настройки ящика {address}.
Оно дошло, значит, письма из этого ящика уходят. Делать ничего не нужно.
"""


def test_message_id(mailbox: Mailbox, key: str) -> str:
    """The Message-ID that the test letter of a request has, or would have."""
    return f"<{check_letter_token(key)}@{parse_address(mailbox.address).domain}>"


def compose_test_letter(mailbox: Mailbox, recipient: str, key: str, date: datetime) -> ComposedLetter:
    """A short letter from the mailbox; the same request has the same Message-ID, whenever it is composed."""
    sender, to = parse_address(mailbox.address), parse_address(recipient)
    token, message_id = check_letter_token(key), test_message_id(mailbox, key)
    header = "".join(
        (
            token_field("Date", [format_datetime(date)]),
            address_field("From", [NamedAddress(mailbox.display_name, sender)]),
            address_field("To", [NamedAddress("", to)]),
            text_field("Subject", _SUBJECT),
            token_field("Message-ID", [message_id]),
            token_field("Auto-Submitted", ["auto-generated"]),
            token_field("X-Auto-Response-Suppress", ["All"]),
            token_field("MIME-Version", ["1.0"]),
        )
    )
    wire = header.encode() + text_part("plain", _TEXT.format(address=mailbox.address), Boundaries(token))
    return ComposedLetter(
        message_id=message_id,
        date=date,
        envelope_from=sender.wire,
        envelope_to=(to.wire,),
        wire=wire,
        copy=wire,
        needs_smtputf8=sender.needs_smtputf8 or to.needs_smtputf8,
    )
