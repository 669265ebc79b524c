"""A company of its own for each acceptance test, on the session's broker and mail server."""

from pathlib import Path

import pytest

from stack import MailServer
from tests.acceptance.office import Office, an_office
from tests.conftest import CUSTOMER_DOMAIN, NewMailbox
from worker.adapters.broker.topology import apply_topology
from worker.domain.topology import Topology

_MAILBOXES = 4


@pytest.fixture
async def bare_office(vhost_url: str, mail: MailServer, new_mailbox: NewMailbox, tmp_path: Path) -> Office:
    """An office with a snapshot, on a broker that has no queues yet."""
    mailboxes = tuple([await new_mailbox("support") for _ in range(_MAILBOXES)])
    customer = await new_mailbox("client", CUSTOMER_DOMAIN)
    return an_office(tmp_path, vhost_url, mail, mailboxes, customer)


@pytest.fixture
async def office(bare_office: Office) -> Office:
    """An office whose broker has its exchanges and queues."""
    await apply_topology(bare_office.broker_url, Topology())
    return bare_office
