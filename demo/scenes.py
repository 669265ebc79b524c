"""What happens in the demo: the product's events, and beside each what must come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.files import DIRECTORY
from demo.installation import SUSPICIOUS

ANNA, BORIS, VERA = "anna@customer.example", "boris@customer.example", "vera@partner.example"
MARIA = "maria@studio.product.example"
UNKNOWN = "nobody@customer.example"

SENT = "sent"
SAVED = "saved"
OFF = "turned_off"
NO_IMAP = "no_imap"

Json = dict[str, Any]


@dataclass(frozen=True)
class Letter:
    """What every recipient must find: answers go to `reply_to`, or to the sender when it is None."""

    reply_to: str | None = None
    attachments: tuple[str, ...] = ()
    contains: str = ""


@dataclass(frozen=True)
class Scene:
    """One event, and what must come of it.

    `recipients` maps each address to `sent`, or to outcome and reason; `copies` is what becomes of each letter's copy
    in Sent; `announcements` are the types of further results.
    """

    title: str
    event: Json
    sender: str | None
    tier: str | None
    recipients: Mapping[str, str]
    copies: tuple[str, ...] = ()
    announcements: frozenset[str] = frozenset()
    letter: Letter = field(default_factory=Letter)

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self.event["id"])

    @property
    def subject(self) -> str:
        """The subject of its letters."""
        title = str(self.event["data"]["task"]["title"])
        return f"Re: {title}" if self.event["type"] == "comment.created" else title

    @property
    def sent_to(self) -> list[str]:
        """Who gets a letter."""
        return [address for address, outcome in self.recipients.items() if outcome == SENT]

    @property
    def is_common(self) -> bool:
        """Whether one letter names all recipients."""
        return str(self.event["data"]["account_id"]) == "studio"


def comment(number: int, account: str, author: str, title: str, to: Sequence[str], **more: object) -> Json:
    """An employee's comment; `project` and whatever else `data` can have may be given."""
    task = {"id": f"t-{number}", "title": title, "project_id": more.pop("project", None)}
    return _event(
        number,
        "comment.created",
        account_id=account,
        author={"employee_id": author},
        task=task,
        comment={"id": f"c-{number}", "html": f"<p>{title}: <b>завтра</b>.</p>", "created_at": "2026-11-23T09:59:58Z"},
        recipients=[{"address": address, "name": address.partition("@")[0].capitalize()} for address in to],
        **more,
    )


def task(
    number: int, account: str, author: str, title: str, to: Sequence[str], *, has_field: bool, **more: Any
) -> Json:
    """A new task, from a template with or without the field *External address*."""
    return _event(
        number,
        "task.created",
        account_id=account,
        author={"employee_id": author},
        task={"id": f"t-{number}", "title": title, "html": f"<p>{title}</p>", "created_at": "2026-11-23T09:59:58Z"},
        template={"id": "template-1", "has_external_address_field": has_field},
        recipients=[{"address": address} for address in to],
        **more,
    )


def _event(number: int, event_type: str, **data: object) -> Json:
    return {
        "specversion": "1.0",
        "id": f"demo-{number}",
        "source": "/product/demo",
        "type": event_type,
        "time": "2026-11-23T10:00:00Z",
        "datacontenttype": "application/json",
        "data": data,
    }


def _file(files_url: str, name: str, content_type: str) -> Json:
    return {
        "name": name,
        "content_type": content_type,
        "size": (DIRECTORY / name).stat().st_size,
        "url": f"{files_url}/{name}",
        "link": f"https://product.example/files/{name}",
    }


def scenes(files_url: str) -> list[Scene]:
    """The scenes that are played first, all at once."""
    files = [_file(files_url, "estimate.pdf", "application/pdf"), _file(files_url, "works.csv", "text/csv")]
    return [*_tiers(), *_entitlement(), *_letters(files), *_troubles()]


def _tiers() -> list[Scene]:
    own = Letter(reply_to="ivan@acme.product.example")
    return [
        Scene(
            "Ivan comments and chooses nothing: his own mailbox",
            comment(1, "acme", "ivan", "Ремонт кондиционера", [ANNA], append_signature=True),
            "ivan@acme.example", "employee", {ANNA: SENT}, (SAVED,),
            letter=Letter("ivan@acme.product.example", contains="Иван Петров, ACME"),
        ),
        Scene(
            "Ivan in the project “brand”: the mailbox bound to it",
            comment(2, "acme", "ivan", "A new logo", [ANNA], project="brand"),
            "ivan@brand.example", "employee_project", {ANNA: SENT}, (SAVED,), letter=own,
        ),
        Scene(
            "Petr has no mailbox; the project “service” has one",
            comment(3, "acme", "petr", "Плановый осмотр", [BORIS], project="service"),
            "service@acme.example", "company_project", {BORIS: SENT}, (SAVED,),
        ),
        Scene(
            "Petr in another project: the company's general mailbox",
            comment(4, "acme", "petr", "Office lamps", [BORIS], project="office"),
            "support@acme.example", "company", {BORIS: SENT}, (SAVED,),
        ),
        Scene(
            "Ivan chooses the company's mailbox for a comment",
            comment(5, "acme", "ivan", "Invoice question", [ANNA], mailbox_id="acme-support"),
            "support@acme.example", "chosen", {ANNA: SENT}, (SAVED,),
        ),
        Scene(
            "New task, template with the field: the choice counts",
            task(6, "acme", "ivan", "Новые окна", [ANNA], has_field=True, mailbox_id="acme-support"),
            "support@acme.example", "chosen", {ANNA: SENT}, (SAVED,),
        ),
        Scene(
            "New task, template without it: the choice is ignored",
            task(7, "acme", "ivan", "New doors", [ANNA], has_field=False, mailbox_id="acme-support"),
            "ivan@acme.example", "employee", {ANNA: SENT}, (SAVED,), letter=own,
        ),
    ]  # fmt: skip


def _entitlement() -> list[Scene]:
    return [
        Scene(
            "A free account: the internal address, whatever was chosen",
            comment(8, "garage", "bob", "Winter tyres", [VERA], mailbox_id="garage-own"),
            "bob@garage.product.example", "internal", {VERA: SENT},
        ),
        Scene(
            "A trial that ended yesterday: the internal address",
            comment(9, "bakery", "ann", "Birthday cake", [VERA]),
            "ann@bakery.product.example", "internal", {VERA: SENT},
        ),
        Scene(
            "A trial that ends tomorrow: the company's mailbox",
            comment(10, "florist", "rose", "Red roses", [VERA]),
            "rose@florist.example", "company", {VERA: SENT}, (SAVED,),
            letter=Letter("rose@florist.product.example"),
        ),
    ]  # fmt: skip


def _letters(files: list[Json]) -> list[Scene]:
    return [
        Scene(
            "One common letter that names all, a colleague too",
            comment(11, "studio", "maria", "Photo session", [ANNA, VERA, MARIA]),
            "hello@studio.example", "company", {ANNA: SENT, VERA: SENT, MARIA: SENT}, (OFF,),
        ),
        Scene(
            "One letter each; two addresses are refused",
            comment(12, "acme", "petr", "Счёт за ноябрь", [BORIS, UNKNOWN, SUSPICIOUS]),
            "support@acme.example", "company",
            {BORIS: SENT, UNKNOWN: "failed: recipient_unknown", SUSPICIOUS: "failed: message_rejected_spam"}, (SAVED,),
        ),
        Scene(
            "Files as attachments, downloaded from the product",
            comment(13, "acme", "petr", "Смета", [ANNA], files=files),
            "support@acme.example", "company", {ANNA: SENT}, (SAVED,),
            letter=Letter(attachments=("estimate.pdf", "works.csv")),
        ),
        Scene(
            "Files as links, as the account wants it",
            comment(14, "studio", "maria", "Pictures to choose from", [VERA], files=files),
            "hello@studio.example", "company", {VERA: SENT}, (OFF,),
            letter=Letter(contains="https://product.example/files/estimate.pdf"),
        ),
        Scene(
            "A reply address for this one message",
            comment(15, "acme", "petr", "Delivery date", [BORIS], reply_to="task+t15.x7@acme.product.example"),
            "support@acme.example", "company", {BORIS: SENT}, (SAVED,),
            letter=Letter("task+t15.x7@acme.product.example"),
        ),
    ]  # fmt: skip


def _troubles() -> list[Scene]:
    invalid = comment(18, "acme", "ivan", "An event without recipients", [ANNA])
    del invalid["data"]["recipients"]
    return [
        Scene(
            "Olga's password was changed: her mailbox is suspended",
            comment(16, "acme", "olga", "Contract", [ANNA]),
            "olga@acme.example", "employee", {ANNA: "deferred: auth_failed"},
            announcements=frozenset({"mailbox.suspended"}),
        ),
        Scene(
            "Petr chooses a mailbox that only Olga may use",
            comment(17, "acme", "petr", "Refund", [ANNA], mailbox_id="acme-billing"),
            None, "chosen", {ANNA: "failed: sender_not_permitted"},
        ),
        Scene(
            "An event that nobody can read: told, and kept for an operator",
            invalid, None, None, {"": "failed: invalid_event"},
        ),
    ]  # fmt: skip


def later_scene() -> Scene:
    """Played when the mailbox is suspended: the letter waits, and nobody tries to sign in once more."""
    return Scene(
        "Olga again: her letter waits, no second sign-in",
        comment(19, "acme", "olga", "Contract, page 2", [BORIS]),
        "olga@acme.example", "employee", {BORIS: "deferred: auth_failed"},
    )  # fmt: skip
