"""A browser for the session, and for each test a company with its console."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from stack import MailServer
from tests.acceptance.command import sendas
from tests.acceptance.office import Office, an_office
from tests.conftest import CUSTOMER_DOMAIN, NewMailbox
from tests.console.browser import Window, chromium, window
from tests.console.desk import PASSWORD, Console, running_console, settings_of
from worker.adapters.broker.topology import apply_topology
from worker.domain.topology import Topology


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest.fixture
async def office(vhost_url: str, mail: MailServer, new_mailbox: NewMailbox, tmp_path: Path) -> Office:
    """A company with two mailboxes, and queues for its letters and their history."""
    mailboxes = (await new_mailbox("support"), await new_mailbox("sales"))
    customer = await new_mailbox("client", CUSTOMER_DOMAIN)
    office = an_office(tmp_path, vhost_url, mail, mailboxes, customer)
    await apply_topology(vhost_url, Topology(has_history=True))
    migrated = await sendas("history", "migrate", settings=settings_of(office))
    assert migrated.status == 0, migrated.errors
    return office


@pytest.fixture
async def console(office: Office) -> AsyncIterator[Console]:
    async with running_console(office) as started:
        yield started


@pytest.fixture
async def olga(browser: Browser, console: Console) -> AsyncIterator[Window]:
    """An operator's window. What the browser complains of fails the test."""
    async with window(browser, console.origin) as opened:
        await opened.sign_in("olga", PASSWORD)
        yield opened
        assert opened.faults == []
