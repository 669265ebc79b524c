"""Which mailbox a letter leaves from, rule by rule, with the exact account of why.

Each row is one line of the rules. A mailbox is written as `owner id projects flags`; the explanation as
`tier mailbox why`, in the order in which the addresses are looked at, with `*` before the one selected.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders import a_mailbox, an_account, an_employee, an_employees_mailbox, comment_data, task_data
from worker.domain.events.models import LetterData
from worker.domain.snapshot.model import Account, Mailbox
from worker.domain.snapshot.resolution import Resolution, resolve
from worker.domain.vocabulary import Reason, Tier, Verdict

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
INTERNAL = "ivan@acme.product.example"
SECOND = timedelta(seconds=1)


def company(name: str, *projects: str, **fields: Any) -> Mailbox:
    return a_mailbox(id=name, address=f"{name}@acme.example", projects=list(projects), **fields)


def ivans(name: str, *projects: str, **fields: Any) -> Mailbox:
    return an_employees_mailbox(id=name, address=f"{name}@acme.example", projects=list(projects), **fields)


def olgas(name: str, *projects: str, **fields: Any) -> Mailbox:
    return an_employees_mailbox("e-olga", id=name, address=f"{name}@acme.example", projects=list(projects), **fields)


def only_for(*, employees: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"access": {"employees": list(employees), "groups": list(groups)}}


def account(*mailboxes: Mailbox, **fields: Any) -> Account:
    olga = an_employee(id="e-olga", name="Ольга", internal_address="olga@acme.product.example", groups=["sales"])
    return an_account(**{"employees": [an_employee(), olga], "mailboxes": mailboxes} | fields)


def comment(project: str | None = None, choice: str | None = None, author: str = "e-ivan") -> LetterData:
    return comment_data(author={"employee_id": author}, mailbox_id=choice, task={"project_id": project})


def new_task(
    choice: str | None = None, template: dict[str, Any] | None = None, project: str | None = None
) -> LetterData:
    return task_data(mailbox_id=choice, template=template, task={"project_id": project})


def told(resolution: Resolution) -> list[str]:
    return [
        f"{'*' if seen.verdict is Verdict.SELECTED else ''}{seen.tier} {seen.mailbox_id or '-'} {seen.why}"
        for seen in resolution.explanation
    ]


FIELD = {"id": "t-1", "has_external_address_field": True}
NO_FIELD = {"id": "t-1", "has_external_address_field": False}
INTERNAL_CHOSEN = "*internal - usable"

ROWS: dict[str, tuple[Account, LetterData, list[str]]] = {
    # 1. Entitlement.
    "a free account sends from the internal address": (
        account(company("info"), plan="free"),
        comment(),
        ["company info not_entitled", INTERNAL_CHOSEN],
    ),
    "a paid account sends from its mailbox": (account(company("info")), comment(), ["*company info usable"]),
    "a premium account sends from its mailbox": (
        account(company("info"), plan="premium"),
        comment(),
        ["*company info usable"],
    ),
    "a free account in its trial sends from its mailbox": (
        account(company("info"), plan="free", trial_ends_at=NOW + SECOND),
        comment(),
        ["*company info usable"],
    ),
    "a trial that ends at this very moment has ended": (
        account(company("info"), plan="free", trial_ends_at=NOW),
        comment(),
        ["company info not_entitled", INTERNAL_CHOSEN],
    ),
    "a paid account stays entitled when a trial of its has ended": (
        account(company("info"), trial_ends_at=NOW - SECOND),
        comment(),
        ["*company info usable"],
    ),
    "for an account that is not entitled the choice is not looked at": (
        account(company("info"), plan="free"),
        comment(choice="info"),
        ["chosen info not_entitled", INTERNAL_CHOSEN],
    ),
    "nor is it when the snapshot does not know the chosen mailbox": (
        account(company("info"), plan="free"),
        comment(choice="gone"),
        ["chosen gone not_entitled", "company info not_entitled", INTERNAL_CHOSEN],
    ),
    # 2. Who may use a mailbox.
    "another employee's mailbox is not even considered": (account(olgas("olga")), comment(), [INTERNAL_CHOSEN]),
    "a company mailbox without restrictions is for every employee": (
        account(company("info", **only_for())),
        comment(),
        ["*company info usable"],
    ),
    "a restricted one is for the employees named": (
        account(company("info", **only_for(employees=("e-ivan",)))),
        comment(),
        ["*company info usable"],
    ),
    "and for the members of the groups named": (
        account(company("info", **only_for(groups=("support",)))),
        comment(),
        ["*company info usable"],
    ),
    "and for nobody else": (
        account(company("info", **only_for(employees=("e-olga",), groups=("sales",)))),
        comment(),
        ["company info no_access", INTERNAL_CHOSEN],
    ),
    "employees named alone keep out the groups": (
        account(company("info", **only_for(employees=("e-olga",)))),
        comment(),
        ["company info no_access", INTERNAL_CHOSEN],
    ),
    "an employee's id that is a group's name gives no access": (
        account(company("info", **only_for(groups=("e-ivan",)))),
        comment(),
        ["company info no_access", INTERNAL_CHOSEN],
    ),
    "nor does a group's name among the employees": (
        account(company("info", **only_for(employees=("support",)))),
        comment(),
        ["company info no_access", INTERNAL_CHOSEN],
    ),
    "an inactive mailbox is for nobody": (
        account(company("info", active=False), ivans("ivan", active=False)),
        comment(),
        ["employee ivan inactive", "company info inactive", INTERNAL_CHOSEN],
    ),
    "access lists mean nothing on an employee's own mailbox": (
        account(ivans("ivan", **only_for(employees=("e-olga",)))),
        comment(),
        ["*employee ivan usable"],
    ),
    # 3. Where a mailbox may be used.
    "a mailbox of the task's project is used": (
        account(company("brand", "p-1")),
        comment("p-1"),
        ["*company_project brand usable"],
    ),
    "a mailbox of several projects is used in each": (
        account(company("brand", "p-1", "p-2")),
        comment("p-2"),
        ["*company_project brand usable"],
    ),
    "it is not used in another project": (
        account(company("brand", "p-1")),
        comment("p-2"),
        ["company_project brand other_project", INTERNAL_CHOSEN],
    ),
    "nor in a task without project": (
        account(company("brand", "p-1"), ivans("own", "p-1")),
        comment(),
        ["employee_project own other_project", "company_project brand other_project", INTERNAL_CHOSEN],
    ),
    "a mailbox without projects is used in any": (account(company("info")), comment("p-9"), ["*company info usable"]),
    # 4. The author's choice.
    "a comment's choice is followed": (
        account(ivans("ivan"), company("info")),
        comment(choice="info"),
        ["*chosen info usable"],
    ),
    "also to a mailbox of the project": (
        account(ivans("ivan"), company("brand", "p-1")),
        comment("p-1", choice="brand"),
        ["*chosen brand usable"],
    ),
    "a new task's choice counts when the template has the field": (
        account(ivans("ivan"), company("info")),
        new_task("info", FIELD),
        ["*chosen info usable"],
    ),
    "a new task's choice is ignored when the template has no such field": (
        account(ivans("ivan"), company("info")),
        new_task("info", NO_FIELD),
        ["chosen info choice_ignored_no_template_field", "*employee ivan usable", "company info lower_tier"],
    ),
    "a new task's choice is ignored when there is no template": (
        account(company("info")),
        new_task("info"),
        ["chosen info choice_ignored_no_template_field", "*company info usable"],
    ),
    "an ignored choice may even be unknown": (
        account(company("info")),
        new_task("gone"),
        ["chosen gone choice_ignored_no_template_field", "*company info usable"],
    ),
    "the field without a choice changes nothing": (
        account(company("info")),
        new_task(None, FIELD),
        ["*company info usable"],
    ),
    # 5. No choice made.
    "an employee's own mailbox wins over the company's, even over the project's": (
        account(company("brand", "p-1", default=True), company("info", default=True), ivans("ivan")),
        comment("p-1"),
        ["*employee ivan usable", "company_project brand lower_tier", "company info lower_tier"],
    ),
    "within the employee's, one of the project wins over one without": (
        account(ivans("a", default=True), ivans("b", "p-1")),
        comment("p-1"),
        ["*employee_project b usable", "employee a lower_tier"],
    ),
    "within the company's, one of the project wins over one without": (
        account(company("a", default=True), company("b", "p-1")),
        comment("p-1"),
        ["*company_project b usable", "company a lower_tier"],
    ),
    "then the one marked default": (
        account(company("a"), company("b", default=True)),
        comment(),
        ["*company b usable", "company a lower_tier"],
    ),
    "with several defaults, the order of ids": (
        account(company("c", default=True), company("b", default=True), company("a")),
        comment(),
        ["*company b usable", "company c lower_tier", "company a lower_tier"],
    ),
    "with no default, the order of ids": (
        account(company("b"), company("a")),
        comment(),
        ["*company a usable", "company b lower_tier"],
    ),
    "a default that is not usable gives way": (
        account(company("a"), company("b", default=True, active=False)),
        comment(),
        ["company b inactive", "*company a usable"],
    ),
    "some employees write from a shared mailbox and others from their own": (
        account(ivans("ivan"), company("info")),
        comment(author="e-olga"),
        ["*company info usable"],
    ),
    # 6. Nothing usable.
    "an account without mailboxes sends from the internal address": (account(), comment(), [INTERNAL_CHOSEN]),
}


@pytest.mark.parametrize("rule", ROWS)
def test_rules(rule: str) -> None:
    """The sender is the one selected in the explanation, and the explanation is told in full."""
    at, data, expected = ROWS[rule]
    resolution = resolve(at, data, NOW)
    assert told(resolution) == expected
    assert resolution.reason is None
    assert resolution.sender is not None
    selected = next(line for line in expected if line.startswith("*")).split()[1]
    assert resolution.sender.address == (INTERNAL if selected == "-" else f"{selected}@acme.example")
    assert resolution.tier is resolution.sender.tier


REFUSED: dict[str, tuple[Account, LetterData, Reason, list[str]]] = {
    "a chosen mailbox the snapshot does not know": (
        account(company("info")),
        comment(choice="gone"),
        Reason.SENDER_UNAVAILABLE,
        ["chosen gone unknown_mailbox"],
    ),
    "a chosen mailbox that is not active": (
        account(company("info"), company("off", active=False)),
        comment(choice="off"),
        Reason.SENDER_NOT_PERMITTED,
        ["chosen off inactive"],
    ),
    "a chosen mailbox of another project": (
        account(company("info"), company("brand", "p-1")),
        comment("p-2", choice="brand"),
        Reason.SENDER_NOT_PERMITTED,
        ["chosen brand other_project"],
    ),
    "a chosen mailbox with projects in a task without": (
        account(company("info"), company("brand", "p-1")),
        comment(choice="brand"),
        Reason.SENDER_NOT_PERMITTED,
        ["chosen brand other_project"],
    ),
    "a chosen mailbox the author has no access to": (
        account(company("info"), company("vip", **only_for(groups=("sales",)))),
        comment(choice="vip"),
        Reason.SENDER_NOT_PERMITTED,
        ["chosen vip no_access"],
    ),
    "a chosen mailbox of another employee": (
        account(ivans("ivan"), olgas("olga")),
        comment(choice="olga"),
        Reason.SENDER_NOT_PERMITTED,
        ["chosen olga no_access"],
    ),
    "a new task's choice that counts and may not be used": (
        account(ivans("ivan"), olgas("olga")),
        new_task("olga", FIELD),
        Reason.SENDER_NOT_PERMITTED,
        ["chosen olga no_access"],
    ),
}


@pytest.mark.parametrize("choice", REFUSED)
def test_a_choice_that_cannot_be_followed_is_never_replaced(choice: str) -> None:
    """If the chosen mailbox cannot be used, then nothing is sent, although another mailbox could be used."""
    at, data, reason, expected = REFUSED[choice]
    resolution = resolve(at, data, NOW)
    assert resolution.sender is None
    assert resolution.reason is reason
    assert resolution.tier is Tier.CHOSEN
    assert told(resolution) == expected


@pytest.mark.parametrize("known", [None, account()], ids=["account", "author"])
@pytest.mark.parametrize("choice", [None, "info"])
def test_an_account_or_an_author_the_snapshot_does_not_know_may_come_later(
    known: Account | None, choice: str | None
) -> None:
    """If the snapshot lags behind, then the letter waits, and nobody else's address is used."""
    resolution = resolve(known, comment(author="e-new", choice=choice), NOW)
    assert (resolution.sender, resolution.reason) == (None, Reason.SENDER_UNAVAILABLE)
    assert (resolution.explanation, resolution.tier) == ((), Tier.INTERNAL)


def test_the_author_must_be_known_even_when_the_account_is_not_entitled() -> None:
    """If the author is unknown, then there is no internal address to fall back to."""
    resolution = resolve(account(plan="free"), comment(author="e-new"), NOW)
    assert resolution.reason is Reason.SENDER_UNAVAILABLE


@pytest.mark.parametrize(("plan", "is_entitled"), [("free", False), ("paid", True)])
def test_the_sender_says_whether_the_account_is_entitled(plan: str, is_entitled: bool) -> None:
    """If the internal address is used, then signatures and attachments still depend on the plan."""
    sender = resolve(account(plan=plan), comment(), NOW).sender
    assert sender is not None
    assert sender.mailbox is None
    assert sender.is_entitled is is_entitled
