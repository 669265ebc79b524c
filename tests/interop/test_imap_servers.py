"""Copies saved on IMAP servers of others."""

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack import Authority
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child
from tests.imap_setting import DATE, letter, password, sent_folder, target
from tests.interop.matrix import Matrix
from worker.adapters.imap.sent_folder import ImapSentFolder
from worker.delivery.ports import CopyTarget
from worker.domain.vocabulary import CopyOutcome, Security

USER = "support@acme.example"
PASSWORD = 'pa ss"w\\ord'
ID = "<1@acme.example>"


@dataclass
class Meeting:
    """A server's name, the adapter before it, and a mailbox there."""

    name: str
    sent: ImapSentFolder
    mailbox: CopyTarget


@pytest.fixture
async def pymap(tmp_path: Path) -> AsyncIterator[Meeting]:
    """pymap with its mailboxes in memory."""
    authority = Authority(tmp_path / "tls")
    certificate = authority.issue("pymap")
    [port] = free_ports(1)
    service = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--cert",
        str(certificate.chain),
        "--key",
        str(certificate.key),
    ]
    backend = ["dict", "--demo-data", "--demo-user", USER, "--demo-password", PASSWORD]
    child = Child(
        "pymap",
        [str(Path(sys.executable).parent / "pymap"), "--no-service", "admin", *service, *backend],
        log=tmp_path / "log",
        cwd=tmp_path,
    )

    async def is_ready() -> bool:
        return await greets(port, b"* OK ")

    await child.start(is_ready)
    sent = sent_folder(password(PASSWORD, USER), context=authority.client_context())
    yield Meeting("pymap", sent, target(port, security=Security.NONE, username=USER))
    await sent.close()
    await child.stop()


async def test_a_copy_is_saved_found_and_not_saved_twice(pymap: Meeting, matrix: Matrix) -> None:
    """If the server has a Sent folder, then the copy is there once, whole, with its place told."""
    assert await pymap.sent.find(pymap.mailbox, ID) is False
    body = b"Hello \xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82\r\n" * 10_000
    saved = await pymap.sent.save(pymap.mailbox, ID, DATE, letter(ID, body))
    assert (saved.outcome, saved.folder, saved.trouble) == (CopyOutcome.SAVED, "Sent", None)
    assert saved.uid is not None
    assert await pymap.sent.find(pymap.mailbox, ID) is True
    again = await pymap.sent.save(pymap.mailbox, ID, DATE, letter(ID, body))
    assert again.outcome is CopyOutcome.ALREADY_THERE
    matrix.note(pymap.name, "copy saved once", "copy found by Message-ID")
