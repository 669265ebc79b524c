"""What `sendas config check` finds, row by row: every problem and every advice has its account, mailbox and field."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.documents import a_document, account_document, write
from worker.adapters.auth.secrets import SealingKeys, SecretStore, generate_key, seal
from worker.adapters.snapshot.audit import Audit, audit_document
from worker.adapters.snapshot.directory import load_directory
from worker.domain.egress import EgressPolicy, parse_allowlist
from worker.domain.snapshot.lint import Allowed, Finding, Severity
from worker.domain.snapshot.model import EnvSecret, FileSecret, SealedSecret
from worker.domain.snapshot.secret_references import PLATFORM, reference_problem
from worker.errors import InvalidSnapshot, SecretUnavailable

Json = dict[str, Any]
LISTED = Allowed(reference_accounts=frozenset({"acme"}))
PROBLEM, ADVICE = Severity.PROBLEM, Severity.ADVICE
IMAP = {"host": "imap.acme.example", "port": 993, "security": "tls"}
OAUTH = {
    "method": "xoauth2",
    "username": "u",
    "token_endpoint": "https://login.example/token",
    "client_id": "c",
    "refresh_token": {"env": "SENDAS_SECRET_TOKEN"},
}


def audit(tmp_path: Path, document: Any, allowed: Allowed | None = None) -> tuple[Audit, list[Finding]]:
    found: list[Finding] = []
    return audit_document(write(tmp_path / "s.json", document), allowed or LISTED, found.append), found


def changed(value: Json, path: str, new: object) -> Json:
    """The value with something else at a path such as `smtp.auth.secret`."""
    name, _, rest = path.partition(".")
    return {**value, name: changed(value.get(name) or {}, rest, new) if rest else new}


def a_box(**changes: object) -> Json:
    """A mailbox without fault; keywords are paths, with `__` for dots."""
    box: Json = account_document()["mailboxes"][0]
    for path, new in changes.items():
        box = changed(box, path.replace("__", "."), new)
    return box


def with_box(**changes: object) -> Json:
    return a_document(account_document(mailboxes=[a_box(**changes)]))


def test_a_good_document_has_nothing_to_tell(tmp_path: Path) -> None:
    result, found = audit(tmp_path, a_document())
    assert found == []
    assert (result.version, result.accounts, result.left_out) == (1842, 1, 0)


@pytest.mark.parametrize(
    ("changes", "severity", "field", "words"),
    [
        # What the model refuses: the account is left out
        ({"smtp__port": 0}, PROBLEM, "smtp.port", "greater than or equal to 1"),
        ({"smtp__security": "ssl"}, PROBLEM, "smtp.security", "'tls', 'starttls' or 'none'"),
        ({"smtp__auth": {"method": "oauth"}}, PROBLEM, "smtp.auth.method", "should be one of"),
        ({"smtp__auth__secret": {"plain": "x"}}, PROBLEM, "smtp.auth.secret", "exactly one of sealed, env and file"),
        ({"address": "nobody"}, PROBLEM, "address", "name@domain"),
        ({"limits": {"per_minute": 0}}, PROBLEM, "limits.per_minute", "greater than 0"),
        ({"limits": {"per_day": 0}}, PROBLEM, "limits.per_day", "greater than 0"),
        ({"limits": {"connections": 0}}, PROBLEM, "limits.connections", "greater than 0"),
        ({"owner": {"kind": "employee"}}, PROBLEM, "owner.employee_id", "is missing"),
        ({"sent_copy": {"mode": "sometimes"}}, PROBLEM, "sent_copy.mode", "'auto', 'always' or 'never'"),
        # What is well formed and cannot work
        ({"smtp__security": "none"}, PROBLEM, "smtp.security", "none is not allowed here"),
        ({"smtp__host": "0x7f.1"}, PROBLEM, "smtp.host", "the host is a number"),
        ({"smtp__host": "smtp acme"}, PROBLEM, "smtp.host", "neither a name nor an address"),
        ({"smtp__host": "10.1.2.3"}, PROBLEM, "smtp.host", "special (private)"),
        ({"smtp__port": 8025}, PROBLEM, "smtp.port", "8025 is not one of 25, 465, 587, 2525"),
        ({"smtp__auth__secret": {"env": "HOME"}}, PROBLEM, "smtp.auth.secret", "SENDAS_SECRET_"),
        ({"smtp__auth__secret": {"file": "../key"}}, PROBLEM, "smtp.auth.secret", "not inside the directory"),
        ({"smtp__auth__secret": {"file": "/etc/key"}}, PROBLEM, "smtp.auth.secret", "not inside the directory"),
        ({"smtp__auth__secret": {"sealed": "hunter2"}}, PROBLEM, "smtp.auth.secret", "sendas seal"),
        (
            {"smtp__auth": OAUTH | {"token_endpoint": "http://login.example/token"}},
            PROBLEM,
            "smtp.auth.token_endpoint",
            "https://",
        ),
        ({"smtp__auth": OAUTH | {"refresh_token": {"env": "X"}}}, PROBLEM, "smtp.auth.refresh_token", "SENDAS_SECRET_"),
        ({"sent_copy": {"mode": "always"}}, PROBLEM, "sent_copy.imap", "is missing"),
        ({"sent_copy": {"imap": IMAP | {"security": "starttls"}}}, PROBLEM, "sent_copy.imap.security", "not supported"),
        ({"sent_copy": {"imap": IMAP | {"security": "none"}}}, PROBLEM, "sent_copy.imap.security", "not allowed"),
        ({"sent_copy": {"imap": IMAP | {"port": 9993}}}, PROBLEM, "sent_copy.imap.port", "143, 993"),
        (
            {"sent_copy": {"imap": IMAP | {"auth": {"method": "none"}}}},
            PROBLEM,
            "sent_copy.imap.auth",
            "needs a sign-in",
        ),
        # What works and is better changed
        ({"owner": {"kind": "employee", "employee_id": "e-gone"}}, ADVICE, "owner.employee_id", "does not have"),
        ({"access": {"employees": ["e-gone", "e-ivan"]}}, ADVICE, "access.employees", "no employee e-gone"),
        ({"access": {"groups": ["nobody", "support"]}}, ADVICE, "access.groups", "in the group nobody"),
        ({"access": {"groups": ["nobody"]}}, ADVICE, "access", "nobody can use it"),
        ({"default": True, "active": False}, ADVICE, "default", "not active"),
        ({"smtp__port": 587}, ADVICE, "smtp.security", "port 587 usually wants starttls"),
        ({"smtp__auth": {"method": "none"}}, ADVICE, "smtp.auth.method", "does not sign in"),
        ({"smtp__host": "smtp-mail.outlook.com"}, ADVICE, "smtp.auth.method", "needs xoauth2"),
        ({"smtp__host": "smtp.office365.com"}, ADVICE, "smtp.auth.method", "2026-12-31"),
        (
            {"smtp__host": "smtp.mailgun.org", "sent_copy": {"mode": "always", "imap": IMAP}},
            ADVICE,
            "sent_copy.mode",
            "transactional service",
        ),
        (
            {"smtp__host": "smtp.gmail.com", "sent_copy": {"mode": "always", "imap": IMAP}},
            ADVICE,
            "sent_copy.mode",
            "saves to Sent by itself",
        ),
        ({"smtp__host": "smtp.mailgun.org", "smtp__auth": OAUTH}, ADVICE, "smtp.auth.method", "transactional"),
        (
            {"smtp__host": "smtp.office365.com", "smtp__auth": OAUTH, "limits": {"connections": 10}},
            ADVICE,
            "limits.connections",
            "takes 3",
        ),
        ({"limits": {"connections": 1_000}}, ADVICE, "limits.connections", "at most 20 are used"),
        ({"sent_copy": {"imap": IMAP | {"port": 143}}}, ADVICE, "sent_copy.imap.port", "993"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_each_row(tmp_path: Path, changes: Json, severity: Severity, field: str, words: str) -> None:
    _, found = audit(tmp_path, with_box(**changes))
    [finding] = [each for each in found if each.path == f"mailboxes[0].{field}"]
    assert (finding.severity, finding.account_id, finding.mailbox_id) == (severity, "acme", "mb-support")
    assert words in finding.message
    assert str(finding).startswith(f"account acme: mailbox mb-support: mailboxes[0].{field}: ")


def test_access_of_an_employees_mailbox_means_nothing(tmp_path: Path) -> None:
    box = a_box(owner={"kind": "employee", "employee_id": "e-ivan"}, access={"employees": ["e-ivan"]})
    _, found = audit(tmp_path, a_document(account_document(mailboxes=[box])))
    assert [each.path for each in found if each.mailbox_id] == ["mailboxes[0].access"]


def test_an_account_whose_company_mailboxes_are_all_bound_to_projects_is_advised(tmp_path: Path) -> None:
    _, [finding] = audit(tmp_path, with_box(projects=["p-1"]))
    assert (finding.severity, finding.account_id, finding.mailbox_id) == (ADVICE, "acme", None)
    assert "no active company mailbox without projects" in finding.message


@pytest.mark.parametrize(
    ("first", "second", "is_told"),
    [
        ({}, {}, True),
        ({"projects": ["p-1", "p-2"]}, {"projects": ["p-2"]}, True),
        ({"projects": ["p-1"]}, {"projects": ["p-2"]}, False),
        ({"projects": ["p-1"]}, {}, False),
        ({"active": False}, {}, False),
        ({"owner": {"kind": "employee", "employee_id": "e-ivan"}}, {}, False),
    ],
)
def test_two_defaults_are_told_where_they_can_meet(tmp_path: Path, first: Json, second: Json, is_told: bool) -> None:
    boxes = [a_box(id="mb-1", default=True, **first), a_box(id="mb-2", default=True, **second)]
    _, found = audit(tmp_path, a_document(account_document(mailboxes=boxes)))
    told = [each for each in found if each.path == "mailboxes[1].default"]
    assert bool(told) is is_told
    assert all(each.mailbox_id == "mb-2" and "mb-1 too" in each.message for each in told)


def test_employees_with_one_internal_address_are_told(tmp_path: Path) -> None:
    employees = [
        {"id": "e-1", "internal_address": "ivan@acme.product.example", "groups": ["support"]},
        {"id": "e-2", "internal_address": "Ivan@acme.product.example"},
    ]
    _, [finding] = audit(tmp_path, a_document(account_document(employees=employees)))
    assert (finding.path, finding.severity) == ("employees[1].internal_address", ADVICE)
    assert "employee e-1" in finding.message


def test_everything_of_an_account_is_told_and_not_only_the_first(tmp_path: Path) -> None:
    """If ten things are wrong, then nobody has to run the check ten times."""
    boxes = [
        a_box(smtp__port=0, smtp__security="ssl", limits={"per_day": 0}),
        a_box(id="mb-2", address="nobody", owner={"kind": "nobody"}),
        a_box(id="mb-2"),
        a_box(id="mb-support"),
    ]
    employees = [{"id": "e-1", "internal_address": "a@b.example"}, {"id": "e-1", "internal_address": "c@b.example"}]
    result, found = audit(tmp_path, a_document(account_document(mailboxes=boxes, employees=employees, plan="gold")))
    assert {(each.mailbox_id, each.path) for each in found} == {
        (None, "plan"),
        ("mb-support", "mailboxes[0].smtp.port"),
        ("mb-support", "mailboxes[0].smtp.security"),
        ("mb-support", "mailboxes[0].limits.per_day"),
        ("mb-2", "mailboxes[1].address"),
        ("mb-2", "mailboxes[1].owner.kind"),
        ("mb-2", "mailboxes[2].id"),
        ("mb-support", "mailboxes[3].id"),
        (None, "employees[1].id"),
    }
    assert all(each.is_fatal for each in found)
    assert (result.accounts, result.left_out, result.totals[PROBLEM]) == (1, 1, 9)


def test_more_problems_than_the_worker_keeps_are_all_told(tmp_path: Path) -> None:
    boxes = [a_box(id=f"mb-{n}", smtp__port=0) for n in range(200)]
    _, found = audit(tmp_path, a_document(account_document(mailboxes=boxes)))
    assert len(found) == 200


def test_an_account_that_stands_twice_is_told_with_both_places(tmp_path: Path) -> None:
    document = a_document(account_document("a"), account_document("b"), account_document("a"))
    result, [finding] = audit(tmp_path, document)
    assert (finding.account_id, finding.path, finding.is_fatal) == ("a", "id", True)
    assert "accounts[0] and accounts[2]" in finding.message
    assert (result.accounts, result.left_out) == (2, 1)


def test_an_account_without_a_usable_id_is_named_by_its_place(tmp_path: Path) -> None:
    _, found = audit(tmp_path, a_document(account_document(), {"plan": "paid"}, ["x"]))
    assert [(each.account_id, each.path) for each in found] == [(None, "accounts[1].id"), (None, "accounts[2]")]


def test_the_relay_is_looked_at_too(tmp_path: Path) -> None:
    relay = {"host": "10.0.0.1", "port": 25, "security": "none", "auth": {"method": "none"}}
    _, found = audit(tmp_path, a_document(platform={"relay": relay}))
    assert [(each.account_id, each.path) for each in found] == [
        (None, "platform.relay.security"),
        (None, "platform.relay.host"),
    ]


def test_what_the_operator_allows_is_no_problem(tmp_path: Path) -> None:
    allowed = Allowed(True, EgressPolicy(parse_allowlist("10.0.0.0/8:25+8025")), "CUSTOMER_", frozenset({"acme"}))
    relay = {"host": "10.0.0.1", "port": 25, "security": "none", "auth": {"method": "none"}}
    box = a_box(smtp__port=8025, smtp__security="none", smtp__auth__secret={"env": "CUSTOMER_1"})
    _, found = audit(tmp_path, a_document(account_document(mailboxes=[box]), platform={"relay": relay}), allowed)
    assert found == []


def test_what_is_allowed_for_the_relay_is_allowed_for_it_alone(tmp_path: Path) -> None:
    server = {"host": "relay.mail.svc", "port": 25, "security": "tls"}
    allowed = replace(LISTED, relay_egress=EgressPolicy(parse_allowlist("10.0.0.0/8:25")))
    box = a_box(smtp__host="relay.mail.svc", smtp__port=25)
    relay = {**server, "auth": {"method": "none"}}
    _, found = audit(tmp_path, a_document(account_document(mailboxes=[box]), platform={"relay": relay}), allowed)
    assert [(each.account_id, each.path) for each in found] == [("acme", "mailboxes[0].smtp.host")]
    assert "internal network" in found[0].message


def test_no_finding_repeats_what_stands_in_a_secret(tmp_path: Path) -> None:
    """If somebody puts a password where a sealed one belongs, then it is not printed."""
    for secret in ({"sealed": "canary7"}, "canary7", {"plain": "canary7"}, {"sealed": "canary7", "env": "canary7"}):
        _, found = audit(tmp_path, with_box(smtp__auth__secret=secret))
        assert found
        assert "canary7" not in str(found)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "ends too early"),
        ("not json", "is expected"),
        (b"\xff\xfe", "UTF-8"),
        ({"accounts": []}, "schema: is missing"),
        (a_document(schema="other/v1"), "'sendas.snapshot/v1' is expected"),
        ({**a_document(), "accounts": {}}, "accounts: should be a list"),
        ("[" * 100_000, "is expected"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_unreadable_document_is_one_line_with_its_name(tmp_path: Path, document: Any, words: str) -> None:
    with pytest.raises(InvalidSnapshot) as raised:
        audit(tmp_path, document)
    line = str(raised.value)
    assert line.startswith(f"{tmp_path}/s.json: ")
    assert words in line
    assert "\n" not in line


def test_a_directory_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(InvalidSnapshot, match="not a regular file"):
        audit_document(tmp_path, Allowed(), lambda _: None)


def test_the_audit_counts_as_the_worker_does(tmp_path: Path) -> None:
    """If the check says that so many accounts are left out, then so many are."""
    document = a_document(
        account_document("a"),
        account_document("b", plan="gold"),
        account_document("a"),
        account_document("c", mailboxes=[a_box(), a_box()]),
        {"plan": "paid"},
        account_document("b"),
        account_document("d"),
    )
    result, _ = audit(tmp_path, document)
    directory = load_directory(tmp_path / "s.json")
    assert (result.version, result.accounts, result.left_out) == (
        directory.version,
        directory.accounts,
        directory.left_out,
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"smtp__auth__secret": {"env": "SENDAS_SECRET_RELAY"}}, "smtp.auth.secret"),
        ({"smtp__auth__secret": {"file": "relay"}}, "smtp.auth.secret"),
        ({"smtp__auth": OAUTH}, "smtp.auth.refresh_token"),
        ({"smtp__auth": OAUTH | {"client_secret": {"file": "relay"}}}, "smtp.auth.client_secret"),
        (
            {
                "sent_copy": {
                    "imap": IMAP
                    | {"auth": {"method": "password", "username": "u", "secret": {"env": "SENDAS_SECRET_A"}}}
                }
            },
            "sent_copy.imap.auth.secret",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_mailbox_that_names_the_operators_secret_keeps_its_account_out(
    tmp_path: Path, changes: Json, field: str
) -> None:
    """If a customer's mailbox names a variable or a file of the worker, then the account is left out and told why."""
    document = a_document(account_document("acme", mailboxes=[a_box(**changes)]), account_document("other"))
    result, found = audit(tmp_path, document, Allowed())
    [finding] = [each for each in found if each.path == f"mailboxes[0].{field}"]
    assert (finding.account_id, finding.mailbox_id, finding.is_fatal) == ("acme", "mb-support", True)
    assert "SENDAS_SECRET_REFERENCE_ACCOUNTS" in finding.message
    assert result.left_out == 1
    directory = load_directory(tmp_path / "s.json")
    assert directory.account("acme") is None
    assert directory.is_left_out("acme")
    assert directory.account("other") is not None
    assert finding.message in [problem.message for problem in directory.problems()]


@pytest.mark.parametrize("listed", [frozenset({"acme"}), None])
def test_an_account_that_the_operator_lists_may_name_variables(tmp_path: Path, listed: frozenset[str] | None) -> None:
    path = write(tmp_path / "s.json", with_box(smtp__auth__secret={"env": "SENDAS_SECRET_ACME"}))
    assert load_directory(path, reference_accounts=listed).account("acme") is not None
    others = frozenset({"ACME", "acme ", "acm"})
    assert load_directory(path, reference_accounts=others).account("acme") is None


def test_the_relay_may_name_variables_and_files(tmp_path: Path) -> None:
    relay = {"host": "relay.example", "port": 465, "security": "tls"}
    auth = {"method": "password", "username": "u", "secret": {"env": "SENDAS_SECRET_RELAY"}}
    _, found = audit(tmp_path, a_document(platform={"relay": {**relay, "auth": auth}}), Allowed())
    assert found == []


def test_an_old_box_is_told_of_without_any_key(tmp_path: Path) -> None:
    _, found = audit(tmp_path, with_box(smtp__auth__secret={"sealed": f"main.{80 * 'A'}"}))
    [finding] = found
    assert "sendas seal --snapshot" in finding.message


async def test_the_form_of_a_reference_is_judged_as_it_is_when_it_is_opened() -> None:
    """If the check finds nothing wrong with a reference's form, then the store does not refuse it for its form."""
    _, public = generate_key("main")
    sealed = seal(SecretStr("x"), public, account_id="acme")
    store = SecretStore(SealingKeys({}), {"SENDAS_SECRET_A": "x"})
    assert reference_problem(SealedSecret(sealed=sealed), "SENDAS_SECRET_") is None
    with pytest.raises(SecretUnavailable, match="sealed for the key main"):
        await store.open(SealedSecret(sealed=sealed), "acme")
    assert reference_problem(EnvSecret(env="SENDAS_SECRET_A"), "SENDAS_SECRET_") is None
    await store.open(EnvSecret(env="SENDAS_SECRET_A"), PLATFORM)
    assert reference_problem(FileSecret(file="a/b"), "SENDAS_SECRET_") is None
    for bad in (SealedSecret(sealed=sealed[:40]), SealedSecret(sealed="main"), EnvSecret(env="HOME")):
        assert reference_problem(bad, "SENDAS_SECRET_") is not None
        with pytest.raises(SecretUnavailable):
            await store.open(bad, "acme" if isinstance(bad, SealedSecret) else PLATFORM)
