"""Header fields on the wire, and what another program reads in them."""

from email import message_from_bytes, policy

import pytest

from tests.letter_reader import names_and_addresses
from worker.domain.addresses import parse_address
from worker.domain.letter.headers import NamedAddress, address_field, identifier_field, text_field, token_field


def value_of(rendered: str) -> str:
    """The field's value as the standard library reads it, and proof that it is one field, well folded."""
    assert rendered.endswith("\r\n")
    assert rendered.isascii()
    assert "\r" not in rendered.replace("\r\n", "")
    lines = rendered.removesuffix("\r\n").split("\r\n")
    assert all(line.startswith(" ") and line.strip() for line in lines[1:])
    assert all(len(line) <= 78 for line in lines)
    message = message_from_bytes((rendered + "\r\n").encode(), policy=policy.default)
    assert len(message.keys()) == 1
    assert not message.values()[0].defects
    return str(message.values()[0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Air conditioning",
        "Ремонт кондиционера",
        "Re: Ремонт кондиционера 5 штук, срочно! now",
        "a =?utf-8?b?0JA=?= b",
        "=?",
        "?= =?utf-8?q?a?=",
        "x" * 5_000,
        "щ" * 5_000,
        "🫨👩‍👩‍👧 " * 500 + "x",
        "word " * 900 + "end",
        'He said "5 < 6", <script@x.example>; (comment)',
        "a  b",
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_a_subject_comes_back_as_it_was(text: str) -> None:
    assert value_of(text_field("Subject", text)) == text


def test_words_in_ascii_stay_readable_beside_encoded_ones() -> None:
    assert text_field("Subject", "Re: Смета 7") == "Subject: Re: =?utf-8?b?0KHQvNC10YLQsA==?= 7\r\n"


def test_an_encoded_word_has_at_most_75_characters_and_whole_characters_only() -> None:
    rendered = text_field("Subject", "щ🫨" * 300)
    words = rendered.split()[1:]
    assert max(map(len, words)) <= 75
    for word in words:
        assert (
            message_from_bytes(f"Subject: {word}\r\n\r\n".encode(), policy=policy.default)["Subject"].strip("щ🫨") == ""
        )


@pytest.mark.parametrize("breach", ["\r\n", "\n", "\r", "\x00", "\x0b", "\x85", "\u2028", "\x1b"], ids=ascii)
def test_a_control_character_becomes_a_space_and_never_starts_a_field(breach: str) -> None:
    assert value_of(text_field("Subject", f"Hello{breach}Bcc: evil@example.net")) == "Hello Bcc: evil@example.net"
    assert value_of(identifier_field("X-Sendas-Task", f"1{breach}Bcc: x")) == "1 Bcc: x"
    named = NamedAddress(f"Eve{breach}Bcc: x", parse_address("eve@example.net"))
    assert value_of(address_field("To", [named])) == '"Eve Bcc: x" <eve@example.net>'


def test_a_lone_surrogate_is_replaced() -> None:
    assert value_of(text_field("Subject", "a\ud800b")) == "a\ufffdb"


@pytest.mark.parametrize("identifier", ["4711", "0192f3aa-1", "задача 7", " a  b ", "=?x", "я" * 1_000, "x" * 1_000])
def test_an_identifier_comes_back_exactly(identifier: str) -> None:
    assert value_of(identifier_field("X-Sendas-Task", identifier)) == identifier


@pytest.mark.parametrize(
    ("name", "rendered"),
    [
        ("", "To: ivan@acme.example\r\n"),
        ("ACME Support", "To: ACME Support <ivan@acme.example>\r\n"),
        ("ACME, Inc.", 'To: "ACME, Inc." <ivan@acme.example>\r\n'),
        ('Ivan "the \\ man"', 'To: "Ivan \\"the \\\\ man\\"" <ivan@acme.example>\r\n'),
        ("Иван", "To: =?utf-8?b?0JjQstCw0L0=?= <ivan@acme.example>\r\n"),
        ("boss@acme.example", 'To: "boss@acme.example" <ivan@acme.example>\r\n'),
    ],
)
def test_a_display_name_is_plain_quoted_or_encoded(name: str, rendered: str) -> None:
    assert address_field("To", [NamedAddress(name, parse_address("ivan@acme.example"))]) == rendered


@pytest.mark.parametrize(
    "name", ["=?utf-8?q?Eve?=", "Eve <eve@x.example>,", "a:b;c", "x" * 5_000, "a, " * 900 + "b", "щ" * 5_000, "(c)"]
)
def test_a_strange_display_name_is_only_a_name(name: str) -> None:
    rendered = address_field("To", [NamedAddress(name, parse_address("ivan@acme.example"))])
    value_of(rendered)
    assert names_and_addresses((rendered + "\r\n").encode(), "To") == [(name, "ivan@acme.example")]


def test_many_recipients_stand_in_one_folded_field() -> None:
    named = [NamedAddress(f"Клиент {n}", parse_address(f"client-{n}@example.net")) for n in range(800)]
    rendered = address_field("To", named)
    value_of(rendered)
    assert names_and_addresses((rendered + "\r\n").encode(), "To") == [
        (f"Клиент {n}", f"client-{n}@example.net") for n in range(800)
    ]


def test_a_domain_goes_in_ascii() -> None:
    named = NamedAddress("", parse_address("client@Пример.рф"))
    assert address_field("To", [named]) == "To: client@xn--e1afmkfd.xn--p1ai\r\n"


def test_only_a_local_part_outside_ascii_stands_in_utf_8() -> None:
    named = NamedAddress("Клиент", parse_address("клиент@пример.рф"))
    assert address_field("To", [named]) == ("To: =?utf-8?b?0JrQu9C40LXQvdGC?= <клиент@xn--e1afmkfd.xn--p1ai>\r\n")


def test_a_local_part_with_misplaced_dots_is_quoted() -> None:
    named = NamedAddress("", parse_address("taro..x.@docomo.example"))
    assert address_field("To", [named]) == 'To: "taro..x."@docomo.example\r\n'


def test_a_token_longer_than_a_line_stands_on_a_line_of_its_own() -> None:
    long_id = f"<{'x' * 200}@example.net>"
    assert token_field("References", ["<a@b.example>", long_id, "<c@d.example>"]) == (
        f"References: <a@b.example>\r\n {long_id}\r\n <c@d.example>\r\n"
    )
