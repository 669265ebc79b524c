"""Pictures in the HTML of a letter, as the reader of the letter finds them."""

from base64 import b64encode
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

import pytest

from tests.builders import a_comment_event, a_mailbox, a_sender
from tests.letter_reader import composed, defects, read
from worker.domain.events.models import LetterEvent
from worker.domain.letter.model import Attachment
from worker.domain.letter.pictures import MAX_INLINE_BYTES, InlineParts, embedded_bytes
from worker.domain.letter.plan import plan_files

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
BASE64 = b64encode(PNG).decode()
DATA = f"data:image/png;base64,{BASE64}"


def a_letter(html: str, **data: Any) -> LetterEvent:
    return a_comment_event(comment={"html": html}, **data)


def parts_of(message: EmailMessage) -> dict[str, EmailMessage]:
    """The inline parts by their Content-ID."""
    return {str(part["Content-ID"]): part for part in message.walk() if part["Content-ID"]}


def html_of(message: EmailMessage) -> str:
    body = message.get_body(("html",))
    assert body is not None
    return str(body.get_content())


@pytest.mark.parametrize(
    "source",
    [
        f'"{DATA}"',
        f"'{DATA}'",
        DATA.rstrip("="),
        '"data:image/png;base64,' + quote(BASE64, safe="") + '"',
        '" data:image/png;charset=utf-8;BASE64,' + "\n ".join(BASE64) + '"',
        '"' + DATA.replace("+", "&#43;").replace("/", "&#x2F;") + '"',
    ],
    ids=["quoted", "single", "bare", "percent", "folded", "references"],
)
def test_a_picture_in_the_html_goes_along_as_a_part(source: str) -> None:
    message = read(composed(a_letter(f"<p><IMG alt=leak src={source} width=3></p>")).wire)
    assert not defects(message)
    assert message.get_content_type() == "multipart/related"
    [(content_id, picture)] = parts_of(message).items()
    assert picture.get_content_type() == "image/png"
    assert picture.get_content() == PNG
    assert f'src="cid:{content_id.strip("<>")}" width=3>' in html_of(message)
    assert "data:" not in html_of(message)


def test_the_same_picture_in_comment_signature_and_history_goes_along_once_and_is_named_the_same_for_ever() -> None:
    picture = f"<img src='{DATA}'>"
    sender = a_sender(a_mailbox(signature_html=picture), settings={"plain_text_version": True})
    event = a_letter(picture, append_signature=True, history_html=f"<div>{picture}</div>")
    message = read(composed(event, sender, (Attachment("a.pdf", "application/pdf", 1, "", b"x"),)).wire)
    assert not defects(message)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    [content_id] = parts_of(message)
    assert html_of(message).count("cid:") == 3
    assert list(parts_of(read(composed(a_letter(f"x{picture}")).wire))) == [content_id]


@pytest.mark.parametrize("data", [";base64,", ";base64,!!!", ";base64,QUJDR", ","])
def test_a_picture_that_nothing_could_show_leaves_its_alternative_text(data: str) -> None:
    inline = InlineParts("x.example")
    assert inline.take(f'a<img src="data:image/png{data}" alt="the <leak>">b') == "athe &lt;leak&gt;b"
    assert not inline.parts


def test_a_picture_may_be_written_without_base64() -> None:
    inline = InlineParts("x.example")
    inline.take("<img src='data:image/svg+xml;charset=utf-8,%3Csvg/%3E'>")
    assert [(part.name, part.content) for part in inline.parts] == [("picture1.svg", b"<svg/>")]


def test_data_that_is_no_picture_is_left_alone() -> None:
    html = '<img src="data:text/html,x"><a href="data:image/png;base64,QUJD">x</a>'
    assert InlineParts("x.example").take(html) == html


def test_a_picture_for_which_there_is_no_room_leaves_its_alternative_text() -> None:
    other = "data:image/gif;base64," + b64encode(b"GIF89a").decode()
    inline = InlineParts("x.example", max_bytes=len(PNG) + 3)
    html = inline.take(f'<img src="{DATA}"><img src="{other}" alt="a &lt; b"><img src="{DATA}">')
    assert html.count("cid:") == 2
    assert ">a &lt; b<" in html
    assert len(inline.parts) == 1


def a_picture_file(size: int = 5, content_id: str = "leak@files") -> dict[str, object]:
    url = "https://files.product.example/leak.png"
    names = {"name": "leak.png", "content_type": "image/png", "content_id": content_id}
    return {**names, "size": size, "url": url, "link": url}


def test_a_file_that_the_html_shows_goes_along_inline_whatever_the_account_does_with_files() -> None:
    event = a_letter('<img src="cid:leak%40files">', files=[a_picture_file(), a_picture_file(content_id="other")])
    plan = plan_files(event.data, a_sender(is_entitled=False))
    assert [file.content_id for file in plan.inline] == ["leak@files"]
    assert not plan.attached
    shown = Attachment("leak.png", "image/png", 5, "https://x.example/1", b"12345", "leak@files")
    message = read(composed(event, attachments=(shown,)).wire)
    assert not defects(message)
    assert parts_of(message)["<leak@files>"].get_content() == b"12345"
    assert "https://x.example/1" not in html_of(message), "it is seen, so it is no link as well"


def test_a_file_that_does_not_fit_any_more_becomes_a_link_and_its_picture_alternative_text() -> None:
    html = f'<img src="{DATA}"><img src="cid:leak@files" alt="the leak">'
    event = a_letter(html, files=[a_picture_file(MAX_INLINE_BYTES)])
    plan = plan_files(event.data, a_sender())
    assert not plan.inline
    assert plan.room == MAX_INLINE_BYTES - len(PNG)
    left_out = Attachment("leak.png", "image/png", 5, "https://x.example/1", None, "leak@files")
    html = html_of(read(composed(event, attachments=(left_out,)).wire))
    assert ">the leak" in html
    assert "https://x.example/1" in html


def test_attachments_are_links_where_pictures_leave_too_little_room_for_them() -> None:
    ordinary = {**a_picture_file(MAX_INLINE_BYTES - len(PNG)), "content_id": None}
    sender = a_sender(settings={"attach_files": True})
    assert plan_files(a_letter(f"<img src={DATA}>", files=[ordinary]).data, sender).attached
    ordinary["size"] = MAX_INLINE_BYTES - len(PNG) + 1
    assert not plan_files(a_letter(f"<img src={DATA}>", files=[ordinary]).data, sender).attached


def test_each_picture_is_counted_once() -> None:
    assert embedded_bytes([f"<img src={DATA}>" * 3, f"<td background='{DATA}'>", "<p>data: none</p>"]) == len(PNG)


def test_a_reference_to_nothing_that_is_known_stays_as_it_is() -> None:
    html = '<p><img src="cid:of-another-letter"></p>'
    assert InlineParts("x.example").take(html) == html
