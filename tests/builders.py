"""Builders of accounts, mailboxes, employees and events: sensible defaults, and any field can be set by its name.

They build through the models' own validation, from the documents of the contract, so that nothing stands in a test
that could not have come from outside.
"""

from datetime import UTC, datetime
from typing import Any

from worker.domain.events.models import CommentCreated, Event, TaskCreated
from worker.domain.snapshot.model import Account, Employee, Mailbox, Snapshot
from worker.domain.snapshot.resolution import Sender
from worker.domain.vocabulary import EventType, Tier

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SOURCE = "/product/comments"
SEALED = "main.v2." + 80 * "A"
"""A sealed secret by its form, which nobody can open."""


def an_employee(**fields: Any) -> Employee:
    """Ivan, of the support group."""
    return Employee.model_validate(
        {"id": "e-ivan", "name": "Иван Петров", "internal_address": "ivan@acme.product.example", "groups": ["support"]}
        | fields
    )


def a_mailbox(**fields: Any) -> Mailbox:
    """A company mailbox without projects that every employee may use; `smtp={...}` sets parts of its server only."""
    smtp = {
        "host": "smtp.acme.example",
        "port": 465,
        "security": "tls",
        "auth": {"method": "password", "username": "support@acme.example", "secret": {"sealed": SEALED}},
    }
    smtp |= fields.pop("smtp", {})
    return Mailbox.model_validate(
        {
            "id": "mb-support",
            "owner": {"kind": "company"},
            "address": "support@acme.example",
            "display_name": "ACME",
            "smtp": smtp,
        }
        | fields
    )


def an_employees_mailbox(employee_id: str = "e-ivan", **fields: Any) -> Mailbox:
    """A mailbox of one employee's own."""
    return a_mailbox(
        **{
            "id": "mb-ivan",
            "owner": {"kind": "employee", "employee_id": employee_id},
            "address": "ivan@acme.example",
            "display_name": "",
        }
        | fields
    )


def an_account(**fields: Any) -> Account:
    """A paid account with Ivan and no mailbox."""
    return Account.model_validate({"id": "acme", "plan": "paid", "employees": [an_employee()]} | fields)


def a_snapshot(*accounts: Account, **fields: Any) -> Snapshot:
    """A snapshot of these accounts; with none, of one default account."""
    relay = {"host": "relay.product.example", "port": 587, "security": "starttls", "auth": {"method": "none"}}
    return Snapshot.model_validate(
        {
            "schema": "sendas.snapshot/v1",
            "version": 1842,
            "generated_at": NOON,
            "platform": {"relay": relay},
            "accounts": accounts or (an_account(),),
        }
        | fields
    )


def a_sender(mailbox: Mailbox | None = None, *, is_entitled: bool = True, **account_fields: Any) -> Sender:
    """Ivan writing from this mailbox, or from his internal address when there is none."""
    mailboxes = [] if mailbox is None else [mailbox]
    account = an_account(**{"mailboxes": mailboxes} | account_fields)
    tier = Tier.INTERNAL if mailbox is None else Tier.COMPANY
    return Sender(account, account.employees[0], mailbox, tier, is_entitled)


def a_recipient(address: str = "client@example.net", **fields: Any) -> dict[str, Any]:
    """One entry of an event's recipients, as the product writes it."""
    return {"address": address, "name": "Клиент", "role": "to"} | fields


def comment_data(**fields: Any) -> CommentCreated:
    """Ivan's comment to one client; `task` and `comment` set parts of theirs only."""
    return CommentCreated.model_validate(
        {
            "account_id": "acme",
            "author": {"employee_id": "e-ivan"},
            "recipients": [a_recipient()],
        }
        | fields
        | {
            "task": {"id": "4711", "title": "Ремонт кондиционера"} | fields.get("task", {}),
            "comment": {"id": "c-99", "html": "<p>Мастер приедет завтра.</p>", "created_at": NOON}
            | fields.get("comment", {}),
        }
    )


def task_data(**fields: Any) -> TaskCreated:
    """A task that Ivan made for one client; `task` sets parts of it only."""
    return TaskCreated.model_validate(
        {
            "account_id": "acme",
            "author": {"employee_id": "e-ivan"},
            "recipients": [a_recipient()],
        }
        | fields
        | {
            "task": {
                "id": "4711",
                "title": "Ремонт кондиционера",
                "html": "<p>Не охлаждает.</p>",
                "created_at": NOON,
            }
            | fields.get("task", {}),
        }
    )


def a_comment_event(event_id: str = "evt-1", **fields: Any) -> Event[CommentCreated]:
    """`comment.created` at noon, see `comment_data`."""
    return Event(event_id, SOURCE, EventType.COMMENT_CREATED, NOON, comment_data(**fields))


def a_task_event(event_id: str = "evt-1", **fields: Any) -> Event[TaskCreated]:
    """`task.created` at noon, see `task_data`."""
    return Event(event_id, "/product/tasks", EventType.TASK_CREATED, NOON, task_data(**fields))
