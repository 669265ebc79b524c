"""Bytes of IMAP, out and in: the cases that RFCs give, and those that servers invent."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from worker.adapters.imap.encoding import (
    COPIED_BYTES,
    Dialogue,
    Literal,
    Malformed,
    date_time,
    decode_mailbox_name,
    dialogue,
    encode_mailbox_name,
    quotable,
    together,
)
from worker.adapters.imap.folder_discovery import KNOWN_NAMES, RANKS, fold
from worker.adapters.imap.protocol import ResponseFramer, ResponseTooLarge
from worker.adapters.imap.responses import (
    AppendUid,
    ListedFolder,
    ResponseCode,
    append_uid,
    capabilities,
    listed_folder,
    response_code,
    search_result,
    uid_validity,
)


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("Отправленные", b"&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 section 5.1.3
        ("Entwürfe & mehr", b"Entw&APw-rfe &- mehr"),
        ("&", b"&-"),
        ("📤", b"&2D3c5A-"),
        ("", b""),
    ],
)
def test_mailbox_names_are_modified_utf7_on_the_wire(name: str, wire: bytes) -> None:
    assert encode_mailbox_name(name) == wire
    assert decode_mailbox_name(wire) == name


@pytest.mark.parametrize("raw", [b"&", b"&abc", b"&A-", b"&2D0-", b"&BB4=-", b"\xd0\x9e", b"a\nb", b"&!-", b"&BB4E-"])
def test_what_is_no_modified_utf7_is_malformed(raw: bytes) -> None:
    assert isinstance(decode_mailbox_name(raw), Malformed)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_mailbox_name("\ud800")


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("plain", '"plain"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("", '""'),
        ("é", Literal("é".encode())),
        ("a\r\nb", Literal(b"a\r\nb")),
        (b"\xff", Literal(b"\xff")),
    ],
)
def test_strings_are_quoted_where_that_is_safe_and_else_literals(value: str | bytes, sent: object) -> None:
    assert quotable(value) == sent


def test_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quotable("a\0b")


def test_a_command_is_split_at_its_literals() -> None:
    sent = dialogue([Literal(b"us"), "x", Literal(b"pass")])

    assert sent == Dialogue("{2}", ((b"us", b" x", b" {4}", b"\r\n"), (b"pass", b"\r\n")))


def test_what_is_not_large_is_sent_in_one_step() -> None:
    assert together((b"letter", b"\r\n")) == (b"letter\r\n",)
    large = (b"x" * COPIED_BYTES, b"\r\n")
    assert together(large) is large


@pytest.mark.parametrize(
    ("date", "text"),
    [
        (datetime(2026, 2, 3, 4, 5, 6, 999_999, UTC), '"03-Feb-2026 04:05:06 +0000"'),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-3.5))), '"31-Dec-2026 23:59:59 -0330"'),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2, seconds=17))), '"31-Dec-2025 21:59:43 +0000"'),
    ],
)
def test_dates_are_written_in_english_with_a_zone_of_whole_minutes(date: datetime, text: str) -> None:
    assert date_time(date) == text


def test_a_naive_date_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        date_time(datetime(2026, 1, 1))  # noqa: DTZ001 - the naive date is what is tested


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"[TRYCREATE] no", ResponseCode("TRYCREATE")),
        (b"[overquota] full", ResponseCode("OVERQUOTA")),
        (b"[UNAVAILABLE]", ResponseCode("UNAVAILABLE")),
        (b"[AUTHENTICATIONFAILED] no", ResponseCode("AUTHENTICATIONFAILED")),
        (b"[LIMIT] no", ResponseCode("LIMIT")),
        (b"[APPENDUID 38505 3955] done", ResponseCode("APPENDUID", "38505 3955")),
        (b"no [TRYCREATE]", None),
        (b"[TRYCREATE", None),
        (b"[] no", None),
        (b"", None),
    ],
)
def test_response_codes_stand_at_the_beginning(text: bytes, code: ResponseCode | None) -> None:
    assert response_code(text) == code


@pytest.mark.parametrize("arguments", ["", "1", "0 1", "1 x", "1 2 3", "1 4294967296", "1 2:3", "١ ٢"])
def test_an_appenduid_without_two_numbers_is_malformed(arguments: str) -> None:
    assert isinstance(append_uid(ResponseCode("APPENDUID", arguments)), Malformed)


def test_an_appenduid_says_where_the_letter_is() -> None:
    assert append_uid(ResponseCode("APPENDUID", "38505 3955")) == AppendUid(38505, 3955)
    assert append_uid(ResponseCode("OTHER", "1 2")) is None
    assert append_uid(None) is None


def test_uid_validity_is_taken_from_its_own_response_only() -> None:
    assert uid_validity(b"OK [UIDVALIDITY 38] valid") == 38
    assert uid_validity(b"OK [UIDVALIDITY x] valid") is None
    assert uid_validity(b"OK [UIDNEXT 38] next") is None
    assert uid_validity(b"NO [UIDVALIDITY 38]") is None


def test_search_results_are_numbers_or_malformed() -> None:
    assert search_result(b"SEARCH 2 3  5 ") == (2, 3, 5)
    assert search_result(b"search") == ()
    assert search_result(b"LIST () NIL a") is None
    assert isinstance(search_result(b"SEARCH 0"), Malformed)
    assert isinstance(search_result(b"SEARCH 1 (MODSEQ 3)"), Malformed)


def test_capabilities_are_compared_in_upper_case() -> None:
    assert capabilities(b"IMAP4rev1 auth=XOAUTH2\xff") >= {"IMAP4REV1"}


@pytest.mark.parametrize(
    ("line", "name", "delimiter", "flags"),
    [
        (rb'LIST (\HasNoChildren \Sent) "/" "Sent"', "Sent", "/", {"\\hasnochildren", "\\sent"}),
        (rb'LIST () NIL "Sent"', "Sent", None, set()),
        (rb'LIST () "\\" "a\\b\"c"', 'a\\b"c', "\\", set()),
        (b'LIST () "." {6}\r\na\\b"c ', 'a\\b"c ', ".", set()),
        (b'list () "/" INBOX', "INBOX", "/", set()),
        (b'LIST () "/" "&BB4-" ("CHILDINFO" ("SUBSCRIBED"))', "О", "/", set()),
        (b'LIST () "/" [Gmail]/x', "[Gmail]/x", "/", set()),
        ('LIST () "/" "Отпр"'.encode(), "Отпр", "/", set()),
    ],
)
def test_folders_are_listed_in_many_forms(line: bytes, name: str, delimiter: str | None, flags: set[str]) -> None:
    folder = listed_folder(line)

    assert isinstance(folder, ListedFolder)
    assert (folder.name, folder.delimiter, set(folder.flags)) == (name, delimiter, flags)


@pytest.mark.parametrize(
    "line",
    [
        b"LIST ",
        b"LIST () NIL",
        b"LIST () NIL ",
        b'LIST () NIL "a',
        b"LIST () NIL {9}\r\nab",
        b"LIST () NIL {3}\r\na\nb",
    ],
)
def test_a_list_answer_that_cannot_be_read_is_malformed(line: bytes) -> None:
    assert isinstance(listed_folder(line), Malformed)


def test_every_known_name_is_found_in_any_case_and_composition_and_none_stands_twice() -> None:
    assert len(RANKS) == len(KNOWN_NAMES)
    assert RANKS[fold("E\u0301LE\u0301MENTS ENVOYE\u0301S")] == KNOWN_NAMES.index("Éléments envoyés")


def test_a_literal_at_the_end_of_free_text_announces_nothing() -> None:
    framer = ResponseFramer(100)

    framed = list(framer.feed(b"* OK see {5}\r\nA1 NO in {3}\r\n+ go {2}\r\n* LIST () NIL {3}\r\na\r\n\r\n"))

    assert framed == [b"* OK see {5}", b"A1 NO in {3}", b"+ go {2}", b"* LIST () NIL {3}\r\na\r\n"]


def test_the_allowance_is_for_each_command() -> None:
    framer = ResponseFramer(10)
    assert list(framer.feed(b"* 1234\r\n")) == [b"* 1234"]
    framer.allow()
    assert list(framer.feed(b"* 1234\r\n")) == [b"* 1234"]

    with pytest.raises(ResponseTooLarge):
        list(framer.feed(b"* 1234\r\n"))
