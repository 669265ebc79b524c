"""What a composed letter says, as its reader sees it."""

from html.parser import HTMLParser
from typing import Any

import pytest

from tests.builders import NOON, a_comment_event, a_mailbox, a_recipient, a_sender, a_task_event, an_employee
from tests.letter_reader import composed, field, names_and_addresses, read, text_of
from worker.domain.letter.compose import compose
from worker.domain.letter.model import Attachment, LetterMode, PlannedLetter
from worker.domain.letter.plan import plan, plan_files

EVERYBODY = [
    a_recipient("to@example.net", name="To"),
    a_recipient("cc@example.net", name="Cc", role="cc"),
    a_recipient("bcc@example.net", name="Bcc", role="bcc"),
]
NAME_ALL = {"name_all_recipients": True}
LINK = Attachment("смета <1>.pdf", "application/pdf", 3, "https://product.example/d/1?a=1&b=2")
PDF = Attachment("смета.pdf", "application/pdf", 4, "https://product.example/d/2", b"%PDF")


class _SeenText(HTMLParser):
    """What is text, and not within an element that browsers do not show, for a parser that is not the composer's."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _UNSEEN or ("style", "display:none") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(self._hidden - (tag in _UNSEEN or tag == "div"), 0)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.seen.append(data)


_UNSEEN = frozenset({"style", "title", "textarea", "script", "details"})


def seen_text(html: str) -> str:
    """The text of a document that a browser shows."""
    reader = _SeenText()
    reader.feed(html)
    reader.close()
    return "".join(reader.seen)


# Who it is from, and who it is to


def test_a_letter_is_from_the_mailbox_with_its_display_name() -> None:
    letter = composed(sender=a_sender(a_mailbox(display_name="ACME", address="support@пример.рф")))
    assert names_and_addresses(letter.wire, "From") == [("ACME", "support@xn--e1afmkfd.xn--p1ai")]
    assert letter.envelope_from == "support@xn--e1afmkfd.xn--p1ai"


def test_if_the_mailbox_has_no_display_name_the_letter_bears_the_employees() -> None:
    letter = composed(sender=a_sender(a_mailbox(display_name="")))
    assert names_and_addresses(letter.wire, "From") == [("Иван Петров", "support@acme.example")]


def test_without_a_mailbox_the_letter_is_from_the_internal_address_and_needs_no_reply_to() -> None:
    letter = composed()
    assert names_and_addresses(letter.wire, "From") == [("Иван Петров", "ivan@acme.product.example")]
    assert field(letter.wire, "Reply-To") is None


@pytest.mark.parametrize(
    ("receives_replies", "reply_to", "expected"),
    [
        (True, None, None),
        (False, None, "ivan@acme.product.example"),
        (True, "r-7@product.example", "r-7@product.example"),
        (False, "r-7@product.example", "r-7@product.example"),
        (False, "support@acme.example", None),
    ],
)
def test_replies_go_where_the_event_says_else_where_the_mailbox_says(
    receives_replies: bool, reply_to: str | None, expected: str | None
) -> None:
    sender = a_sender(a_mailbox(replies_to_same_address=receives_replies))
    letter = composed(a_comment_event(reply_to=reply_to), sender)
    assert [address for _, address in names_and_addresses(letter.wire, "Reply-To")] == ([expected] if expected else [])


def test_a_unique_reply_address_counts_for_an_internal_sender_too() -> None:
    letter = composed(a_comment_event(reply_to="r-7@product.example"))
    assert names_and_addresses(letter.wire, "Reply-To") == [("Иван Петров", "r-7@product.example")]


def test_a_common_letter_names_everybody_but_the_blind_copies_which_only_the_copy_in_sent_shows() -> None:
    letter = composed(a_comment_event(recipients=EVERYBODY), a_sender(settings=NAME_ALL))
    assert names_and_addresses(letter.wire, "To") == [("To", "to@example.net")]
    assert names_and_addresses(letter.wire, "Cc") == [("Cc", "cc@example.net")]
    assert b"bcc" not in letter.wire.lower()
    assert letter.envelope_to == ("to@example.net", "cc@example.net", "bcc@example.net")
    assert names_and_addresses(letter.copy, "Bcc") == [("Bcc", "bcc@example.net")]
    assert letter.copy.replace(b"Bcc: Bcc <bcc@example.net>\r\n", b"") == letter.wire


def test_if_all_are_blind_copies_the_letter_says_so_and_names_nobody() -> None:
    letter = composed(a_comment_event(recipients=[EVERYBODY[2]]), a_sender(settings=NAME_ALL))
    assert field(letter.wire, "To") == "undisclosed-recipients:;"
    assert letter.envelope_to == ("bcc@example.net",)


def test_a_letter_of_ones_own_names_its_recipient_alone_whatever_the_role() -> None:
    event, sender = a_comment_event(recipients=EVERYBODY), a_sender()
    letters = [compose(event, sender, letter) for letter in plan(event.data, sender.account.settings)]
    assert [names_and_addresses(letter.copy, "To") for letter in letters] == [
        [("To", "to@example.net")],
        [("Cc", "cc@example.net")],
        [("Bcc", "bcc@example.net")],
    ]
    assert [letter.envelope_to for letter in letters] == [
        ("to@example.net",),
        ("cc@example.net",),
        ("bcc@example.net",),
    ]
    assert all(field(letter.copy, name) is None for letter in letters for name in ("Cc", "Bcc"))
    assert len({letter.message_id for letter in letters}) == 3


def test_if_some_have_the_common_letter_already_the_others_get_the_very_same_one() -> None:
    event, sender = a_comment_event(recipients=EVERYBODY), a_sender(settings=NAME_ALL)
    again = compose(event, sender, PlannedLetter(LetterMode.COMMON, (0, 1, 2), (1,)))
    assert again.wire == composed(event, sender).wire
    assert again.envelope_to == ("cc@example.net",)


# Subject, identity, thread


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        ({}, "Re: Ремонт кондиционера"),
        ({"task": {"title": "RE: Счёт"}}, "RE: Счёт"),
        ({"task": {"title": "Report"}}, "Re: Report"),
        ({"task": {"title": ""}}, "Re:"),
        ({"subject": "Счёт"}, "Счёт"),
        ({"subject": "a\r\nBcc: eve@x.example"}, "a Bcc: eve@x.example"),
    ],
)
def test_a_comments_subject_is_the_events_else_a_reply_to_the_tasks_title(fields: dict[str, Any], subject: str) -> None:
    assert field(composed(a_comment_event(**fields)).wire, "Subject") == subject


def test_a_new_tasks_subject_is_its_title() -> None:
    assert field(composed(a_task_event()).wire, "Subject") == "Ремонт кондиционера"


def test_the_message_id_stays_when_the_sender_changes_between_two_attempts() -> None:
    before = composed(sender=a_sender(a_mailbox()))
    after = composed(sender=a_sender(is_entitled=False, plan="free"))
    assert before.message_id == after.message_id == field(after.wire, "Message-ID")
    assert before.message_id.endswith("@acme.product.example>")


def test_letters_of_different_events_have_different_message_ids() -> None:
    assert composed(a_comment_event("evt-1")).message_id != composed(a_comment_event("evt-2")).message_id


def test_the_date_is_when_the_author_wrote_it() -> None:
    letter = composed()
    assert field(letter.wire, "Date") == "Mon, 23 Nov 2026 12:00:00 +0000"
    assert letter.date == NOON


def test_a_reply_names_what_it_answers_and_the_conversation() -> None:
    thread = {"in_reply_to": "<b@x.example>", "references": ["<a@x.example>", "malformed"]}
    letter = composed(a_comment_event(thread=thread))
    assert field(letter.wire, "In-Reply-To") == "<b@x.example>"
    assert field(letter.wire, "References") == "<a@x.example> <b@x.example>"


def test_programs_find_task_and_comment_in_fields_of_their_own() -> None:
    comment = composed(a_comment_event(task={"id": "задача 1"}, comment={"id": "c-1"}))
    assert field(comment.wire, "X-Sendas-Task") == "задача 1"
    assert field(comment.wire, "X-Sendas-Comment") == "c-1"
    assert field(composed(a_task_event()).wire, "X-Sendas-Comment") is None


_OF_MACHINES = {"auto-submitted", "x-auto-response-suppress", "precedence", "list-unsubscribe", "list-id"}


def test_nothing_marks_what_a_person_wrote_as_made_by_a_machine() -> None:
    letter = read(composed(sender=a_sender(a_mailbox())).wire)
    assert not _OF_MACHINES & {name.lower() for name in letter}


def test_what_no_person_wrote_says_so_but_is_no_bulk_mail() -> None:
    letter = read(composed(a_comment_event(automated=True), a_sender(a_mailbox())).wire)
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["X-Auto-Response-Suppress"] == "OOF, AutoReply"
    assert not {"precedence", "list-unsubscribe", "list-id"} & {name.lower() for name in letter}


def test_a_common_letter_to_cc_alone_has_a_to_as_well() -> None:
    event = a_comment_event(recipients=[a_recipient("cc@example.net", name="Cc", role="cc")])
    letter = composed(event, a_sender(settings=NAME_ALL))
    assert field(letter.wire, "To") == "undisclosed-recipients:;"
    assert names_and_addresses(letter.wire, "Cc") == [("Cc", "cc@example.net")]


def test_a_field_of_many_recipients_stays_short_enough_for_servers() -> None:
    many = [a_recipient(f"client-{n:04}@example.net", name="Клиент с длинным именем " * 4) for n in range(1_000)]
    letter = composed(a_comment_event(recipients=many), a_sender(settings=NAME_ALL))
    assert names_and_addresses(letter.wire, "To") == [("", f"client-{n:04}@example.net") for n in range(1_000)]
    long = [a_recipient(f"{n:04}{'x' * 60}@{'y' * 60}.{'z' * 60}.example") for n in range(1_000)]
    letter = composed(a_comment_event(recipients=long), a_sender(settings=NAME_ALL))
    header, _, _ = letter.wire.partition(b"\r\n\r\n")
    assert 40_000 < len(header) < 64_000
    assert len(letter.envelope_to) == 1_000
    few = composed(a_comment_event(recipients=many[:20]), a_sender(settings=NAME_ALL))
    assert names_and_addresses(few.wire, "To")[0][0].startswith("Клиент")


@pytest.mark.parametrize(
    "stale",
    [
        '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">',
        "<META CHARSET=koi8-r />",
        "<meta content='text/html; charset=iso-8859-1' http-equiv=content-type>",
    ],
)
@pytest.mark.parametrize("html", ["<html><head>{}</head><body><p>завтра</p></body></html>", "<p>{}завтра</p>"])
def test_a_stale_declaration_of_the_character_set_does_not_stay(stale: str, html: str) -> None:
    event = a_comment_event(comment={"html": html.format(stale)}, history_html=stale)
    composed_html = text_of(read(composed(event).wire), "html")
    assert "завтра" in composed_html
    assert composed_html.count("<meta") == composed_html.count('<meta charset="utf-8">')


@pytest.mark.parametrize(
    "html",
    [
        "<p>x</p><style>p{}",
        "<title>x",
        "<textarea>x",
        "<script>x",
        "<plaintext>x",
        '<a href="x',
        "<details><summary>x</summary>",
        "<div style='display:none'>x",
        "<html><body><p>x</p></body><!-- </body> --></html>",
        "<html><body><p>x</p><style>",
        "<html><body><p>x</p><!-- ",
        "<html><head><title>x",
    ],
)
def test_nothing_that_the_author_left_open_hides_signature_files_history_or_pixel(html: str) -> None:
    event = a_comment_event(
        comment={"html": html},
        append_signature=True,
        history_html="<p>HISTORY</p>",
        open_tracking_url="https://product.example/pixel",
    )
    sender = a_sender(a_mailbox(signature_html="<p>SIGNATURE</p>"), settings={"plain_text_version": True})
    message = read(composed(event, sender, (LINK,)).wire)
    for subtype in ("html", "plain"):
        seen = seen_text(text_of(message, "html")) if subtype == "html" else text_of(message, "plain")
        assert "SIGNATURE" in seen
        assert "смета" in seen
        assert "HISTORY" in seen
    assert "https://product.example/pixel" in text_of(message, "html")


def test_the_text_version_says_all_that_follows_however_long_the_letter_is() -> None:
    event = a_comment_event(
        comment={"html": "<p>word</p>" * 100_000}, append_signature=True, history_html="<p>HISTORY</p>"
    )
    sender = a_sender(a_mailbox(signature_html="<p>Ivan</p>"), settings={"plain_text_version": True})
    text = text_of(read(composed(event, sender, (LINK,)).wire), "plain").replace("\r\n", "\n")
    assert "\n\n[…]\n\n-- \nIvan\n\n- смета <1>.pdf <https://product.example/d/1?a=1&b=2>\n\nHISTORY" in text


# SMTPUTF8


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"recipients": [a_recipient("client@пример.рф", name="Клиент")], "subject": "Счёт"}, False),
        ({"recipients": [a_recipient("клиент@пример.рф")]}, True),
        ({"reply_to": "ответ@product.example"}, True),
    ],
)
def test_only_a_local_part_outside_ascii_needs_smtputf8(fields: dict[str, Any], needs: bool) -> None:
    letter = composed(a_comment_event(**fields))
    assert letter.needs_smtputf8 is needs
    assert letter.wire.isascii() is not needs


def test_an_address_outside_ascii_stands_in_the_letter_in_utf_8() -> None:
    letter = composed(a_comment_event(recipients=[a_recipient("клиент@пример.рф")]))
    assert names_and_addresses(letter.wire, "To") == [("Клиент", "клиент@xn--e1afmkfd.xn--p1ai")]
    assert letter.envelope_to == ("клиент@xn--e1afmkfd.xn--p1ai",)


def test_if_a_common_letter_names_such_an_address_it_needs_smtputf8_for_the_others_too() -> None:
    event = a_comment_event(recipients=[a_recipient("клиент@пример.рф"), a_recipient()])
    assert compose(event, a_sender(), PlannedLetter(LetterMode.COMMON, (0, 1), (1,))).needs_smtputf8
    hidden = a_comment_event(recipients=[a_recipient("клиент@пример.рф", role="bcc"), a_recipient()])
    assert not compose(hidden, a_sender(), PlannedLetter(LetterMode.COMMON, (0, 1), (1,))).needs_smtputf8
    assert compose(hidden, a_sender(), PlannedLetter(LetterMode.COMMON, (0, 1), (0, 1))).needs_smtputf8


# What it says


def test_a_fragment_gets_a_document_around_it() -> None:
    assert text_of(read(composed().wire), "html") == (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head><body>\n'
        "<p>Мастер приедет завтра.</p>\n</body></html>"
    )


def test_a_whole_document_is_kept_and_the_rest_goes_into_its_body() -> None:
    html = "<!doctype html><HTML><body><p>x</p></BODY></HTML>"
    letter = composed(a_comment_event(comment={"html": html}, history_html="<p>h</p>"))
    assert text_of(read(letter.wire), "html") == (
        "<!doctype html><HTML><body><p>x</p>\n<div><p>h</p></div>\n</BODY></HTML>"
    )


SIGNATURES = {"signature_html": "of the mailbox"}, {"signature_html": "of the employee"}, {"signature_html": "of all"}


@pytest.mark.parametrize(
    ("mailbox", "employee", "account", "expected"),
    [
        (*SIGNATURES, "of the mailbox"),
        ({"signature_html": " "}, *SIGNATURES[1:], "of the employee"),
        ({}, {}, SIGNATURES[2], None),
        (None, *SIGNATURES[1:], "of the employee"),
        (None, {}, SIGNATURES[2], "of all"),
    ],
)
def test_the_signature_is_the_nearest_one(
    mailbox: dict[str, Any] | None, employee: dict[str, Any], account: dict[str, Any], expected: str | None
) -> None:
    sender = a_sender(
        None if mailbox is None else a_mailbox(**mailbox), employees=[an_employee(**employee)], settings=account
    )
    html = text_of(read(composed(a_comment_event(append_signature=True), sender).wire), "html")
    assert (f"<div>{expected}</div>" in html) if expected else "of " not in html


def test_no_signature_when_the_template_does_not_ask_or_the_account_is_not_entitled() -> None:
    signed = a_mailbox(signature_html="Best regards")
    assert b"Best" not in composed(a_comment_event(), a_sender(signed)).wire
    sender = a_sender(employees=[an_employee(signature_html="Best regards")], is_entitled=False)
    html = text_of(read(composed(a_comment_event(append_signature=True), sender).wire), "html")
    assert "Best" not in html


def test_if_the_authors_html_comment_never_ends_it_does_not_hide_the_files_below() -> None:
    letter = composed(a_comment_event(comment={"html": "<p>x</p><!-- y"}), attachments=(LINK,))
    assert "<!-- y-->\n<ul><li>" in text_of(read(letter.wire), "html")


def test_files_that_are_not_attached_stand_below_as_links() -> None:
    html = text_of(read(composed(attachments=(LINK,)).wire), "html")
    assert '<ul><li><a href="https://product.example/d/1?a=1&amp;b=2">смета &lt;1&gt;.pdf</a></li></ul>' in html


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "//x.example", "https://", " https://x"])
def test_only_a_web_link_can_be_clicked(link: str) -> None:
    html = text_of(read(composed(attachments=(Attachment("a.pdf", "application/pdf", 1, link),)).wire), "html")
    assert "<ul><li>a.pdf</li></ul>" in html


def test_the_order_is_text_signature_files_history_pixel() -> None:
    event = a_comment_event(
        append_signature=True, history_html="<p>history</p>", open_tracking_url="https://px.example/?a=1&b=2"
    )
    html = text_of(read(composed(event, a_sender(a_mailbox(signature_html="sig")), (LINK,)).wire), "html")
    places = [html.index(mark) for mark in ("Мастер", "sig", "<ul>", "history", "<img", "</body>")]
    assert places == sorted(places)
    assert '<img src="https://px.example/?a=1&amp;b=2" width="1" height="1" alt="">' in html


def test_no_pixel_when_not_entitled() -> None:
    letter = composed(a_comment_event(open_tracking_url="https://px.example/1"), a_sender(is_entitled=False))
    assert "<img" not in text_of(read(letter.wire), "html")


# Structure


@pytest.mark.parametrize(
    ("plain", "attachments", "types"),
    [
        (False, (), ["text/html"]),
        (True, (), ["multipart/alternative", "text/plain", "text/html"]),
        (False, (PDF,), ["multipart/mixed", "text/html", "application/pdf"]),
        (
            True,
            (LINK, PDF),
            ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf"],
        ),
    ],
)
def test_a_letter_has_the_parts_it_needs_and_no_more(
    plain: bool, attachments: tuple[Attachment, ...], types: list[str]
) -> None:
    letter = composed(sender=a_sender(settings={"plain_text_version": plain}), attachments=attachments)
    assert [part.get_content_type() for part in read(letter.wire).walk()] == types


def test_the_text_version_says_what_the_html_says_with_its_links() -> None:
    event = a_comment_event(history_html="<blockquote>раньше</blockquote>", open_tracking_url="https://px.example/1")
    letter = composed(event, a_sender(settings={"plain_text_version": True}), (LINK,))
    assert text_of(read(letter.wire), "plain") == (
        "Мастер приедет завтра.\n\n- смета <1>.pdf <https://product.example/d/1?a=1&b=2>\n\n> раньше"
    )


def test_an_attached_file_is_not_linked_too() -> None:
    letter = composed(attachments=(PDF,))
    (part,) = read(letter.wire).iter_attachments()
    assert (part.get_filename(), part.get_content()) == ("смета.pdf", b"%PDF")
    assert "<ul>" not in text_of(read(letter.wire), "html")


def a_file(size: int) -> dict[str, Any]:
    return {"name": "a.pdf", "size": size, "url": "https://files.example/1", "link": "https://product.example/1"}


@pytest.mark.parametrize(
    ("sizes", "setting", "is_entitled", "attached"),
    [
        ([10 * 1024 * 1024], True, True, 1),
        ([5 * 1024 * 1024, 5 * 1024 * 1024], True, True, 2),
        ([5 * 1024 * 1024, 5 * 1024 * 1024 + 1], True, True, 0),
        ([1], False, True, 0),
        ([1], True, False, 0),
        ([], True, True, 0),
    ],
)
def test_files_are_attached_all_or_none(sizes: list[int], setting: bool, is_entitled: bool, attached: int) -> None:
    event = a_comment_event(files=[a_file(size) for size in sizes])
    sender = a_sender(is_entitled=is_entitled, settings={"attach_files": setting})
    plan = plan_files(event.data, sender)
    assert sum(file in plan.attached for file in event.data.files) == attached


def test_the_same_event_and_configuration_give_the_same_bytes() -> None:
    sender = a_sender(a_mailbox(), settings={"plain_text_version": True})
    assert composed(a_comment_event(), sender, (PDF,)) == composed(a_comment_event(), sender, (PDF,))
