"""Sealing a whole snapshot anew: each secret under the account in which it stands, and nothing else changed."""

import json
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PrivateKey, PublicKey, SealedBox
from pydantic import SecretStr

from tests.documents import a_document, account_document, write
from worker.adapters.auth.sealed_box import encode
from worker.adapters.auth.secrets import SealingKeys
from worker.adapters.snapshot.directory import load_directory
from worker.adapters.snapshot.resealing import Resealed, Resealing
from worker.domain.snapshot.secret_references import PLATFORM
from worker.errors import InvalidSnapshot

Json = dict[str, Any]
OLD, NEW = PrivateKey.generate(), PrivateKey.generate()
KEYS = SealingKeys({"new": NEW, "old": OLD})
CANARY = "hunter2-canary"


def old_box(password: str = CANARY, key: PublicKey = OLD.public_key, name: str = "old") -> Json:
    return {"sealed": f"{name}.{encode(SealedBox(key).encrypt(password.encode()))}"}


def password(secret: Json) -> Json:
    return {"method": "password", "username": "u", "secret": secret}


def an_account(account_id: str, smtp: Json, imap: Json | None = None) -> Json:
    [mailbox] = account_document(account_id)["mailboxes"]
    mailbox["smtp"]["auth"] = smtp
    if imap is not None:
        server = {"host": "imap.acme.example", "port": 993, "security": "tls", "auth": imap}
        mailbox["sent_copy"] = {"mode": "auto", "folder": None, "imap": server}
    return account_document(account_id, mailboxes=[mailbox])


def reseal(tmp_path: Path, document: Any, keys: SealingKeys = KEYS) -> tuple[Json, Resealed, list[str]]:
    written: list[str] = []
    told: list[str] = []
    result = Resealing(keys, told.append).run(write(tmp_path / "s.json", document), written.append)
    text = "".join(written)
    assert CANARY not in text
    assert CANARY not in str(told)
    again: Json = json.loads(text)
    return again, result, told


def auth_of(document: Json, position: int = 0) -> Json:
    auth: Json = document["accounts"][position]["mailboxes"][0]["smtp"]["auth"]
    return auth


def test_each_secret_becomes_its_accounts_own(tmp_path: Path) -> None:
    oauth = {
        "method": "xoauth2",
        "username": "u",
        "token_endpoint": "https://login.example/token",
        "client_id": "c",
        "client_secret": old_box("client"),
        "refresh_token": old_box("token"),
    }
    relay = {"host": "relay.example", "port": 465, "security": "tls", "auth": password(old_box("relay"))}
    document = a_document(
        an_account("acme", password(old_box("acme")), imap=password(old_box("imap"))),
        an_account("globex", oauth),
        platform={"relay": relay},
    )
    new, result, told = reseal(tmp_path, document)
    assert (result, told) == (Resealed(anew=5), [])
    imap = new["accounts"][0]["mailboxes"][0]["sent_copy"]["imap"]["auth"]
    for secret, owner, text in (
        (auth_of(new)["secret"], "acme", "acme"),
        (imap["secret"], "acme", "imap"),
        (auth_of(new, 1)["client_secret"], "globex", "client"),
        (auth_of(new, 1)["refresh_token"], "globex", "token"),
        (new["platform"]["relay"]["auth"]["secret"], PLATFORM, "relay"),
    ):
        assert secret["sealed"].startswith("new.v2.")
        assert KEYS.open(secret["sealed"], owner).get_secret_value() == text
    assert load_directory(write(tmp_path / "new.json", new)).left_out == 0


def test_nothing_else_changes(tmp_path: Path) -> None:
    """What a newer producer wrote stays, and so does an account that nobody can read."""
    unreadable = ["[" * 100_000 + "]" * 100_000, '{"id": "\\ud800"}', '{"id": 7, "n": ' + "9" * 5_000 + "}"]
    text = json.dumps({**a_document(account_document("good")), "extra": {"sealed": "no secret"}})
    text = text.replace('"accounts": [', f'"accounts": [{", ".join(unreadable)}, ')
    written: list[str] = []
    told: list[str] = []
    result = Resealing(KEYS, told.append).run(write(tmp_path / "s.json", text), written.append)
    assert told == [
        "account good: mailboxes[0].smtp.auth.secret: the secret is sealed for the key main; "
        "the worker's keys: new, old"
    ]
    assert result == Resealed(left=1)
    copied = "".join(written)
    for part in (*unreadable, '"extra": {"sealed": "no secret"}', json.dumps(account_document("good"))):
        assert part in copied


def test_what_is_of_the_present_form_stays(tmp_path: Path) -> None:
    sealed = KEYS.seal(SecretStr(CANARY), "acme")
    document = a_document(an_account("acme", password({"sealed": sealed})))
    new, result, told = reseal(tmp_path, document)
    assert (result, told) == (Resealed(kept=1), [])
    assert auth_of(new)["secret"]["sealed"] == sealed


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (old_box(key=PrivateKey.generate().public_key), "does not open with the key old"),
        (old_box(name="gone"), "sealed for the key gone"),
        ({"sealed": "old.v2.x"}, "is not a name of a key"),
        ({"sealed": KEYS.seal(SecretStr(CANARY), "victim")}, "sealed for another"),
        (old_box("\n"), "is empty"),
    ],
    ids=["another key", "no key", "no box", "another's", "nothing"],
)
def test_what_does_not_open_stays_and_is_named(tmp_path: Path, secret: Json, words: str) -> None:
    document = a_document(an_account("acme", password(secret)), an_account("good", password(old_box())))
    new, result, told = reseal(tmp_path, document)
    assert result == Resealed(anew=1, left=1)
    assert auth_of(new)["secret"] == secret
    [line] = told
    assert line.startswith("account acme: mailboxes[0].smtp.auth.secret: ")
    assert words in line


def test_a_box_in_two_accounts_stays_as_it_was_in_both(tmp_path: Path) -> None:
    """If a customer copied another's old box, then sealing anew does not make it theirs."""
    box = old_box()
    copied = {"sealed": f"{old_box('own')['sealed']},{box['sealed']}"}
    document = a_document(an_account("victim", password(box)), an_account("evil", password(copied)))
    new, result, told = reseal(tmp_path, document)
    assert result == Resealed(left=2)
    assert [auth_of(new, 0)["secret"], auth_of(new, 1)["secret"]] == [box, copied]
    assert all("in several accounts" in line for line in told)


def test_without_a_usable_id_nobody_can_tell_whose_it_is(tmp_path: Path) -> None:
    account = {**an_account("acme", password(old_box())), "id": 7}
    _, result, told = reseal(tmp_path, a_document(account))
    assert result == Resealed(left=1)
    assert told[0].startswith("accounts[0]: ")


@pytest.mark.parametrize("document", ["", "[]", '{"accounts": [', b"\xff"], ids=["empty", "list", "cut", "bytes"])
def test_a_document_that_cannot_be_read_is_one_line(tmp_path: Path, document: Any) -> None:
    with pytest.raises(InvalidSnapshot, match=r"s\.json: ") as caught:
        reseal(tmp_path, document)
    assert "\n" not in str(caught.value)
