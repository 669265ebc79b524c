"""A company of its own for each acceptance test, on the session's broker and mail server."""

from pathlib import Path

import pytest

from stack import MailServer
from tests.acceptance.office import Office
from tests.conftest import CUSTOMER_DOMAIN, NewMailbox
from worker.adapters.broker.declaring import apply_topology
from worker.domain.topology import Topology

_MAILBOXES = 4


@pytest.fixture
async def bare_office(vhost_url: str, mail: MailServer, new_mailbox: NewMailbox, tmp_path: Path) -> Office:
    """An office with a snapshot, on a broker that has no queues yet."""
    mailboxes = tuple([await new_mailbox("support") for _ in range(_MAILBOXES)])
    office = Office(
        directory=tmp_path,
        mail=mail,
        mailboxes=mailboxes,
        customer=await new_mailbox("client", CUSTOMER_DOMAIN),
        settings={
            "SENDAS_BROKER_URL": vhost_url,
            "SENDAS_SNAPSHOT_URL": f"file:{tmp_path / 'snapshot.json'}",
            "SENDAS_STATE_DIR": str(tmp_path / "state"),
            "SENDAS_TLS_CA_FILE": str(mail.authority.ca_file),
            "SENDAS_EGRESS_ALLOW": "127.0.0.0/8,::1/128",
            "SENDAS_ALLOW_PLAINTEXT": "true",
            "SENDAS_FILES_ALLOW_HTTP": "true",
            "SENDAS_HTTP_HOST": "127.0.0.1",
            "SENDAS_HTTP_PORT": "0",
            "SENDAS_LOCAL_HOSTNAME": "localhost",
            **{f"SENDAS_SECRET_{number}": mailbox.password for number, mailbox in enumerate(mailboxes)},
        },
    )
    office.write_snapshot()
    return office


@pytest.fixture
async def office(bare_office: Office) -> Office:
    """An office whose broker has its exchanges and queues."""
    await apply_topology(bare_office.broker_url, Topology())
    return bare_office
