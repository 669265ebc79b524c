"""Letters read by programs of others: each finds what the event says."""

from base64 import b64encode

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, a_sender
from tests.interop.matrix import Matrix
from tests.interop.readers import read_by_all
from tests.letter_reader import composed
from worker.domain.letter.model import Attachment

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
NAMES = ["смета.pdf", "O'Brien's file.doc", 'счёт "2", второй этаж; копия.pdf', "щ" * 110 + ".docx", "report.pdf"]


def test_names_texts_pictures_and_files_are_found_by_every_reader(matrix: Matrix) -> None:
    """If a letter has all that a letter can have, then four readers agree about every part of it."""
    picture = f'<img src="data:image/png;base64,{b64encode(PNG).decode()}" alt="leak">'
    event = a_comment_event(
        subject="Ремонт кондиционера: смета и сроки, второй этаж, очень длинная тема письма",
        recipients=[a_recipient(name="Клиент, ООО «Ромашка»"), a_recipient("b@example.net", name="")],
        comment={"html": f"<p>Мастер приедет завтра.</p>{picture}"},
        append_signature=True,
    )
    sender = a_sender(
        a_mailbox(display_name="ACME, поддержка", signature_html=f"<p>Иван</p>{picture}"),
        settings={"name_all_recipients": True, "plain_text_version": True},
    )
    files = tuple(Attachment(name, "application/pdf", 4, "https://x.example", b"%PDF") for name in NAMES)
    letter = composed(event, sender, files)
    for reader, found in read_by_all(letter.wire).items():
        assert found.subject == event.data.subject, reader
        assert found.sender == [("ACME, поддержка", "support@acme.example")], reader
        assert found.to == [("Клиент, ООО «Ромашка»", "client@example.net"), ("", "b@example.net")], reader
        assert found.message_id == letter.message_id, reader
        assert "Мастер приедет завтра." in found.html, reader
        text = found.text.replace("\r\n", "\n").strip()
        assert text == "Мастер приедет завтра.\n\n[leak]\n\n-- \nИван\n\n[leak]", reader
        [inline] = [each for each in found.files if each.content_id is not None]
        assert (inline.type, inline.content, inline.is_inline) == ("image/png", PNG, True), reader
        assert found.html.count(f"cid:{inline.content_id}") == 2, reader
        attached = [each for each in found.files if each.content_id is None]
        assert [each.name for each in attached] == NAMES, reader
        assert all(each.content == b"%PDF" and not each.is_inline for each in attached), reader
        matrix.note(reader, "names and subjects", "HTML and text", "inline pictures", "file names of any script")


@pytest.mark.parametrize("name_all", [True, False])
def test_a_plain_letter_is_just_html_to_every_reader(name_all: bool, matrix: Matrix) -> None:
    letter = composed(sender=a_sender(a_mailbox(), settings={"name_all_recipients": name_all}))
    for reader, found in read_by_all(letter.wire).items():
        assert "<p>" in found.html, reader
        assert not found.files, reader
        matrix.note(reader, "HTML alone")
