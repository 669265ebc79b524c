"""The customers of a run: accounts and mailboxes, as the configuration snapshot has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stack import Mailbox

PASSWORD = "chaos-password"
SECRETS = tuple(f"SENDAS_SECRET_CHAOS_{number}" for number in range(50))
"""Many names of the same password: a mailbox that goes on to the next has changed settings, never seen before."""

AUTHOR = "e-author"
FREE_ACCOUNT = "free"
ACCOUNTS = ("each", "common", FREE_ACCOUNT)
RELAY_USER = "relay@product.example"


@dataclass(frozen=True)
class Profile:
    """A kind of mailbox: which SMTP server it has, whether its IMAP goes through the faulty network, its copies."""

    smtp: str
    is_imap_faulty: bool
    copies: str
    account: str


PROFILES = (
    Profile("calm", False, "always", "each"),
    Profile("faulty_starttls", True, "always", "each"),
    Profile("faulty_tls", True, "always", "common"),
    Profile("faulty_saving", True, "auto", "each"),
    Profile("faulty_tls", False, "never", "each"),
    Profile("faulty_starttls", True, "always", "common"),
)
SMTP_SERVERS = ("calm", "faulty_starttls", "faulty_tls", "faulty_saving")


@dataclass(frozen=True)
class Customer:
    """One mailbox of a customer."""

    number: int
    profile: Profile

    @property
    def id(self) -> str:
        return f"mb-{self.number}"

    @property
    def address(self) -> str:
        return f"sales-{self.number}@shop-{self.number}.example"

    @property
    def account_id(self) -> str:
        return self.profile.account

    @property
    def wants_copies(self) -> bool:
        """Whether each of its letters is to be found in its Sent folder, whoever puts it there."""
        return self.profile.copies != "never"

    @property
    def imap_account(self) -> Mailbox:
        return Mailbox(self.address, PASSWORD)


def customers(count: int) -> tuple[Customer, ...]:
    """So many mailboxes, of every profile in turn."""
    return tuple(Customer(number, PROFILES[number % len(PROFILES)]) for number in range(count))


@dataclass(frozen=True)
class Ports:
    """Where the servers are: SMTP by name, the relay, IMAP directly and through the faulty network."""

    smtp: Mapping[str, int]
    relay: int
    imap: int
    imap_faulty: int


@dataclass(frozen=True)
class Configuration:
    """The product's configuration."""

    customers: tuple[Customer, ...]
    ports: Ports

    def snapshot(
        self, version: int, changes: Mapping[str, int], *, broken_account: str | None = None
    ) -> dict[str, Any]:
        """The snapshot of a version; `changes`: how often each mailbox was changed. One account may be broken in it."""
        accounts = [self._account(name, changes, is_broken=name == broken_account) for name in ACCOUNTS]
        relay = {"host": "127.0.0.1", "port": self.ports.relay, "security": "tls", "auth": _auth(RELAY_USER, 0)}
        return {
            "schema": "sendas.snapshot/v1",
            "version": version,
            "generated_at": datetime.now(UTC).isoformat(),
            "platform": {"relay": relay},
            "accounts": accounts,
        }

    def _account(self, account_id: str, changes: Mapping[str, int], *, is_broken: bool) -> dict[str, Any]:
        mailboxes = [
            self._mailbox(customer, changes.get(customer.id, 0))
            for customer in self.customers
            if customer.account_id == account_id
        ]
        return {
            "id": account_id,
            "plan": "no such plan" if is_broken else "free" if account_id == FREE_ACCOUNT else "paid",
            "settings": {"name_all_recipients": account_id == "common", "plain_text_version": True},
            "employees": [{"id": AUTHOR, "name": "Анна", "internal_address": f"anna@{account_id}.product.example"}],
            "mailboxes": mailboxes,
        }

    def _mailbox(self, customer: Customer, changes: int) -> dict[str, Any]:
        profile = customer.profile
        security = "starttls" if profile.smtp in ("faulty_starttls", "faulty_saving") else "tls"
        imap_port = self.ports.imap_faulty if profile.is_imap_faulty else self.ports.imap
        return {
            "id": customer.id,
            "owner": {"kind": "company"},
            "address": customer.address,
            "display_name": f"Shop {customer.number}",
            "smtp": {
                "host": "127.0.0.1",
                "port": self.ports.smtp[profile.smtp],
                "security": security,
                "auth": _auth(customer.address, changes),
            },
            "sent_copy": {
                "mode": profile.copies,
                "imap": {"host": "127.0.0.1", "port": imap_port, "security": "tls"},
            },
            "limits": {"connections": 3},
        }


def _auth(username: str, changes: int) -> dict[str, Any]:
    return {"method": "password", "username": username, "secret": {"env": SECRETS[changes % len(SECRETS)]}}
