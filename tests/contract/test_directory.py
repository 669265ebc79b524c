"""What the delivery may expect of any directory; the compiled snapshot and the double both keep it."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.builders import a_mailbox, a_snapshot, an_account
from tests.documents import a_document, as_document, write
from tests.doubles.directory import a_directory
from worker.adapters.snapshot.directory import load_directory
from worker.delivery.ports import Directory
from worker.domain.snapshot.model import Account

Make = Callable[[Iterable[Account], Iterable[str]], Directory]


@pytest.fixture(params=["double", "compiled"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a directory of these accounts and of invalid ones with these ids, as version 7."""

    def compiled(accounts: Iterable[Account], left_out: Iterable[str]) -> Directory:
        invalid = [{"id": account_id, "plan": "no such plan"} for account_id in left_out]
        document = a_document(version=7, accounts=[*map(as_document, accounts), *invalid])
        return load_directory(write(tmp_path / "snapshot.json", document))

    def double(accounts: Iterable[Account], left_out: Iterable[str]) -> Directory:
        return a_directory(accounts, version=7, left_out=left_out)

    return double if request.param == "double" else compiled


def test_an_account_is_found_by_its_id_and_is_the_one_of_the_document(make: Make) -> None:
    acme = an_account(id="acme", mailboxes=[a_mailbox()])
    other = an_account(id="Компания", plan="free")
    directory = make([acme, other], [])
    assert directory.account("acme") == acme
    assert directory.account("Компания") == other


def test_accounts_with_the_same_mailbox_have_each_their_own(make: Make) -> None:
    """If two accounts use one id, address and server for a mailbox, then what is cached of one is never the other's."""
    acme, globex = (
        an_account(id=name, mailboxes=[a_mailbox(smtp={"auth": _password_of(name)})]) for name in ("acme", "globex")
    )
    directory = make([acme, globex], [])
    for _ in range(2):
        assert directory.account("acme") == acme
        assert directory.account("globex") == globex


def _password_of(account_id: str) -> dict[str, object]:
    secret = {"sealed": f"{account_id}.v2.{80 * 'A'}"}
    return {"method": "password", "username": "support@acme.example", "secret": secret}


def test_asking_twice_gives_the_same(make: Make) -> None:
    directory = make([an_account(id="acme")], [])
    assert directory.account("acme") == directory.account("acme") is not None


def test_an_unknown_account_is_none_and_not_left_out(make: Make) -> None:
    directory = make([an_account(id="acme")], ["broken"])
    for account_id in ("nobody", "ACME", "", "acme\x00", "\ud800", "a' OR '1'='1"):
        assert directory.account(account_id) is None
        assert not directory.is_left_out(account_id)


def test_an_invalid_account_is_left_out_and_the_valid_ones_are_not(make: Make) -> None:
    directory = make([an_account(id="acme")], ["broken"])
    assert directory.account("broken") is None
    assert directory.is_left_out("broken")
    assert not directory.is_left_out("acme")
    assert directory.account("acme") is not None
    assert not directory.is_left_out("acme")


def test_version_and_platform_are_those_of_the_document(make: Make) -> None:
    directory = make([], [])
    assert directory.version == 7
    assert directory.platform == a_snapshot().platform
