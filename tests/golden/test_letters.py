"""Letters that must stay the same for ever, byte for byte.

A letter may be composed again hours later by another version of the worker, and must be the same letter: a copy in
Sent that differs from what was sent, or a second reading of the same Message-ID, is a defect. When a change is
nevertheless meant, `python -m tests.golden.test_letters` writes the files anew; read their diff before committing.
"""

from pathlib import Path

import pytest

from tests.builders import NOON, a_comment_event, a_mailbox, a_recipient, a_sender, a_task_event, an_employee
from tests.letter_reader import composed, defects, read
from worker.domain.letter.model import Attachment, ComposedLetter

LETTERS = Path(__file__).parent / "letters"


def internal() -> ComposedLetter:
    """A free account: no signature, the internal address, HTML alone in ASCII."""
    event = a_comment_event(
        task={"title": "Air conditioning"}, comment={"html": "<p>Tomorrow.</p>"}, append_signature=True
    )
    return composed(event, a_sender(is_entitled=False, plan="free"))


def full() -> ComposedLetter:
    """Everything at once: mailbox, signature, plain text, thread, links, an attachment, history, pixel."""
    event = a_comment_event(
        comment={"html": "<p>Мастер приедет завтра.</p><ul><li>утром</li><li>с <b>деталями</b></li></ul>"},
        recipients=[
            a_recipient(),
            a_recipient("second@пример.рф", name="Smith, John", role="cc"),
            a_recipient("hidden@example.net", name="", role="bcc"),
        ],
        thread={"in_reply_to": "<2@example.net>", "references": ["<1@example.net>", "<2@example.net>"]},
        append_signature=True,
        history_html="<blockquote><p>Когда приедет мастер?</p></blockquote>",
        open_tracking_url="https://pixel.product.example/1?a=1&b=2",
    )
    mailbox = a_mailbox(address="support@ремонт.рф", display_name="Ремонт, сервис и ещё что-нибудь длинное")
    sender = a_sender(
        mailbox,
        employees=[an_employee(signature_html="<p>С уважением,<br>Иван</p>")],
        settings={"name_all_recipients": True, "plain_text_version": True},
    )
    link = Attachment("план & смета.xlsx", "application/vnd.ms-excel", 1, "https://product.example/d/1?a=1&b=2")
    pdf = Attachment("Смета на ремонт кондиционера, второй этаж.pdf", "application/pdf", 8, link.link, b"%PDF-1.7")
    return composed(event, sender, (link, pdf))


def new_task() -> ComposedLetter:
    """A new task with a unique reply address, written in another zone of time, as a document of its own."""
    created_at = NOON.replace(tzinfo=None).isoformat() + "+05:30"
    event = a_task_event(
        task={"title": "Ремонт", "html": "<html><body><p>Не охлаждает.</p></body></html>", "created_at": created_at},
        reply_to="r-0192f3@acme.product.example",
        append_signature=True,
    )
    return composed(event, a_sender(a_mailbox(replies_to_same_address=True, signature_html="<p>ACME</p>")))


def hostile() -> ComposedLetter:
    """Line breaks, long words and strange names where they can stand."""
    event = a_comment_event(
        subject='x\r\nBcc: eve@example.net =?utf-8?q?=0D=0A?= "' + "y" * 200,
        recipients=[a_recipient("клиент@example.net", name='Eve" <eve@example.net>,\r\n')],
        task={"id": "задача 1"},
        comment={"html": "<p>a\x00b\rc</p></body>.\n.\n" + "z" * 1_200},
        thread={"in_reply_to": "<a@b>\r\nX: y", "references": [f"<{n}@example.net>" for n in range(10_000)]},
    )
    executable = Attachment("..\\..\\\u202efdp.exe", "text/html\r\nX: y", 1, "javascript:alert(1)", b"MZ")
    return composed(event, a_sender(a_mailbox(display_name="=?x?=")), (executable,))


GOLDEN = {"internal": internal, "full": full, "new_task": new_task, "hostile": hostile}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_letter_is_the_same_for_ever(name: str) -> None:
    wire = GOLDEN[name]().wire
    assert wire == (LETTERS / f"{name}.eml").read_bytes()
    if wire.isascii():
        assert not defects(read(wire))


if __name__ == "__main__":
    for name, letter in GOLDEN.items():
        (LETTERS / f"{name}.eml").write_bytes(letter().wire)
