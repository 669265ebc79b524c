"""The real servers as fixtures: each starts at its first use in a session, and all end with it.

A server that cannot start is an error, never a skip, and shows the end of its log.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import add_log_level

from stack import Authority, Mailbox, MailServer, PostgreSQL, RabbitMQ, private_directory, running

COMPANY_DOMAIN = "acme.example"
CUSTOMER_DOMAIN = "customer.example"

NewMailbox = Callable[..., Awaitable[Mailbox]]


@pytest.fixture(autouse=True)
def _plain_tracebacks() -> None:
    """Log exceptions without the values of all local variables, which take a second to render."""
    if not structlog.is_configured():
        renderer = ConsoleRenderer(exception_formatter=plain_traceback)
        structlog.configure(processors=[structlog.contextvars.merge_contextvars, add_log_level, renderer])


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A directory that the servers' own users can pass through (pytest's own temporary ones bar them)."""
    with private_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def authority(server_directory: Path) -> Authority:
    """The authority that issued the mail server's certificate."""
    return Authority(server_directory / "tls")


@pytest.fixture(scope="session")
async def rabbitmq(server_directory: Path) -> AsyncIterator[RabbitMQ]:
    """A broker of one node. A test that stops or suspends it sets it going again."""
    broker = RabbitMQ(server_directory / "rabbitmq")
    async with running(broker):
        yield broker


@pytest.fixture(scope="session")
async def mail(server_directory: Path, authority: Authority) -> AsyncIterator[MailServer]:
    """Postfix and Dovecot, receiving for COMPANY_DOMAIN and CUSTOMER_DOMAIN, without a mailbox at first."""
    server = MailServer(server_directory / "mail", authority, domains=[COMPANY_DOMAIN, CUSTOMER_DOMAIN])
    async with running(server):
        yield server


@pytest.fixture(scope="session")
async def postgresql(server_directory: Path) -> AsyncIterator[PostgreSQL]:
    """A database server that does not wait for the disk."""
    server = PostgreSQL(server_directory / "postgresql", fsync=False)
    async with running(server):
        yield server


@pytest.fixture
async def vhost_url(rabbitmq: RabbitMQ) -> AsyncIterator[str]:
    """AMQP URL of an empty virtual host of the test's own."""
    name = f"test-{secrets.token_hex(6)}"
    yield await rabbitmq.first.add_vhost(name)
    await rabbitmq.first.delete_vhost(name)


@pytest.fixture
async def database_url(postgresql: PostgreSQL) -> str:
    """URL of an empty database of the test's own."""
    return await postgresql.add_database()


@pytest.fixture
def new_mailbox(mail: MailServer) -> NewMailbox:
    """A function that adds an empty mailbox under an address of its own; takes what Mailbox takes."""

    async def add(
        name: str = "user",
        domain: str = COMPANY_DOMAIN,
        *,
        sent_folder: str = "Sent",
        special_use: bool = True,
        prefix: str = "",
    ) -> Mailbox:
        address = f"{name}-{secrets.token_hex(4)}@{domain}"
        password = secrets.token_urlsafe(9)
        mailbox = Mailbox(address, password, sent_folder=sent_folder, special_use=special_use, prefix=prefix)
        await mail.add(mailbox)
        return mailbox

    return add
