"""Bytes of IMAP for any input: what goes out comes back, and nothing that comes in can crash the reader."""

import re
from datetime import datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from worker.adapters.auth.credentials import Password
from worker.adapters.imap.encoding import (
    Literal,
    Malformed,
    date_time,
    decode_mailbox_name,
    dialogue,
    encode_mailbox_name,
    quotable,
)
from worker.adapters.imap.errors import MAX_DETAIL_CHARS, ServerWords
from worker.adapters.imap.namespaces import Namespaces, namespaces, own_names
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

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUL_FREE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# Bytes that look like IMAP reach further into the parsers than any bytes do.
IMAP_LIKE = st.lists(
    st.sampled_from(
        (
            b"LIST ",
            b"SEARCH ",
            b"OK ",
            b"NIL",
            b"UIDVALIDITY ",
            b"APPENDUID ",
            b"\\Sent",
            b"{3}\r\n",
            b"\r\n",
            b"99999999999",
        )
    )
    | st.sampled_from(b'()"\\ {}[]&-1a\xff\0').map(lambda byte: bytes([byte]))
).map(b"".join)
ANY_BYTES = st.binary() | IMAP_LIKE


@given(TEXT)
def test_mailbox_names_come_back(name: str) -> None:
    wire = encode_mailbox_name(name)

    assert decode_mailbox_name(wire) == name
    assert all(0x20 <= byte <= 0x7E for byte in wire)


@given(ANY_BYTES)
def test_any_bytes_are_a_mailbox_name_or_malformed(raw: bytes) -> None:
    name = decode_mailbox_name(raw)

    assert isinstance(name, Malformed) or decode_mailbox_name(encode_mailbox_name(name)) == name


@given(NUL_FREE)
def test_a_string_comes_back_from_a_list_answer_however_it_is_sent(name: str) -> None:
    """Quoting is undone by the parser, and a quoted string never holds what ends a line."""
    sent = quotable(encode_mailbox_name(name))
    assert isinstance(sent, str)
    folder = listed_folder(b'LIST () "/" ' + sent.encode())

    assert isinstance(folder, ListedFolder)
    assert folder.name == name


@given(NUL_FREE)
def test_no_string_can_end_its_command(value: str) -> None:
    sent = quotable(value)

    if isinstance(sent, Literal):
        assert sent.content == value.encode()
    else:
        assert sent.isascii()
        assert sent.isprintable()


@given(st.lists(NUL_FREE, min_size=1))
def test_a_dialogue_holds_all_its_arguments(values: list[str]) -> None:
    sent = dialogue([quotable(value) for value in values])

    whole = sent.opening.encode() + b"".join(part for answer in sent.answers for part in answer)
    expected = b" ".join(
        (a.encode() if isinstance(a, str) else b"{%d}" % len(a.content) + a.content) for a in map(quotable, values)
    )
    assert whole.replace(b"\r\n", b"") == expected.replace(b"\r\n", b"")


@given(ANY_BYTES)
def test_any_bytes_are_parsed_or_malformed(line: bytes) -> None:
    for data in (line, b"LIST " + line, b"LIST () NIL " + line, b"SEARCH " + line):
        assert isinstance(listed_folder(data), ListedFolder | Malformed | None)
        assert isinstance(search_result(data), tuple | Malformed | None)
    assert isinstance(uid_validity(b"OK [UIDVALIDITY " + line), int | None)
    assert isinstance(response_code(line), ResponseCode | None)
    assert isinstance(append_uid(response_code(b"[APPENDUID " + line)), AppendUid | Malformed | None)
    assert all(word == word.upper() for word in capabilities(line))


@given(st.lists(st.binary() | IMAP_LIKE), st.integers(1, 200))
def test_any_stream_is_framed_within_its_bound(chunks: list[bytes], max_bytes: int) -> None:
    framer = ResponseFramer(max_bytes)
    taken = 0
    try:
        for chunk in chunks:
            taken += sum(len(response) + 2 for response in framer.feed(chunk))
    except ResponseTooLarge:
        pass
    assert taken <= max_bytes


@given(
    st.lists(st.binary(max_size=40).map(lambda literal: b"* LIST () NIL {%d}\r\n%s" % (len(literal), literal))),
    st.lists(st.integers(0, 2_000)),
)
def test_responses_are_the_same_however_the_stream_is_cut(responses: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(response + b"\r\n" for response in responses)
    framer = ResponseFramer(len(stream) + 1)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})

    assert [r for start, end in pairwise(edges) for r in framer.feed(stream[start:end])] == responses


@given(st.datetimes(timezones=st.timezones()))
def test_dates_have_the_form_of_the_rfc(date: datetime) -> None:
    assert re.fullmatch(r'"\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [+-]\d{4}"', date_time(date))


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=20),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_no_secret_is_left_in_a_servers_words(secret: str, before: str, after: str) -> None:
    words = f"{before} {secret} {after}".encode("utf-8", "replace")

    cleaned = ServerWords([Password("user", SecretStr(secret))]).clean(words)

    assert secret not in cleaned
    assert len(cleaned) <= MAX_DETAIL_CHARS
    assert "\n" not in cleaned


@given(ANY_BYTES, st.binary(max_size=20), st.sampled_from([None, b".", b"/"]))
def test_whatever_a_server_says_of_its_namespaces_is_read_or_named_malformed(
    told: bytes, raw: bytes, delimiter: bytes | None
) -> None:
    found = namespaces(b"NAMESPACE " + told)
    assert isinstance(found, Namespaces | Malformed)
    if isinstance(found, Namespaces):
        names = list(own_names(found, raw, delimiter))
        assert all(name.endswith(raw) or b"/" in raw for name in names)
        assert len(names) <= 4 * (len(found.personal) + 3) ** 2
