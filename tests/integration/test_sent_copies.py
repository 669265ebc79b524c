"""Copies in the Sent folders of a real Dovecot, read back by another program than the one that wrote them."""

import asyncio
import imaplib
import random
import re
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import pytest

from stack import Authority, Mailbox, MailServer
from tests.conftest import NewMailbox
from tests.imap_setting import DATE, NamedCredentials, letter, sent_folder, target
from worker.adapters.imap.sent_folder import ImapSentFolder
from worker.delivery.ports import CopyTarget
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyOutcome, Phase, Security


class Copies:
    """The adapter beside a mail server, and a way to look into its mailboxes."""

    def __init__(self, mail: MailServer, authority: Authority) -> None:
        self._port = mail.dovecot.imaps_port
        self._authority = authority
        self.credentials = NamedCredentials()
        self.sent: ImapSentFolder = sent_folder(self.credentials, context=authority.client_context())

    def target(self, mailbox: Mailbox, *, folder: str | None = None, host: str = "localhost") -> CopyTarget:
        self.credentials.passwords.setdefault(mailbox.address, mailbox.password)
        return target(
            self._port,
            folder=folder,
            security=Security.TLS,
            host=host,
            mailbox_id=mailbox.address,
            username=mailbox.address,
        )

    async def read(self, mailbox: Mailbox, wire_name: str) -> list[tuple[bytes, bytes]]:
        """What lies in a folder: FETCH attributes and bytes of each letter."""
        return await asyncio.to_thread(self._read, mailbox, wire_name)

    def _read(self, mailbox: Mailbox, wire_name: str) -> list[tuple[bytes, bytes]]:
        with imaplib.IMAP4_SSL("localhost", self._port, ssl_context=self._authority.client_context()) as client:
            client.login(mailbox.address, mailbox.password)
            status, _ = client.select(f'"{wire_name}"', readonly=True)
            assert status == "OK"
            # By UID: in an empty folder 1:* is an error for plain FETCH, and is nothing for this.
            _, fetched = client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
            return [(item[0], item[1]) for item in fetched if isinstance(item, tuple)]

    async def subscribed(self, mailbox: Mailbox) -> str:
        """The subscribed folders, as LSUB lists them."""

        def ask() -> str:
            with imaplib.IMAP4_SSL("localhost", self._port, ssl_context=self._authority.client_context()) as client:
                client.login(mailbox.address, mailbox.password)
                return repr(client.lsub())

        return await asyncio.to_thread(ask)


@pytest.fixture
async def copies(mail: MailServer, authority: Authority) -> AsyncIterator[Copies]:
    opened = Copies(mail, authority)
    yield opened
    await opened.sent.close()


async def test_a_saved_copy_is_byte_for_byte_the_letter_read_and_dated(copies: Copies, new_mailbox: NewMailbox) -> None:
    mailbox = await new_mailbox()
    written = letter("<1@acme.example>", "Приедет завтра {5}\r\n.\r\n* OK\r\n".encode())

    saved = await copies.sent.save(copies.target(mailbox), "<1@acme.example>", DATE, written)

    [(attributes, content)] = await copies.read(mailbox, "Sent")
    assert content == written
    assert b"\\Seen" in attributes
    internal = re.search(rb'INTERNALDATE "([^"]+)"', attributes)
    assert internal
    assert parsedate_to_datetime(internal.group(1).decode().replace("-", " ", 2)) == DATE
    assert (saved.outcome, saved.folder, saved.trouble) == (CopyOutcome.SAVED, "Sent", None)
    assert b"UID %d " % (saved.uid or 0) in attributes
    assert saved.uid_validity


async def test_a_letter_of_many_megabytes_arrives_whole(copies: Copies, new_mailbox: NewMailbox) -> None:
    """The letter is larger than every buffer on the way, so that writing pauses and goes on."""
    mailbox = await new_mailbox()
    body = b"\r\n".join(random.Random(4).randbytes(36).hex().encode() for _ in range(160_000))
    written = letter("<big@acme.example>", body + b"\r\n")

    saved = await copies.sent.save(copies.target(mailbox), "<big@acme.example>", DATE, written)

    assert saved.outcome is CopyOutcome.SAVED
    [(_, content)] = await copies.read(mailbox, "Sent")
    assert content == written


async def test_a_localised_sent_folder_is_found_by_its_flag_and_named_in_modified_utf7(
    copies: Copies, new_mailbox: NewMailbox
) -> None:
    mailbox = await new_mailbox(sent_folder="Отправленные")

    saved = await copies.sent.save(copies.target(mailbox), "<2@acme.example>", DATE, letter("<2@acme.example>"))

    assert (saved.outcome, saved.folder) == (CopyOutcome.SAVED, "Отправленные")
    assert len(await copies.read(mailbox, "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-")) == 1


@pytest.mark.parametrize("name", ["Отправленные", "Sent Items", "Éléments envoyés", "已发送"])
async def test_a_sent_folder_without_a_flag_is_found_by_its_name(
    copies: Copies, new_mailbox: NewMailbox, name: str
) -> None:
    mailbox = await new_mailbox(sent_folder=name, special_use=False)

    saved = await copies.sent.save(copies.target(mailbox), "<3@acme.example>", DATE, letter("<3@acme.example>"))

    assert (saved.outcome, saved.folder) == (CopyOutcome.SAVED, name)


@pytest.mark.parametrize(
    ("named", "wire"),
    [
        (None, "INBOX.Sent"),
        ("Sent", "INBOX.Sent"),
        ("INBOX.Sent", "INBOX.Sent"),
        ("INBOX/Kept", "INBOX.Kept"),
        ("Архив", "INBOX.&BBAEQARFBDgEMg-"),
    ],
)
async def test_a_mailbox_with_a_prefix_has_its_copies_under_it(
    copies: Copies, new_mailbox: NewMailbox, named: str | None, wire: str
) -> None:
    """If all folders are below INBOX, then a folder that is named without that is found or made there."""
    mailbox = await new_mailbox(special_use=named is None, prefix="INBOX.")
    target = copies.target(mailbox, folder=named)

    for number in (1, 2):
        message_id = f"<{number}@prefix.example>"
        saved = await copies.sent.save(target, message_id, DATE, letter(message_id))
        assert saved.outcome is CopyOutcome.SAVED
    assert len(await copies.read(mailbox, wire)) == 2
    assert wire in await copies.subscribed(mailbox)


async def test_the_folder_of_the_settings_wins_over_the_flag_and_is_created_when_missing(
    copies: Copies, new_mailbox: NewMailbox
) -> None:
    mailbox = await new_mailbox()
    named = copies.target(mailbox, folder='Исходящие "важные" & прочие')

    first = await copies.sent.save(named, "<4@acme.example>", DATE, letter("<4@acme.example>"))
    again = await copies.sent.save(named, "<4@acme.example>", DATE, letter("<4@acme.example>"))

    assert (first.outcome, first.folder) == (CopyOutcome.SAVED, named.folder)
    assert (again.outcome, again.uid, again.uid_validity) == (CopyOutcome.ALREADY_THERE, first.uid, first.uid_validity)
    assert await copies.read(mailbox, "Sent") == []
    assert "&BBgEQQRFBD4ENARPBEkEOAQ1-" in await copies.subscribed(mailbox)


async def test_a_mailbox_without_a_sent_folder_gets_none_invented(copies: Copies, new_mailbox: NewMailbox) -> None:
    mailbox = await new_mailbox(sent_folder="Копилка", special_use=False)

    saved = await copies.sent.save(copies.target(mailbox), "<5@acme.example>", DATE, letter("<5@acme.example>"))

    assert saved.outcome is CopyOutcome.NO_FOLDER
    assert saved.trouble
    assert saved.trouble.phase is Phase.MAIL


async def test_a_copy_that_another_program_saved_is_not_saved_again(copies: Copies, new_mailbox: NewMailbox) -> None:
    mailbox = await new_mailbox()
    others = sent_folder(copies.credentials, context=copies.sent._context)
    await others.save(copies.target(mailbox), "<6@acme.example>", DATE, letter("<6@acme.example>"))
    await others.close()

    assert await copies.sent.find(copies.target(mailbox), "<6@acme.example>") is True
    saved = await copies.sent.save(copies.target(mailbox), "<6@acme.example>", DATE, letter("<6@acme.example>"))

    assert saved.outcome is CopyOutcome.ALREADY_THERE
    assert len(await copies.read(mailbox, "Sent")) == 1


@pytest.mark.parametrize("secret", ['qu"ote\\back', "пароль с пробелом", "100% {3} (a) *", '\\\\""'])
async def test_any_password_signs_in(mail: MailServer, authority: Authority, secret: str) -> None:
    """Quotes and backslashes are escaped, other than ASCII goes as a literal."""
    mailbox = Mailbox(f"any-{abs(hash(secret))}@acme.example", secret)
    await mail.add(mailbox)
    copies = Copies(mail, authority)

    assert await copies.sent.find(copies.target(mailbox), "<7@acme.example>") is False
    await copies.sent.close()


async def test_a_wrong_password_is_told_in_the_servers_words(copies: Copies, new_mailbox: NewMailbox) -> None:
    mailbox = await new_mailbox()
    copies.credentials.passwords[mailbox.address] = "wrong-secret"

    saved = await copies.sent.save(copies.target(mailbox), "<8@acme.example>", DATE, letter("<8@acme.example>"))

    assert saved.outcome is CopyOutcome.FAILED
    assert saved.trouble
    assert (saved.trouble.phase, saved.trouble.fault, saved.trouble.reply) == (Phase.AUTH, FailureKind.REPLY, None)
    assert "[AUTHENTICATIONFAILED]" in saved.trouble.detail


async def test_a_certificate_for_another_host_ends_the_connection_before_the_sign_in(
    copies: Copies, new_mailbox: NewMailbox
) -> None:
    """The socket goes to the vetted address, but the certificate must be for the configured name."""
    mailbox = await new_mailbox()

    found = await copies.sent.find(copies.target(mailbox, host="imap.evil.example"), "<9@acme.example>")

    assert isinstance(found, DeliveryFailure)
    assert (found.phase, found.fault) == (Phase.TLS, FailureKind.TLS)
    assert "imap.evil.example" in found.detail


async def test_an_idle_session_that_the_server_closed_is_replaced(
    copies: Copies, new_mailbox: NewMailbox, mail: MailServer
) -> None:
    mailbox = await new_mailbox()
    assert await copies.sent.find(copies.target(mailbox), "<10@acme.example>") is False
    await mail.dovecot.stop()
    await mail.dovecot.start()

    saved = await copies.sent.save(copies.target(mailbox), "<10@acme.example>", DATE, letter("<10@acme.example>"))

    assert saved.outcome is CopyOutcome.SAVED
