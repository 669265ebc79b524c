"""What holds of the sender in every account, task and choice."""

import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOON, a_mailbox, an_account, an_employee, comment_data, task_data
from worker.domain.events.models import CommentCreated, LetterData
from worker.domain.snapshot.model import Account, CompanyOwner, EmployeeOwner, Mailbox
from worker.domain.snapshot.resolution import Resolution, resolve
from worker.domain.vocabulary import Reason, Tier, Verdict, Why

EMPLOYEES = ("e-1", "e-2", "support")  # some ids are names of groups as well
PROJECTS = ("p-1", "p-2")
MAILBOXES = ("mb-0", "mb-1", "mb-2", "mb-3")

# Few draws for each account: what is drawn are whole lists and owners, not their parts.
FLAGS = st.booleans()
OWNERS = st.sampled_from(
    [{"kind": "company"}, {"kind": "company"}, *({"kind": "employee", "employee_id": each} for each in EMPLOYEES)]
)
SOME_PROJECTS = st.sampled_from([(), ("p-1",), ("p-2",), PROJECTS])
SOME_GROUPS = st.sampled_from([(), ("support",), ("sales",), ("e-1",), ("support", "e-1")])
ACCESS = st.sampled_from(
    [
        {"employees": employees, "groups": groups}
        for employees in ((), ("e-1",), ("support",), ("e-1", "e-2"))
        for groups in ((), ("support",), ("e-1",), ("sales", "support"))
    ]
)
TRIAL_ENDS = st.sampled_from([None, *(NOON + timedelta(seconds=seconds) for seconds in (-1, 0, 1))])
PLANS = st.sampled_from(["free", "paid", "premium"])
HOW_MANY = st.integers(0, len(MAILBOXES))


def a_drawn_mailbox(draw: st.DrawFn, mailbox_id: str) -> Mailbox:
    return a_mailbox(
        id=mailbox_id,
        owner=draw(OWNERS),
        address=f"{mailbox_id}@acme.example",
        active=draw(FLAGS),
        default=draw(FLAGS),
        projects=draw(SOME_PROJECTS),
        access=draw(ACCESS),
    )


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    return an_account(
        plan=draw(PLANS),
        trial_ends_at=draw(TRIAL_ENDS),
        employees=[
            an_employee(id=each, internal_address=f"{each}@acme.product.example", groups=draw(SOME_GROUPS))
            for each in EMPLOYEES
        ],
        mailboxes=[a_drawn_mailbox(draw, each) for each in MAILBOXES[: draw(HOW_MANY)]],
    )


@st.composite
def letters(draw: st.DrawFn) -> LetterData:
    author = {"employee_id": draw(st.sampled_from([*EMPLOYEES, "e-unknown"]))}
    choice = draw(st.none() | st.sampled_from([*MAILBOXES, "mb-unknown"]))
    task = {"project_id": draw(st.none() | st.sampled_from([*PROJECTS, "p-3"]))}
    if draw(st.booleans()):
        return comment_data(author=author, mailbox_id=choice, task=task)
    template = draw(st.none() | st.booleans().map(lambda has: {"id": "t", "has_external_address_field": has}))
    return task_data(author=author, mailbox_id=choice, task=task, template=template)


def resolved(account: Account, data: LetterData) -> Resolution:
    return resolve(account, data, NOON)


def may_use(account: Account, mailbox: Mailbox, data: LetterData) -> bool:
    """The rules again, in other words than the code's."""
    author = next(employee for employee in account.employees if employee.id == data.author.employee_id)
    if isinstance(mailbox.owner, EmployeeOwner):
        is_theirs = mailbox.owner.employee_id == author.id
    else:
        is_open = not (mailbox.access.employees | mailbox.access.groups)
        is_theirs = is_open or author.id in mailbox.access.employees or bool(mailbox.access.groups & author.groups)
    return mailbox.active and is_theirs and (not mailbox.projects or data.task.project_id in mailbox.projects)


def counts(data: LetterData) -> bool:
    is_field_there = isinstance(data, CommentCreated) or (
        data.template is not None and data.template.has_external_address_field
    )
    return data.mailbox_id is not None and is_field_there


@given(accounts(), letters())
def test_a_letter_never_leaves_from_a_mailbox_its_author_may_not_use_here(account: Account, data: LetterData) -> None:
    """If a mailbox is the sender, then it is this account's, active, the author's to use, and of this project."""
    sender = resolved(account, data).sender
    if sender is not None and sender.mailbox is not None:
        assert sender.mailbox in account.mailboxes
        assert may_use(account, sender.mailbox, data)
        assert account.is_entitled(NOON)
        assert sender.employee.id == data.author.employee_id


@given(accounts(), letters(), st.randoms(use_true_random=False))
def test_the_order_within_the_snapshot_changes_nothing(
    account: Account, data: LetterData, order: random.Random
) -> None:
    """If the product writes mailboxes or employees in another order, then the answer and its account are the same."""
    mixed = account.model_copy(
        update={
            "mailboxes": tuple(order.sample(account.mailboxes, len(account.mailboxes))),
            "employees": tuple(order.sample(account.employees, len(account.employees))),
        }
    )
    one, other = resolved(account, data), resolved(mixed, data)
    assert one.explanation == other.explanation
    assert (one.tier, one.reason) == (other.tier, other.reason)
    assert (one.sender and one.sender.address) == (other.sender and other.sender.address)


@given(accounts(), letters())
def test_entitlement_comes_first(account: Account, data: LetterData) -> None:
    """If the account is not entitled, then the sender is the internal address, whatever is chosen or configured."""
    resolution = resolved(account, data)
    if not account.is_entitled(NOON) and data.author.employee_id in EMPLOYEES:
        assert resolution.sender is not None
        assert resolution.sender.mailbox is None
        assert resolution.sender.address == f"{data.author.employee_id}@acme.product.example"
        assert {seen.why for seen in resolution.explanation} <= {Why.NOT_ENTITLED, Why.USABLE}


@given(accounts(), letters())
def test_a_choice_is_followed_or_refused_never_replaced(account: Account, data: LetterData) -> None:
    """If a choice counts, then the sender is that mailbox or there is none."""
    resolution = resolved(account, data)
    if counts(data) and account.is_entitled(NOON) and data.author.employee_id in EMPLOYEES:
        assert resolution.tier is Tier.CHOSEN
        if resolution.sender is not None:
            assert resolution.sender.mailbox is not None
            assert resolution.sender.mailbox.id == data.mailbox_id
        else:
            assert resolution.reason in (Reason.SENDER_UNAVAILABLE, Reason.SENDER_NOT_PERMITTED)


@given(accounts(), letters())
def test_the_best_usable_mailbox_is_found(account: Account, data: LetterData) -> None:
    """If no choice counts, then no usable mailbox stands before the sender in the order of precedence."""
    sender = resolved(account, data).sender
    if sender is None or counts(data) or not account.is_entitled(NOON):
        return
    usable = [mailbox for mailbox in account.mailboxes if may_use(account, mailbox, data)]
    best = min(
        usable,
        key=lambda m: (isinstance(m.owner, CompanyOwner), not m.projects, not m.default, m.id),
        default=None,
    )
    assert sender.mailbox == best


@given(accounts(), letters())
def test_the_explanation_is_whole(account: Account, data: LetterData) -> None:
    """If there is a sender, then exactly one address is selected, else none; no mailbox stands there twice as such."""
    resolution = resolved(account, data)
    selected = [seen for seen in resolution.explanation if seen.verdict is Verdict.SELECTED]
    assert (resolution.sender is None) == (resolution.reason is not None)
    assert len(selected) == (1 if resolution.sender else 0)
    if resolution.sender:
        assert selected[0].tier is resolution.sender.tier is resolution.tier
        assert selected[0].mailbox_id == (resolution.sender.mailbox.id if resolution.sender.mailbox else None)
    assert all((seen.why is Why.USABLE) == (seen.verdict is Verdict.SELECTED) for seen in resolution.explanation)
    # An ignored choice is told besides, as its mailbox may still be the one that is found.
    looked_at = [
        seen.mailbox_id for seen in resolution.explanation if seen.why is not Why.CHOICE_IGNORED_NO_TEMPLATE_FIELD
    ]
    assert len(set(looked_at)) == len(looked_at)
    if resolution.sender and selected[0].tier is not Tier.CHOSEN:
        mine = {
            mailbox.id
            for mailbox in account.mailboxes
            if isinstance(mailbox.owner, CompanyOwner) or mailbox.owner.employee_id == data.author.employee_id
        }
        assert mine <= {seen.mailbox_id for seen in resolution.explanation}
