"""Identities that must stay the same for ever: consumers keep them, and replies are threaded by them.

If a value in this file has to be changed, then every repeat of an older event would be taken for a new one.
"""

from uuid import UUID

import pytest

from worker.domain.identity import event_key, letter_token, result_id

KEY = "f46dacc97fde79b287b0a7c2bbd56e79"


def test_the_key_of_an_event() -> None:
    assert event_key("/product/comments", "evt-1") == KEY
    assert event_key("/продукт", "№1") == "7a94d28acac600f1e64138aefb75889f"


def test_the_token_of_a_letter() -> None:
    assert letter_token(KEY, None) == "5450e8a9a97dc695539b7bcdde1c6462"
    assert letter_token(KEY, [0]) == "72d594f9585adc7aff44229833807ebc"
    assert letter_token(KEY, [2, 1]) == letter_token(KEY, [1, 2]) == "08f515b28d1b3828866e646e4caea2d6"


def test_the_id_of_a_result() -> None:
    assert result_id(KEY, [0], "sent") == "63e03c5c-dede-8a0b-8b02-4cf4472642a2"
    assert result_id(KEY, [1, 0], "sent") == result_id(KEY, (0, 1), "sent") == "af49fed6-31ae-8ea3-a52a-bd6c3bf0370b"
    assert result_id(KEY, [], "invalid") == "240cac5a-c44a-8472-8d90-c557208802d3"


@pytest.mark.parametrize(
    ("one", "other"), [(("ab", "c"), ("a", "bc")), (("a", ""), ("", "a")), (("1:", "a"), ("1", ":a"))]
)
def test_parts_never_run_into_each_other(one: tuple[str, str], other: tuple[str, str]) -> None:
    """If a source ends in what another's id begins with, then they are still two events."""
    assert event_key(*one) != event_key(*other)


def test_one_recipient_is_not_the_common_letter_and_12_is_not_1_and_2() -> None:
    tokens = [letter_token(KEY, positions) for positions in (None, [], [0], [12], [1, 2], [1])]
    assert len(set(tokens)) == len(tokens)
    results = [result_id(KEY, positions, stage) for positions in ([12], [1, 2]) for stage in ("sent", "failed")]
    assert len(set(results)) == len(results)


def test_result_ids_are_uuids_of_our_own_making() -> None:
    """If another system reads the id as a UUID, then version and variant are what RFC 9562 says."""
    parsed = UUID(result_id(KEY, [0], "sent"))
    assert (parsed.version, parsed.variant) == (8, "specified in RFC 4122")
