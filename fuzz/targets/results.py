"""Result events, as they are read back from the ledger and by consumers."""

from fuzz.target import Target
from worker.domain.results.events import parse_result, to_message


def check(data: bytes) -> None:
    """A result that comes out as it went in, or a ValueError."""
    try:
        result = parse_result(data)
    except ValueError:
        return
    message = to_message(result)
    again = parse_result(message.body)
    assert to_message(again) == message


TARGET = Target(
    check,
    tokens=(
        *(b'"type":"mail.sent"', b'"type":"mail.failed"', b'"type":"mailbox.checked"', b'"type":"sent_copy.saved"'),
        *(
            b'"recipients":[',
            b'"outcome":',
            b'"reply":{"code":',
            b'"hint":{"en":',
            b'"timings":{',
            b"\\ud800",
            b"1e400",
        ),
    ),
)
