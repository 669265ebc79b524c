"""Copies saved on Courier's and Cyrus's IMAP servers: dialects, quotas, rights and folders of others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stack import client_context
from stack.directory import private_directory
from stack.ports import free_ports
from tests.builders import a_mailbox
from tests.check_setting import CheckSetting, a_subject
from tests.imap_setting import DATE, letter, password, sent_folder, target
from tests.interop.debian_tree import TreeError, unpacked
from tests.interop.imap_servers import PASSWORD, USER, Courier, Cyrus
from tests.interop.matrix import Matrix
from worker.adapters.imap.sent_folder import ImapSentFolder
from worker.delivery.ports import CopyTarget, SavedCopy
from worker.delivery.sent_copy.jobs import classify_copy
from worker.domain.results.models import CheckStepResult
from worker.domain.transmission import DeliveryFailure
from worker.domain.vocabulary import Action, CopyOutcome, Reason

FIRST, SECOND = "<1@acme.example>", "<2@acme.example>"
BODY = b"Hello \xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82\r\n" * 500


@pytest.fixture
async def courier(tmp_path: Path) -> AsyncIterator[Courier]:
    async with Courier(tmp_path) as server:
        yield server


@pytest.fixture
async def cyrus() -> AsyncIterator[Cyrus]:
    with private_directory() as directory:
        async with Cyrus(directory) as server:
            yield server


@asynccontextmanager
async def signed_in() -> AsyncIterator[ImapSentFolder]:
    sent = sent_folder(password(PASSWORD, USER))
    try:
        yield sent
    finally:
        await sent.close()


def mailbox(server: Courier | Cyrus, folder: str | None = None) -> CopyTarget:
    return target(server.port, folder=folder, username=USER)


def reason(failed: SavedCopy | DeliveryFailure | bool) -> tuple[Reason, Action]:
    """What people learn of a copy that was not saved, and what the worker does."""
    trouble = failed.trouble if isinstance(failed, SavedCopy) else failed
    assert isinstance(trouble, DeliveryFailure)
    judged = classify_copy(trouble)
    return judged.reason, judged.action


async def saved_once(server: Courier | Cyrus) -> None:
    """A folder named without its prefix is made below it; the copy is found there and never saved again."""
    async with signed_in() as sent:
        assert reason(await sent.find(mailbox(server), FIRST)) == (Reason.SENT_FOLDER_MISSING, Action.FAIL)
        first = await sent.save(mailbox(server, "Sent"), FIRST, DATE, letter(FIRST, BODY))
        assert (first.outcome, first.folder, first.trouble) == (CopyOutcome.SAVED, "INBOX.Sent", None)
        again = await sent.save(mailbox(server, "Sent"), FIRST, DATE, letter(FIRST, BODY))
        assert (again.outcome, again.uid) == (CopyOutcome.ALREADY_THERE, first.uid)
        unnamed = await sent.save(mailbox(server), FIRST, DATE, letter(FIRST, BODY))
        assert (unnamed.outcome, unnamed.uid) == (CopyOutcome.ALREADY_THERE, first.uid)
        other = await sent.save(mailbox(server), SECOND, DATE, letter(SECOND, BODY))
        assert (other.outcome, other.folder) == (CopyOutcome.SAVED, "INBOX.Sent")
        assert await sent.find(mailbox(server), FIRST) is True


async def test_courier_saves_a_copy_once_below_its_namespace(courier: Courier, matrix: Matrix) -> None:
    """If folders must be named below `INBOX.`, then `Sent` is the one there, with each letter once and unchanged."""
    await saved_once(courier)
    letters = sorted(content.replace(b"\n", b"\r\n") for content in courier.letters("Sent"))
    assert letters == [letter(FIRST, BODY), letter(SECOND, BODY)]
    matrix.note("Courier", "copy saved once", "copy found by Message-ID", "folder below its namespace")


async def checked(server: Courier | Cyrus, folder: str | None = None) -> dict[str, CheckStepResult]:
    """What a check of the mailbox says of its copies; its SMTP server, where nothing listens, is another matter."""
    [nobody] = free_ports(1)
    auth = {"method": "password", "username": USER, "secret": {"env": "UNUSED"}}
    imap = {"host": "localhost", "port": server.port, "security": "none", "auth": auth}
    settings = a_mailbox(
        smtp={"host": "localhost", "port": nobody, "security": "none"},
        sent_copy={"mode": "always", "folder": folder, "imap": imap},
    )
    setting = CheckSetting(client_context(), credentials=password(PASSWORD, USER))
    return await setting.run(a_subject(settings))


async def test_a_check_on_courier_promises_what_a_copy_gets(courier: Courier, matrix: Matrix) -> None:
    """If a check finds the folder writable, then a copy is saved there; if a copy is denied, then the check says so."""
    steps = await checked(courier, "Sent")
    assert (steps["sent_folder"].ok, steps["sent_writable"].ok) == (True, True)
    async with signed_in() as sent:
        saved = await sent.save(mailbox(courier, "Sent"), FIRST, DATE, letter(FIRST))
        assert (saved.outcome, saved.folder) == (CopyOutcome.SAVED, "INBOX.Sent")
    courier.allow("INBOX.Sent", "aclrs")
    steps = await checked(courier, "Sent")
    assert (steps["sent_writable"].ok, steps["sent_writable"].reason) == (False, Reason.SENT_FOLDER_DENIED)
    matrix.note("Courier", "check agrees with copies")


async def test_a_check_on_cyrus_promises_what_a_copy_gets(cyrus: Cyrus, matrix: Matrix) -> None:
    """The same with Cyrus, which shares a folder of the name besides."""
    await cyrus.administer("CREATE Sent", f"SETACL Sent {USER} lrswipkxte")
    steps = await checked(cyrus)
    assert (steps["sent_folder"].ok, steps["sent_folder"].reason) == (False, Reason.SENT_FOLDER_MISSING)
    steps = await checked(cyrus, "Sent")
    assert (steps["sent_folder"].ok, steps["sent_writable"].ok) == (True, True)
    await cyrus.administer(f"SETACL user.{USER}.Sent {USER} lrs")
    steps = await checked(cyrus, "Sent")
    assert (steps["sent_writable"].ok, steps["sent_writable"].reason) == (False, Reason.SENT_FOLDER_DENIED)
    matrix.note("Cyrus", "check agrees with copies")


async def test_courier_says_that_the_mailbox_is_full(courier: Courier, matrix: Matrix) -> None:
    """If a letter does not fit into the quota, then the copy fails at once, as a full mailbox."""
    courier.limit(2_000)
    async with signed_in() as sent:
        small = await sent.save(mailbox(courier, "Sent"), FIRST, DATE, letter(FIRST))
        assert small.outcome is CopyOutcome.SAVED
        large = await sent.save(mailbox(courier, "Sent"), SECOND, DATE, letter(SECOND, BODY))
        assert reason(large) == (Reason.MAILBOX_FULL, Action.FAIL)
        assert await sent.find(mailbox(courier, "Sent"), SECOND) is False
    matrix.note("Courier", "mailbox full")


async def test_courier_denies_the_folder(courier: Courier, matrix: Matrix) -> None:
    """If the user may read Sent and not insert, then the copy fails at once, and says that the folder is denied."""
    async with signed_in() as sent:
        await sent.save(mailbox(courier, "Sent"), FIRST, DATE, letter(FIRST))
        courier.allow("INBOX.Sent", "aclrs")
        refused = await sent.save(mailbox(courier, "Sent"), SECOND, DATE, letter(SECOND))
        assert reason(refused) == (Reason.SENT_FOLDER_DENIED, Action.FAIL)
    matrix.note("Courier", "folder denied")


async def test_cyrus_saves_a_copy_once_below_its_namespace(cyrus: Cyrus, matrix: Matrix) -> None:
    """The same with Cyrus."""
    await saved_once(cyrus)
    matrix.note("Cyrus", "copy saved once", "copy found by Message-ID", "folder below its namespace")


async def test_cyrus_shared_folder_never_wins(cyrus: Cyrus, matrix: Matrix) -> None:
    """If others share a Sent that the user may write to, then the user's own is used, or none."""
    await cyrus.administer("CREATE Sent", f"SETACL Sent {USER} lrswipkxte")
    async with signed_in() as sent:
        unnamed = await sent.save(mailbox(cyrus), FIRST, DATE, letter(FIRST))
        assert unnamed.outcome is CopyOutcome.NO_FOLDER
        named = await sent.save(mailbox(cyrus, "Sent"), FIRST, DATE, letter(FIRST))
        assert (named.outcome, named.folder) == (CopyOutcome.SAVED, "INBOX.Sent")
        found = await sent.save(mailbox(cyrus), SECOND, DATE, letter(SECOND))
        assert (found.outcome, found.folder) == (CopyOutcome.SAVED, "INBOX.Sent")
    matrix.note("Cyrus", "shared folder left alone")


@pytest.mark.parametrize("rights", ["lrs", ""])
async def test_cyrus_denies_the_folder(cyrus: Cyrus, matrix: Matrix, rights: str) -> None:
    """If the user may not insert into Sent, or not even see it, then the copy fails at once as denied."""
    async with signed_in() as sent:
        await sent.save(mailbox(cyrus, "Sent"), FIRST, DATE, letter(FIRST))
        change = f"SETACL user.{USER}.Sent {USER} {rights}" if rights else f"DELETEACL user.{USER}.Sent {USER}"
        await cyrus.administer(change)
        refused = await sent.save(mailbox(cyrus, "Sent"), SECOND, DATE, letter(SECOND))
        assert reason(refused) == (Reason.SENT_FOLDER_DENIED, Action.FAIL)
    matrix.note("Cyrus", "folder denied")


async def test_cyrus_says_that_the_mailbox_is_full(cyrus: Cyrus, matrix: Matrix) -> None:
    """If a letter does not fit into the quota, then the copy fails at once, as a full mailbox."""
    async with signed_in() as sent:
        await sent.save(mailbox(cyrus, "Sent"), FIRST, DATE, letter(FIRST))
        await cyrus.administer(f"SETQUOTA user.{USER} (STORAGE 1)")
        refused = await sent.save(mailbox(cyrus, "Sent"), SECOND, DATE, letter(SECOND, BODY))
        assert reason(refused) == (Reason.MAILBOX_FULL, Action.FAIL)
    matrix.note("Cyrus", "mailbox full")


async def test_cyrus_refuses_a_wrong_password(cyrus: Cyrus, matrix: Matrix) -> None:
    """If the server refuses the sign-in, then the copy fails as that."""
    sent = sent_folder(password("wrong", USER))
    refused = await sent.save(mailbox(cyrus, "Sent"), FIRST, DATE, letter(FIRST))
    await sent.close()
    assert reason(refused) == (Reason.AUTH_FAILED, Action.FAIL)
    matrix.note("Cyrus", "wrong password")


def test_packages_that_cannot_be_had_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a package cannot be downloaded, then the error names it, and nothing half unpacked is used the next time."""
    monkeypatch.setattr("tests.interop.debian_tree.CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    apt = '#!/bin/sh\necho "E: Unable to locate package $2" >&2\nexit 100\n'
    for name in ("apt-get", "apt-cache"):
        (tmp_path / name).write_text(apt)
        (tmp_path / name).chmod(0o755)
    for _ in range(2):
        with pytest.raises(TreeError, match="Unable to locate package"):
            unpacked("no-such", ("no-such-server",), "usr/sbin/no-such-server")
