"""What every `SentFolder` does: the adapter before a real Dovecot, and the double that stands in for it elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from stack import Authority, MailServer
from tests.conftest import NewMailbox
from tests.doubles.sent_folder import FakeSentFolder
from tests.imap_setting import DATE, NamedCredentials, letter, sent_folder, target
from worker.delivery.ports import CopyTarget, SentFolder
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyOutcome, Phase, Security

ID = "<1@acme.example>"


class Setting(Protocol):
    """A Sent folder implementation, and mailboxes for it."""

    sent: SentFolder

    async def mailbox(
        self, *, folder: str | None = None, has_sent: bool = True, is_password_right: bool = True
    ) -> CopyTarget:
        """A new mailbox."""
        ...


class InMemory:
    """The double."""

    def __init__(self) -> None:
        self.fake = FakeSentFolder()
        self.sent: SentFolder = self.fake
        self._made = 0

    async def mailbox(
        self, *, folder: str | None = None, has_sent: bool = True, is_password_right: bool = True
    ) -> CopyTarget:
        self._made += 1
        made = target(993, folder=folder, mailbox_id=f"mb-{self._made}")
        if not has_sent:
            self.fake.without_folder.add(made.mailbox_id)
        if not is_password_right:
            self.fake.broken[made.mailbox_id] = DeliveryFailure(
                Phase.AUTH, FailureKind.REPLY, detail="NO wrong password"
            )
        return made


class BeforeDovecot:
    """The adapter."""

    def __init__(self, mail: MailServer, authority: Authority, new_mailbox: NewMailbox) -> None:
        self._port = mail.dovecot.imaps_port
        self._new_mailbox = new_mailbox
        self._credentials = NamedCredentials()
        self.sent: SentFolder = sent_folder(self._credentials, context=authority.client_context())

    async def mailbox(
        self, *, folder: str | None = None, has_sent: bool = True, is_password_right: bool = True
    ) -> CopyTarget:
        made = await self._new_mailbox(sent_folder="Sent" if has_sent else "Kept", special_use=has_sent)
        self._credentials.passwords[made.address] = made.password if is_password_right else "wrong"
        return target(self._port, folder=folder, security=Security.TLS, mailbox_id=made.address, username=made.address)


@pytest.fixture(params=["double", "dovecot"])
def opened(request: pytest.FixtureRequest) -> Setting:
    """One of the two; not asynchronous itself, because Dovecot's fixtures cannot be asked for inside a running loop."""
    if request.param == "double":
        return InMemory()
    return BeforeDovecot(*map(request.getfixturevalue, ("mail", "authority", "new_mailbox")))


@pytest.fixture
async def setting(opened: Setting) -> AsyncIterator[Setting]:
    yield opened
    await opened.sent.close()


async def test_a_new_letter_is_saved_and_then_found(setting: Setting) -> None:
    mailbox = await setting.mailbox()
    assert await setting.sent.find(mailbox, ID) is False

    saved = await setting.sent.save(mailbox, ID, DATE, letter(ID))

    assert (saved.outcome, saved.folder, saved.trouble) == (CopyOutcome.SAVED, "Sent", None)
    assert saved.uid is not None
    assert saved.uid_validity is not None
    assert await setting.sent.find(mailbox, ID) is True


async def test_a_letter_that_comes_again_is_already_there(setting: Setting) -> None:
    mailbox = await setting.mailbox()
    first = await setting.sent.save(mailbox, ID, DATE, letter(ID))

    again = await setting.sent.save(mailbox, ID, DATE, letter(ID, b"another body\r\n"))

    assert again.outcome is CopyOutcome.ALREADY_THERE
    assert (again.folder, again.uid, again.uid_validity) == (first.folder, first.uid, first.uid_validity)
    assert again.trouble is None


async def test_a_letter_that_the_server_keeps_under_an_id_of_its_own_is_already_there(setting: Setting) -> None:
    """If the server said that it rewrote the Message-ID, then its own copy has that one."""
    mailbox = await setting.mailbox()
    rewritten = "<b1@ex1.acme.example>"
    first = await setting.sent.save(mailbox, rewritten, DATE, letter(rewritten))

    again = await setting.sent.save(mailbox, ID, DATE, letter(ID), also_known_as=rewritten)

    assert (again.outcome, again.uid) == (CopyOutcome.ALREADY_THERE, first.uid)
    assert (await setting.sent.save(mailbox, ID, DATE, letter(ID))).outcome is CopyOutcome.SAVED


async def test_mailboxes_and_letters_are_apart(setting: Setting) -> None:
    one, other = await setting.mailbox(), await setting.mailbox()
    await setting.sent.save(one, ID, DATE, letter(ID))

    assert await setting.sent.find(other, ID) is False
    assert await setting.sent.find(one, "<2@acme.example>") is False
    assert (await setting.sent.save(other, ID, DATE, letter(ID))).outcome is CopyOutcome.SAVED


async def test_several_letters_at_once_are_all_saved(setting: Setting) -> None:
    mailbox = await setting.mailbox()
    ids = [f"<{number}@acme.example>" for number in range(5)]

    saved = await asyncio.gather(*(setting.sent.save(mailbox, each, DATE, letter(each)) for each in ids))

    assert [copy.outcome for copy in saved] == [CopyOutcome.SAVED] * 5
    assert len({copy.uid for copy in saved}) == 5


@pytest.mark.parametrize("name", ["Архив", "Sent", 'a "quoted" & b\\c'])
async def test_the_folder_of_the_settings_is_used_and_made_when_missing(setting: Setting, name: str) -> None:
    mailbox = await setting.mailbox(folder=name)

    saved = await setting.sent.save(mailbox, ID, DATE, letter(ID))

    assert (saved.outcome, saved.folder) == (CopyOutcome.SAVED, name)
    assert await setting.sent.find(mailbox, ID) is True


async def test_looking_into_a_folder_of_the_settings_that_is_missing_is_a_trouble(setting: Setting) -> None:
    found = await setting.sent.find(await setting.mailbox(folder="Архив"), ID)

    assert isinstance(found, DeliveryFailure)
    assert found.phase is Phase.MAIL


async def test_without_a_sent_folder_nothing_is_saved_and_nothing_can_be_found_out(setting: Setting) -> None:
    mailbox = await setting.mailbox(has_sent=False)

    saved = await setting.sent.save(mailbox, ID, DATE, letter(ID))

    assert (saved.outcome, saved.folder, saved.uid) == (CopyOutcome.NO_FOLDER, None, None)
    assert saved.trouble is not None
    assert isinstance(await setting.sent.find(mailbox, ID), DeliveryFailure)


async def test_a_failed_sign_in_is_a_value(setting: Setting) -> None:
    mailbox = await setting.mailbox(is_password_right=False)

    saved = await setting.sent.save(mailbox, ID, DATE, letter(ID))
    found = await setting.sent.find(mailbox, ID)

    assert saved.outcome is CopyOutcome.FAILED
    assert isinstance(found, DeliveryFailure)
    assert saved.trouble is not None
    for trouble in (saved.trouble, found):
        assert (trouble.phase, trouble.fault) == (Phase.AUTH, FailureKind.REPLY)
