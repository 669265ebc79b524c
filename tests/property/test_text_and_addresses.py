"""Cleaning and addresses hold for every text there is."""

import re
import sys

from hypothesis import example, given
from hypothesis import strategies as st

from worker.domain.addresses import masked, parse_address
from worker.domain.text import folded, has_control_character, one_line

ANY = st.text(st.characters())
ANY_EVEN_BROKEN = st.text(st.characters(exclude_categories=()))
ADDRESSES = st.builds("{}@{}".format, ANY_EVEN_BROKEN, ANY_EVEN_BROKEN) | st.emails()


@given(ANY_EVEN_BROKEN)
@example("a\x00 \x00b")
@example(" \u202e \u202e")
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    """If a text was cleaned on its way in, then cleaning it on its way out changes nothing."""
    cleaned = one_line(text)
    assert one_line(cleaned) == cleaned
    assert not has_control_character(cleaned)
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned
    cleaned.encode()  # a lone surrogate would fail here


@given(ANY_EVEN_BROKEN | st.text(st.sampled_from("ab я\t\n\x85\xa0\u2028\u3000")))
@example(" a b ")
def test_folding_leaves_single_spaces_alone(text: str) -> None:
    assert folded(text) == " ".join(text.split())


def test_no_printable_character_but_the_space_is_white_space() -> None:
    """If a later version of Unicode had one, then folding would leave it in the text."""
    assert [c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace() and c.isprintable()] == [" "]


@given(ADDRESSES)
@example("a@\u2100.com")
@example("ß@ẞ.example")
def test_an_accepted_address_is_safe_on_the_wire(text: str) -> None:
    """If an address is accepted, then nothing in it can end a command, a header or a bracket."""
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", address.domain)
    assert not re.search(r"[\s<>\"(),:;@\[\]\\]", address.local)
    assert address.local.isprintable()
    assert len(address.wire.encode()) <= 254
    assert parse_address(address.wire) == address


@given(ANY_EVEN_BROKEN)
def test_a_masked_text_shows_at_most_one_character_before_the_at(text: str) -> None:
    local, _, domain = text.rpartition("@")
    assert masked(text) in {f"{local[:1]}***@{domain}", "***"}
