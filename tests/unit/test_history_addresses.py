"""What the history keeps of addresses: each can be searched for, and what is not to be kept is nowhere."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.vocabulary import ResultType
from worker.history.addresses import AddressPolicy, Keep
from worker.operations.contract_examples import result_example

SECRET = b"a key of 32 characters and more .."
POLICIES = {keep: AddressPolicy(keep, SECRET) for keep in Keep}
ANNA = "Anna.Petrova@Customer.example"
BODY: dict[str, object] = {
    "message_id": "<abc@acme.example>",
    "event_id": "evt-1@product.example",
    "detail": f"no mailbox for {ANNA.lower()}.",
    "recipients": [
        {"address": ANNA, "reply": {"code": 550, "text": f"5.1.1 <{ANNA}>: Recipient address rejected, {ANNA},{ANNA}"}}
    ],
    "refresh_token": {"sealed": "c2VhbGVk"},
}


@pytest.mark.parametrize("keep", Keep)
def test_an_address_is_found_however_it_is_written(keep: Keep) -> None:
    """If somebody searches with other letter case, spaces around it, or the domain in Unicode, it is the same one."""
    policy = POLICIES[keep]
    assert policy.kept(ANNA) == policy.kept(f" {ANNA.upper()} ")
    assert policy.kept("a@пример.example") == policy.kept("a@xn--e1afmkfd.example")


@pytest.mark.parametrize("keep", [Keep.WHOLE, Keep.DIGEST])
def test_two_addresses_are_two(keep: Keep) -> None:
    policy = POLICIES[keep]
    assert policy.kept(ANNA) != policy.kept("boris@customer.example")
    assert policy.kept("x" * 5_000 + "a") != policy.kept("x" * 5_000 + "b")


def test_a_digest_needs_the_key() -> None:
    """If somebody has the history and not the key, then guessing an address confirms nothing."""
    other = AddressPolicy(Keep.DIGEST, b"another key of 32 characters and more")
    assert POLICIES[Keep.DIGEST].kept(ANNA) != other.kept(ANNA)
    assert SECRET.decode() not in repr(POLICIES[Keep.DIGEST])


@pytest.mark.parametrize("keep", [Keep.MASKED, Keep.DIGEST])
def test_no_address_is_left_anywhere_in_a_body(keep: Keep) -> None:
    """If addresses are not kept whole, then none is in a member of its own nor in a server's words."""
    text = json.dumps(POLICIES[keep].body(BODY)).lower()
    assert "petrova" not in text
    assert text.count(POLICIES[keep].kept(ANNA)) == 5


@pytest.mark.parametrize("keep", Keep)
def test_identifiers_stay_and_sealed_secrets_go(keep: Keep) -> None:
    body = POLICIES[keep].body(BODY)
    assert (body["message_id"], body["event_id"]) == (BODY["message_id"], BODY["event_id"])
    assert body["refresh_token"] == {"sealed": "***"}


def test_a_body_that_is_kept_whole_is_as_it_was_but_for_secrets() -> None:
    assert POLICIES[Keep.WHOLE].body(BODY) == {**BODY, "refresh_token": {"sealed": "***"}}


@pytest.mark.parametrize("keep", [Keep.MASKED, Keep.DIGEST])
@pytest.mark.parametrize("result_type", ResultType)
def test_no_result_of_ours_keeps_an_address(keep: Keep, result_type: ResultType) -> None:
    """If a type of results gets a member with an address, then it is treated too."""
    data = json.loads(result_example(result_type).to_json())["data"]
    kept = POLICIES[keep].body({name: value for name, value in data.items() if not name.endswith("message_id")})
    hidden = json.dumps(kept).replace("***@", "").replace("@product.example", "")
    assert "@" not in hidden


@given(st.text(max_size=2_000), st.sampled_from(Keep))
def test_any_text_can_be_kept_and_searched_for(text: str, keep: Keep) -> None:
    policy = POLICIES[keep]
    assert policy.kept(text) == policy.kept(text)
    assert len(policy.kept(text)) <= 200
    policy.body({"detail": text})
