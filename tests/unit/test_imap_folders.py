"""Sent folders in the dialects of servers: folders that have to be left, namespaces, delimiters, names without them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from stack.scripted_imap import Say, ScriptedFolder, ScriptedImap
from tests.imap_setting import DATE, letter, password, sent_folder, target
from worker.adapters.imap.sent_folder import ImapSentFolder
from worker.delivery.ports import SavedCopy
from worker.domain.transmission import DeliveryFailure
from worker.domain.vocabulary import CopyOutcome

ID = "<1@acme.example>"


@pytest.fixture
async def sent() -> AsyncIterator[ImapSentFolder]:
    """The adapter."""
    made = sent_folder(password())
    yield made
    await made.close()


def dotted(*names: bytes, flags: str = "") -> list[ScriptedFolder]:
    return [ScriptedFolder(name, flags=flags, delimiter=".") for name in names]


async def copy(sent: ImapSentFolder, server: ScriptedImap, folder: str | None = None, number: int = 1) -> SavedCopy:
    message_id = f"<{number}@acme.example>"
    return await sent.save(target(server.port, folder=folder), message_id, DATE, letter(message_id))


def said(server: ScriptedImap, *names: bytes) -> list[bytes]:
    return [command.split(b" ")[0] for command in server.commands if command.startswith(names)]


# Leaving the folder


@pytest.mark.parametrize(("offered", "command"), [("UIDPLUS UNSELECT", b"UNSELECT"), ("UIDPLUS", b"CLOSE")])
async def test_a_folder_that_was_looked_into_is_left_before_the_append(
    sent: ImapSentFolder, offered: str, command: bytes
) -> None:
    """If a server appends to no folder that is open for looking, as Courier, then each copy is saved all the same."""
    async with ScriptedImap(*dotted(b"INBOX", b"INBOX.Sent"), capabilities=offered) as server:
        server.is_like_courier = True
        copies = [await copy(sent, server, number=number) for number in (1, 2, 3)]

        assert [each.outcome for each in copies] == [CopyOutcome.SAVED] * 3
        assert len(server.folders[b"INBOX.Sent"].letters) == 3
        assert said(server, b"UNSELECT", b"CLOSE") == [command] * 3
        assert said(server, b"SELECT") == []
        assert server.connections == 1


async def test_a_folder_that_was_opened_to_be_written_to_is_not_closed(sent: ImapSentFolder) -> None:
    """CLOSE would remove for good what somebody marked as deleted there."""
    async with ScriptedImap(*dotted(b"INBOX", b"INBOX.Sent"), capabilities="UIDPLUS") as server:
        server.script("EXAMINE", Say("* OK [UIDVALIDITY 77] valid\n{tag} OK [READ-WRITE] opened"))
        server.script("UID SEARCH", Say("* SEARCH\n{tag} OK done"))

        assert (await copy(sent, server)).outcome is CopyOutcome.SAVED
        assert said(server, b"CLOSE", b"UNSELECT") == []


async def test_a_server_that_refuses_to_leave_gets_the_letter_all_the_same(sent: ImapSentFolder) -> None:
    async with ScriptedImap(*dotted(b"INBOX", b"INBOX.Sent")) as server:
        server.script("CLOSE", Say("{tag} BAD what?"))

        assert (await copy(sent, server)).outcome is CopyOutcome.SAVED


async def test_a_question_before_the_last_command_is_not_answered_with_the_letter(sent: ImapSentFolder) -> None:
    async with ScriptedImap(*dotted(b"INBOX", b"INBOX.Sent")) as server:
        server.script("CLOSE", Say("+ go on\n{tag} OK closed"))

        saved = await copy(sent, server)

        assert saved.outcome is CopyOutcome.FAILED
        assert server.folders[b"INBOX.Sent"].letters == []


# Round trips


class Relay:
    """Stands between the worker and a server, and counts how often the worker had to wait for the server."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._is_server_next = False
        self.turns = 0
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, back, is_server_next=True))
            group.create_task(self._pump(there, writer, is_server_next=False))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_server_next: bool) -> None:
        while data := await source.read(2**16):
            if is_server_next and not self._is_server_next:
                self.turns += 1
            self._is_server_next = is_server_next
            sink.write(data)
        sink.close()


@pytest.mark.parametrize(
    ("capabilities", "folder", "first", "later"),
    [
        # CAPABILITY, LOGIN, CAPABILITY, LIST; then EXAMINE with SEARCH, APPEND, the letter.
        ("UIDPLUS SPECIAL-USE LIST-EXTENDED", None, 7, 3),
        ("UIDPLUS SPECIAL-USE LIST-EXTENDED UNSELECT NAMESPACE ID", None, 7, 3),
        ("UIDPLUS SPECIAL-USE LIST-EXTENDED", "Sent", 7, 3),
        ("UIDPLUS NAMESPACE", "Sent", 7, 3),
    ],
)
async def test_how_often_a_copy_waits_for_the_server(
    sent: ImapSentFolder, capabilities: str, folder: str | None, first: int, later: int
) -> None:
    """Leaving the folder and asking for namespaces cost no round trip of their own."""
    flagged = [ScriptedFolder(b"INBOX"), ScriptedFolder(b"Sent", flags="\\Sent")]
    async with ScriptedImap(*flagged, capabilities=capabilities) as server:
        relay = Relay(server.port)
        turns = []
        async with await relay.start():
            for number in (1, 2):
                before = relay.turns
                where = target(relay.port, folder=folder)
                message_id = f"<{number}@acme.example>"
                saved = await sent.save(where, message_id, DATE, letter(message_id))
                assert saved.outcome is CopyOutcome.SAVED
                turns.append(relay.turns - before)
            await sent.close()
    assert turns == [first, later]


# Namespaces


BELOW_INBOX = '(("INBOX." ".")) NIL NIL'
CYRUS = '(("INBOX." ".")) (("user." ".")) (("" "."))'
DOVECOT_SHARED = '(("" "/")) (("Users/" "/")) (("Shared/" "/"))'


@pytest.mark.parametrize("namespace", [BELOW_INBOX, CYRUS, '(("INBOX" ".")) NIL NIL', '(("inbox." ".")) NIL NIL'])
async def test_a_name_without_its_prefix_is_found_under_it(sent: ImapSentFolder, namespace: str) -> None:
    async with ScriptedImap(*dotted(b"INBOX", b"INBOX.Sent"), capabilities="UIDPLUS NAMESPACE") as server:
        server.namespace, server.keeps_below = namespace, b"INBOX."

        assert await copy(sent, server, "Sent") == SavedCopy(CopyOutcome.SAVED, "INBOX.Sent", 1, 77)
        assert (await copy(sent, server, "Sent")).outcome is CopyOutcome.ALREADY_THERE
        assert list(server.folders) == [b"INBOX", b"INBOX.Sent"]


@pytest.mark.parametrize(
    ("named", "made"),
    [
        ("Sent", b"INBOX.Sent"),
        ("INBOX.Kept", b"INBOX.Kept"),
        ("inbox.Kept", b"inbox.Kept"),
        ("Отправленные", b"INBOX.&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
    ],
)
async def test_a_name_that_is_not_there_is_made_under_the_prefix(sent: ImapSentFolder, named: str, made: bytes) -> None:
    async with ScriptedImap(*dotted(b"INBOX"), capabilities="UIDPLUS NAMESPACE") as server:
        server.namespace = CYRUS

        assert (await copy(sent, server, named)).outcome is CopyOutcome.SAVED
        assert list(server.folders) == [b"INBOX", made]


async def test_levels_may_be_named_with_the_sign_that_mail_programs_show(sent: ImapSentFolder) -> None:
    async with ScriptedImap(*dotted(b"INBOX", b"INBOX.Work.Sent"), capabilities="UIDPLUS NAMESPACE") as server:
        server.namespace, server.keeps_below = BELOW_INBOX, b"INBOX."

        for named in ("Work/Sent", "INBOX/Work/Sent", "INBOX.Work.Sent", "Work.Sent"):
            await copy(sent, server, named)
        assert len(server.folders[b"INBOX.Work.Sent"].letters) == 1
        assert list(server.folders) == [b"INBOX", b"INBOX.Work.Sent"]


async def test_a_server_without_levels_gets_names_as_they_are(sent: ImapSentFolder) -> None:
    flat = [ScriptedFolder(b"INBOX", listed=b"* LIST () NIL INBOX")]
    async with ScriptedImap(*flat, capabilities="UIDPLUS NAMESPACE") as server:
        server.namespace = '(("" NIL)) NIL NIL'

        assert (await copy(sent, server, "Sent")).folder == "Sent"


@pytest.mark.parametrize("capabilities", ["UIDPLUS", "UIDPLUS NAMESPACE"])
async def test_a_server_that_does_not_tell_its_prefix_has_the_folder_below_inbox(
    sent: ImapSentFolder, capabilities: str
) -> None:
    """If only folders below INBOX can be made, then the name is tried there, too; with NAMESPACE, as it tells it."""
    async with ScriptedImap(*dotted(b"INBOX"), capabilities=capabilities) as server:
        server.namespace, server.keeps_below = '(("" ".")) NIL NIL', b"INBOX."

        assert [(await copy(sent, server, "Sent", number)).folder for number in (1, 2)] == ["INBOX.Sent"] * 2
        assert said(server, b"CREATE") == [b"CREATE", b"CREATE"]


async def test_where_no_folder_can_be_made_the_first_refusal_is_told(sent: ImapSentFolder) -> None:
    async with ScriptedImap(*dotted(b"INBOX"), capabilities="UIDPLUS") as server:
        server.script("CREATE", Say("{tag} NO [NOPERM] not here"), Say("{tag} NO [NOPERM] nor here"))

        saved = await copy(sent, server, "Sent")

        assert saved.trouble is not None
        assert saved.trouble.detail == "NO [NOPERM] not here"


async def test_a_folder_that_somebody_else_makes_meanwhile_is_used(sent: ImapSentFolder) -> None:
    """Courier and Cyrus say so without a code."""
    async with ScriptedImap(*dotted(b"INBOX"), capabilities="UIDPLUS") as server:
        saving = asyncio.ensure_future(copy(sent, server, "Sent"))
        async with asyncio.timeout(5):
            await server.reached("UID SEARCH")
        server.script("CREATE", Say("{tag} NO Mailbox already exists."))
        server.folders[b"Sent"] = ScriptedFolder(b"Sent", delimiter=".")

        assert (await saving).folder == "Sent"


@pytest.mark.parametrize("capabilities", ["UIDPLUS NAMESPACE SPECIAL-USE LIST-EXTENDED", "UIDPLUS NAMESPACE"])
async def test_the_folder_of_others_never_wins_over_the_mailboxs_own(sent: ImapSentFolder, capabilities: str) -> None:
    folders = [
        ScriptedFolder(b"Shared/Sent", flags="\\Sent"),
        ScriptedFolder(b"Users/bob/Sent", flags="\\Sent"),
        ScriptedFolder(b"INBOX"),
        ScriptedFolder(b"Sent Items"),
    ]
    async with ScriptedImap(*folders, capabilities=capabilities) as server:
        server.namespace = DOVECOT_SHARED

        assert (await copy(sent, server)).folder == "Sent Items"


async def test_without_a_folder_of_its_own_the_mailbox_gets_none_of_others(sent: ImapSentFolder) -> None:
    folders = [ScriptedFolder(b"Shared/Sent", flags="\\Sent"), *dotted(b"INBOX", b"Sent")]
    async with ScriptedImap(*folders, capabilities="UIDPLUS NAMESPACE SPECIAL-USE LIST-EXTENDED") as server:
        server.namespace = '(("INBOX." ".")) (("Shared/" "/")) (("" "."))'

        assert (await copy(sent, server)).outcome is CopyOutcome.NO_FOLDER


@pytest.mark.parametrize(("named", "expected"), [("Sent", "INBOX.Sent"), ("support.sent", "support.sent")])
async def test_a_shared_folder_is_used_where_its_whole_name_is_given(
    sent: ImapSentFolder, named: str, expected: str
) -> None:
    """Before Cyrus, whose shared folders have no prefix: a plain name means the mailbox's own folder."""
    folders = dotted(b"INBOX", b"INBOX.Sent", b"Sent", b"support.sent")
    async with ScriptedImap(*folders, capabilities="UIDPLUS NAMESPACE") as server:
        server.namespace = CYRUS

        assert (await copy(sent, server, named)).folder == expected


async def test_a_folder_named_with_the_prefix_of_others_is_looked_for_there_alone(sent: ImapSentFolder) -> None:
    async with ScriptedImap(ScriptedFolder(b"INBOX"), capabilities="UIDPLUS NAMESPACE") as server:
        server.namespace = DOVECOT_SHARED
        server.script("CREATE", Say("{tag} NO [NOPERM] not yours"))

        assert (await copy(sent, server, "Shared/Sent")).outcome is CopyOutcome.FAILED
        assert said(server, b"CREATE") == [b"CREATE"]


async def test_a_look_makes_no_folder(sent: ImapSentFolder) -> None:
    async with ScriptedImap(*dotted(b"INBOX"), capabilities="UIDPLUS NAMESPACE") as server:
        server.namespace = BELOW_INBOX

        assert isinstance(await sent.find(target(server.port, folder="Sent"), ID), DeliveryFailure)
        await copy(sent, server, "Sent")
        assert await sent.find(target(server.port, folder="Sent"), ID) is True


@pytest.mark.parametrize("answer", ["* NAMESPACE what", "* NAMESPACE ((((", "* NAMESPACE NIL NIL NIL", ""])
async def test_a_namespace_that_cannot_be_read_is_as_none(sent: ImapSentFolder, answer: str) -> None:
    async with ScriptedImap(*dotted(b"INBOX", b"INBOX.Sent"), capabilities="UIDPLUS NAMESPACE") as server:
        server.script("NAMESPACE", Say(f"{answer}\n{{tag}} OK done".lstrip()))

        assert (await copy(sent, server)).folder == "INBOX.Sent"


async def test_a_server_is_told_who_we_are_where_it_asks_for_that(sent: ImapSentFolder) -> None:
    """NetEase's servers open no folder before: "Unsafe Login"."""
    async with ScriptedImap(*dotted(b"INBOX", b"Sent"), capabilities="ID") as server:
        assert (await copy(sent, server)).outcome is CopyOutcome.SAVED
        names = [command.split(b" ")[0] for command in server.commands]
        assert names.index(b"LOGIN") < names.index(b"ID") < names.index(b"EXAMINE")
