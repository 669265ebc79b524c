"""What people are told about an account that is not valid."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from tests.documents import account_document
from worker.adapters.snapshot.problems import MAX_PROBLEMS_PER_ACCOUNT, Problem, complaints
from worker.domain.snapshot.model import Account

OAUTH = {"method": "xoauth2", "username": "u", "token_endpoint": "https://t.example", "client_id": "c"}


def _complaints(change: Callable[[dict[str, Any]], object]) -> list[tuple[str, str]]:
    document = account_document()
    change(document["mailboxes"][0])
    with pytest.raises(ValidationError) as caught:
        Account.model_validate(document)
    return complaints(caught.value)


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        (lambda m: m["smtp"].update(port=0), "smtp.port", "should be greater than or equal to 1"),
        (lambda m: m["smtp"].pop("host"), "smtp.host", "is missing"),
        (lambda m: m["smtp"].update(security="ssl"), "smtp.security", "should be 'tls', 'starttls' or 'none'"),
        (
            lambda m: m["smtp"]["auth"].update(method="x"),
            "smtp.auth.method",
            "should be one of none, password, xoauth2",
        ),
        (lambda m: m["smtp"]["auth"].pop("method"), "smtp.auth.method", "is missing"),
        (lambda m: m["smtp"]["auth"].pop("username"), "smtp.auth.username", "is missing"),
        (lambda m: m["smtp"]["auth"].pop("secret"), "smtp.auth.secret", "is missing"),
        (
            lambda m: m["smtp"]["auth"].update(secret={"sealed": "a", "env": "b"}),
            "smtp.auth.secret",
            "a secret is an object with exactly one of sealed, env and file",
        ),
        (
            lambda m: m["smtp"]["auth"].update(secret={"sealed": ""}),
            "smtp.auth.secret.sealed",
            "string should have at least 1 character",
        ),
        (
            lambda m: m["smtp"].update(auth=OAUTH),
            "smtp.auth",
            "xoauth2 needs a refresh_token or a client_secret",
        ),
        (
            lambda m: m["smtp"].update(auth={**OAUTH, "refresh_token": {"file": "a\nb"}}),
            "smtp.auth.refresh_token.file",
            "control characters are not allowed here",
        ),
        (lambda m: m.update(owner={"kind": "employee"}), "owner.employee_id", "is missing"),
        (lambda m: m.update(owner={"kind": "nobody"}), "owner.kind", "should be one of company, employee"),
        (lambda m: m.update(address="support"), "address", "an address has the form name@domain"),
        (lambda m: m.update(projects=[3]), "projects[0]", "should be a valid string"),
    ],
)
def test_each_mistake_is_told_with_its_path_in_the_document(
    change: Callable[[dict[str, Any]], object], path: str, message: str
) -> None:
    assert _complaints(change) == [(f"mailboxes[0].{path}", message)]


def test_a_secret_in_a_wrong_place_is_never_repeated() -> None:
    canary = "hunter2-canary"

    def misplace(mailbox: dict[str, Any]) -> None:
        mailbox["smtp"]["auth"].update(secret=canary, method=canary)
        mailbox["smtp"].update(port=canary, security=canary)
        mailbox.update(owner={"kind": canary}, limits={"connections": canary}, projects=canary, active=canary)

    told = _complaints(misplace)
    assert len(told) >= 6
    assert canary not in repr(told)


def test_an_account_with_a_thousand_mistakes_is_told_about_briefly() -> None:
    document = account_document(employees=[{} for _ in range(1_000)])
    with pytest.raises(ValidationError) as caught:
        Account.model_validate(document)
    told = complaints(caught.value)
    assert len(told) == MAX_PROBLEMS_PER_ACCOUNT
    assert told[-1] == ("", "and 1951 further problems")


def test_a_problem_reads_as_one_line() -> None:
    assert (
        str(Problem("acme", "mailboxes[2].smtp.port", "is missing"))
        == "account acme: mailboxes[2].smtp.port: is missing"
    )
    assert str(Problem(None, "accounts[3].id", "is missing")) == "accounts[3].id: is missing"
