"""Sealing: a round trip for any password, an error of one kind for any other text."""

import base64
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey
from pydantic import SecretStr

from worker.adapters.auth.secrets import SealingKeys, seal
from worker.errors import SecretUnavailable

PRIVATE = PrivateKey(b"\x07" * 32)
KEYS = SealingKeys({"k1": PRIVATE})
PUBLIC = f"k1:{base64.urlsafe_b64encode(bytes(PRIVATE.public_key)).decode()}"

passwords = st.text(
    alphabet=st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029"), min_size=1, max_size=200
)


@given(passwords)
def test_any_password_survives_sealing(password: str) -> None:
    assert KEYS.open(seal(SecretStr(password), PUBLIC, account_id="acme"), "acme").get_secret_value() == password


@given(st.one_of(st.text(), st.text(alphabet="AB-_=.").map("k1.v2.".__add__)))
def test_any_text_is_a_secret_or_unavailable(text: str) -> None:
    with suppress(SecretUnavailable):
        KEYS.open(text, "acme")
