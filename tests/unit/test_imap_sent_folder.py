"""The Sent folder over IMAP against a server that misbehaves on demand: what goes wrong is a value, and soon."""

import asyncio
import base64
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from pydantic import SecretStr

from stack import client_context
from stack.scripted_imap import Challenge, Cut, Say, ScriptedFolder, ScriptedImap, Stall
from tests.imap_setting import (
    DATE,
    QUICK,
    FixedCredentials,
    LoopbackDialer,
    StandingClock,
    letter,
    password,
    sent_folder,
    target,
)
from worker.adapters.auth.credentials import AccessToken
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.imap.saving import FOLDER_MEMORY_S
from worker.adapters.imap.sent_folder import ImapSentFolder
from worker.adapters.network.egress import DialError
from worker.delivery.ports import CopyTarget, SavedCopy
from worker.domain.snapshot.model import Auth
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyOutcome, Phase, Security
from worker.errors import ConfigurationError, SecretUnavailable, TokenRefused, Unavailable

ID = "<1@acme.example>"
LETTER = letter(ID)
HASTY = replace(QUICK, sign_in_s=0.2, greeting_s=0.2, command_s=0.2, append_s=0.2, append_bytes_per_s=1e9)

Adapter = Callable[..., ImapSentFolder]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedImap]:
    """A server with INBOX and a flagged Sent."""
    async with ScriptedImap(ScriptedFolder(b"INBOX"), ScriptedFolder(b"Sent", flags="\\Sent")) as scripted:
        yield scripted


@pytest.fixture
async def adapter() -> AsyncIterator[Adapter]:
    """Makes adapters, and closes them."""
    made: list[ImapSentFolder] = []

    def make(*arguments: object, **options: object) -> ImapSentFolder:
        made.append(sent_folder(*arguments, **options))  # type: ignore[arg-type]  # passed on as they are
        return made[-1]

    yield make
    await asyncio.gather(*(each.close() for each in made))


def save(sent: ImapSentFolder, where: CopyTarget) -> Awaitable[SavedCopy]:
    return sent.save(where, ID, DATE, LETTER)


def trouble_of(saved: SavedCopy) -> DeliveryFailure:
    assert saved.outcome is CopyOutcome.FAILED
    assert saved.trouble is not None
    assert saved.trouble.reply is None
    return saved.trouble


async def test_the_letter_goes_out_as_read_with_its_date_after_a_look_without_charset(
    server: ScriptedImap, adapter: Adapter
) -> None:
    """Exchange refuses a CHARSET; EXAMINE leaves the folder as it was."""
    saved = await save(adapter(), target(server.port))

    assert saved == SavedCopy(CopyOutcome.SAVED, "Sent", uid=1, uid_validity=77)
    assert server.folders[b"Sent"].letters == [LETTER]
    assert server.commands[-4:] == [
        b'EXAMINE "Sent"',
        b'UID SEARCH HEADER Message-ID "<1@acme.example>"',
        b"CLOSE",
        b'APPEND "Sent" (\\Seen) "23-Nov-2026 09:59:58 +0300" {%d}' % len(LETTER),
    ]


async def test_without_uidplus_the_uid_is_searched_for(adapter: Adapter) -> None:
    async with ScriptedImap(ScriptedFolder(b"Sent", flags="\\Sent"), capabilities="SPECIAL-USE") as server:
        assert await save(adapter(), target(server.port)) == SavedCopy(CopyOutcome.SAVED, "Sent", 1, 77)


async def test_a_copy_whose_uid_cannot_be_found_is_saved_all_the_same(adapter: Adapter) -> None:
    async with ScriptedImap(ScriptedFolder(b"Sent", flags="\\Sent"), capabilities="SPECIAL-USE") as server:
        server.script("UID SEARCH", Say("* SEARCH\n{tag} OK none"), Cut())
        assert await save(adapter(), target(server.port)) == SavedCopy(CopyOutcome.SAVED, "Sent", None, 77)


# Two commands at once, and letters only when asked for


async def test_a_folder_is_opened_and_searched_in_one_go(server: ScriptedImap, adapter: Adapter) -> None:
    """The server has the search before it has answered to the opening."""
    server.script("EXAMINE", Stall())
    saving = asyncio.ensure_future(save(adapter(), target(server.port)))
    async with asyncio.timeout(5):
        await server.reached("EXAMINE")
        saving.cancel()
        await server.reached("CLOSED")

    assert b'UID SEARCH HEADER Message-ID "<1@acme.example>"\r\n' in server.unanswered


async def test_what_a_search_finds_in_a_folder_that_was_not_opened_is_not_believed(
    server: ScriptedImap, adapter: Adapter
) -> None:
    """It would be from another folder, or from nowhere."""
    server.script("EXAMINE", Say("{tag} NO not now"))
    server.script("UID SEARCH", Say("* SEARCH 5\n{tag} OK done"))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert (trouble.phase, trouble.fault, trouble.detail) == (Phase.MAIL, FailureKind.REPLY, "NO not now")


async def test_what_is_found_counts_before_whichever_answer_it_comes(server: ScriptedImap, adapter: Adapter) -> None:
    """To overlook it would be to append a second copy."""
    server.script("EXAMINE", Say("* OK [UIDVALIDITY 77] valid\n* SEARCH 5\n{tag} OK opened"))
    server.script("UID SEARCH", Say("{tag} OK done"))

    assert await save(adapter(), target(server.port)) == SavedCopy(CopyOutcome.ALREADY_THERE, "Sent", 5, 77)


async def test_a_search_that_is_refused_beside_another_command_is_asked_for_by_itself(
    server: ScriptedImap, adapter: Adapter
) -> None:
    server.folders[b"Sent"].letters.append(LETTER)
    server.script("UID SEARCH", Say("{tag} BAD one at a time"))

    assert (await save(adapter(), target(server.port))).outcome is CopyOutcome.ALREADY_THERE


@pytest.mark.parametrize("folder", [None, "Sent"])
async def test_nothing_is_appended_to_a_folder_that_refuses_to_be_searched(
    adapter: Adapter, folder: str | None
) -> None:
    """Also where it is not listed, as a folder is that does not exist."""
    hidden = ScriptedFolder(b"Sent", flags="\\Sent", listed=None if folder is None else b"* LIST odd")
    async with ScriptedImap(hidden) as server:
        server.script("UID SEARCH", *[Say("{tag} NO no searches")] * 2)

        trouble = trouble_of(await save(adapter(), target(server.port, folder=folder)))

    assert trouble == DeliveryFailure(Phase.MAIL, FailureKind.REPLY, detail="NO no searches")
    assert not [command for command in server.commands if command.startswith(b"APPEND")]


@pytest.mark.parametrize("offered", ["LITERAL+", "LITERAL-", ""])
async def test_no_letter_goes_out_before_the_server_asks_for_it(adapter: Adapter, offered: str) -> None:
    """If the connection is dead in one direction, an unasked letter could be appended after the next look for it."""
    async with ScriptedImap(ScriptedFolder(b"Sent", flags="\\Sent"), capabilities=f"UIDPLUS {offered}") as server:
        server.script("APPEND", Stall())

        trouble = trouble_of(await save(adapter(timeouts=HASTY), target(server.port)))

    assert (trouble.phase, trouble.fault) == (Phase.DATA, FailureKind.TIMEOUT)
    assert not server.unanswered


# Lost connections


async def test_a_connection_lost_in_the_middle_of_the_letter_is_a_failure_after_another_look(
    server: ScriptedImap, adapter: Adapter
) -> None:
    server.script("APPEND", Cut(after_bytes=10))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert (trouble.phase, trouble.fault) == (Phase.DATA, FailureKind.DISCONNECTED)
    assert server.connections == 2
    assert server.commands[-1].startswith(b"UID SEARCH")


async def test_a_letter_that_was_stored_before_the_connection_was_lost_is_found_again(
    server: ScriptedImap, adapter: Adapter
) -> None:
    """No answer came, but a second APPEND would make two copies."""
    server.script("STORED", Cut())

    saved = await save(adapter(), target(server.port))

    assert saved == SavedCopy(CopyOutcome.ALREADY_THERE, "Sent", 1, 77)
    assert len(server.folders[b"Sent"].letters) == 1


async def test_an_append_that_is_not_answered_in_time_is_looked_for_too(server: ScriptedImap, adapter: Adapter) -> None:
    server.script("STORED", Stall())

    saved = await save(adapter(timeouts=HASTY), target(server.port))

    assert saved.outcome is CopyOutcome.ALREADY_THERE


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        ("GREETING", Phase.GREETING),
        ("CAPABILITY", Phase.GREETING),
        ("LOGIN", Phase.AUTH),
        ("LIST", Phase.MAIL),
        ("EXAMINE", Phase.MAIL),
        ("UID SEARCH", Phase.MAIL),
        ("APPEND", Phase.DATA),
        ("APPENDED", Phase.DATA),
    ],
)
async def test_a_server_that_hangs_up_or_stalls_costs_a_trouble_of_that_step_and_no_more(
    server: ScriptedImap, adapter: Adapter, moment: str, phase: Phase
) -> None:
    """A lost connection does not leave the command waiting, and a stalled one ends with its own step's time."""
    sent = adapter(timeouts=HASTY)

    server.script(moment, Cut())
    lost = trouble_of(await save(sent, target(server.port)))
    server.script(moment, Stall())
    stalled = trouble_of(await save(sent, target(server.port, mailbox_id="other")))

    assert (lost.phase, lost.fault) == (phase, FailureKind.DISCONNECTED)
    assert (stalled.phase, stalled.fault) == (phase, FailureKind.TIMEOUT)


@pytest.mark.parametrize("moment", ["LOGIN", "LIST", "EXAMINE", "UID SEARCH", "APPEND", "APPENDED"])
async def test_a_goodbye_at_any_moment_is_kept_in_the_servers_own_words(
    server: ScriptedImap, adapter: Adapter, moment: str
) -> None:
    server.script(moment, Cut(farewell="* BYE Too many\tconnections"))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert trouble.fault is FailureKind.DISCONNECTED
    assert trouble.detail.endswith("BYE Too many connections")


async def test_a_greeting_that_is_a_goodbye_is_a_refusal(server: ScriptedImap, adapter: Adapter) -> None:
    server.script("GREETING", Cut(farewell="* BYE [UNAVAILABLE] overloaded"))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert trouble == DeliveryFailure(Phase.GREETING, FailureKind.REPLY, detail="BYE [UNAVAILABLE] overloaded")


@pytest.mark.parametrize("greeting", ["220 smtp.example ESMTP", "* PREAUTH hello root", "* OKAY", "", "+ OK"])
async def test_a_greeting_of_another_protocol_or_for_somebody_else_is_refused(
    server: ScriptedImap, adapter: Adapter, greeting: str
) -> None:
    server.script("GREETING", Say(raw=greeting.encode() + b"\r\n"))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert (trouble.phase, trouble.fault) == (Phase.GREETING, FailureKind.PROTOCOL)
    assert not any(command.startswith(b"LOGIN") for command in server.commands)


# Signing in


def token(text: str = "ya29.tok") -> FixedCredentials:
    return FixedCredentials(AccessToken("user@acme.example", SecretStr(text)))


async def test_a_refused_token_does_not_hang_and_says_what_the_challenge_said(
    server: ScriptedImap, adapter: Adapter
) -> None:
    """Until the challenge is answered with an empty line, the server says nothing more."""
    challenge = base64.b64encode(b'{"status":"400","schemes":"Bearer"}').decode()
    server.script("AUTHENTICATE", Challenge(challenge, Say("{tag} NO [AUTHENTICATIONFAILED] Invalid credentials")))

    trouble = trouble_of(await save(adapter(token()), target(server.port)))

    assert (trouble.phase, trouble.fault) == (Phase.AUTH, FailureKind.REPLY)
    assert trouble.detail == 'NO [AUTHENTICATIONFAILED] Invalid credentials {"status":"400","schemes":"Bearer"}'


@pytest.mark.parametrize("capabilities", ["SASL-IR SPECIAL-USE", "SPECIAL-USE"])
async def test_a_token_signs_in_with_or_without_an_initial_response(adapter: Adapter, capabilities: str) -> None:
    async with ScriptedImap(ScriptedFolder(b"Sent", flags="\\Sent"), capabilities=capabilities) as server:
        assert await adapter(token()).find(target(server.port), ID) is False

    sent = b" ".join(server.commands)
    assert base64.b64encode(b"user=user@acme.example\1auth=Bearer ya29.tok\1\1") in sent


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ("AUTH=PLAIN SASL-IR", [b"AUTHENTICATE PLAIN AHVzZXJAYWNtZS5leGFtcGxlAGh1bnRlcjI="]),
        ("AUTH=PLAIN", [b"AUTHENTICATE PLAIN", b"AHVzZXJAYWNtZS5leGFtcGxlAGh1bnRlcjI="]),
        ("AUTH=PLAIN AUTH=LOGIN", [b"AUTHENTICATE PLAIN", b"AHVzZXJAYWNtZS5leGFtcGxlAGh1bnRlcjI="]),
        ("AUTH=LOGIN SASL-IR", [b"AUTHENTICATE LOGIN", b"dXNlckBhY21lLmV4YW1wbGU=", b"aHVudGVyMg=="]),
    ],
)
async def test_where_the_command_login_is_turned_off_a_mechanism_takes_the_password(
    server: ScriptedImap, adapter: Adapter, offered: str, said: list[bytes]
) -> None:
    """LOGINDISABLED forbids the command alone (RFC 3501 section 6.2.3)."""
    server.capabilities = f"IMAP4rev1 SPECIAL-USE LIST-EXTENDED LOGINDISABLED {offered}"

    assert (await save(adapter(), target(server.port))).outcome is CopyOutcome.SAVED

    assert server.commands[1 : 1 + len(said)] == said
    server.commands.clear()
    server.script("AUTHENTICATE", Say("{tag} NO said: " + " ".join(each.decode() for each in said)))
    told = repr(await save(adapter(), target(server.port, mailbox_id="other")))
    assert "AHVzZXJA" not in told
    assert "aHVudGVy" not in told


async def test_a_letter_whose_answer_was_lost_on_a_kept_session_is_looked_for_and_not_sent_again(
    server: ScriptedImap, adapter: Adapter
) -> None:
    """If the server stores it after nobody waits any more, then a second APPEND at once would make two copies."""
    sent = adapter(timeouts=HASTY)
    await sent.find(target(server.port), ID)
    server.script("APPENDED", Stall())

    trouble = trouble_of(await save(sent, target(server.port)))
    server.folders[b"Sent"].letters.append(LETTER)

    assert (trouble.phase, trouble.fault) == (Phase.DATA, FailureKind.TIMEOUT)
    assert len([command for command in server.commands if command.startswith(b"APPEND")]) == 1
    assert (await save(sent, target(server.port))).outcome is CopyOutcome.ALREADY_THERE


async def test_a_server_that_challenges_for_ever_is_left(server: ScriptedImap, adapter: Adapter) -> None:
    server.script("AUTHENTICATE", Challenge("", Say("+ \n+ \n+ ")))

    trouble = trouble_of(await save(adapter(token()), target(server.port)))

    assert (trouble.phase, trouble.fault) == (Phase.AUTH, FailureKind.PROTOCOL)


async def test_a_mechanism_that_the_server_does_not_offer_is_not_tried(adapter: Adapter) -> None:
    async with ScriptedImap(capabilities="LOGINDISABLED") as server:
        server.capabilities = "IMAP4rev1 LOGINDISABLED"
        for credentials in (password(), token(), FixedCredentials(None)):
            trouble = trouble_of(await save(adapter(credentials), target(server.port)))
            assert (trouble.phase, trouble.fault) == (Phase.AUTH, FailureKind.NO_AUTH_MECHANISM)
        assert set(server.commands) == {b"CAPABILITY"}


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (SecretUnavailable("no such key"), FailureKind.SECRET),
        (TokenRefused("invalid_grant"), FailureKind.TOKEN_REFUSED),
        (Unavailable("token endpoint"), FailureKind.CONNECT),
    ],
)
async def test_credentials_that_cannot_be_opened_are_a_trouble_before_any_connection(
    server: ScriptedImap, adapter: Adapter, error: Exception, fault: FailureKind
) -> None:
    trouble = trouble_of(await save(adapter(FixedCredentials(error)), target(server.port)))

    assert (trouble.phase, trouble.fault, trouble.detail) == (Phase.AUTH, fault, str(error))
    assert server.connections == 0


@pytest.mark.parametrize("text", ['with "quotes" and \\', "пароль", "tab\tand\r\nA1 LOGOUT", "a {3}", "*%("])
async def test_a_password_arrives_as_it_is_and_starts_no_command_of_its_own(
    server: ScriptedImap, adapter: Adapter, text: str
) -> None:
    assert await adapter(password(text)).find(target(server.port), ID) is False

    assert not [command for command in server.commands if command.startswith(b"LOGOUT")]


async def test_a_password_with_nul_is_a_trouble_because_imap_cannot_carry_it(
    server: ScriptedImap, adapter: Adapter
) -> None:
    trouble = trouble_of(await save(adapter(password("a\0b")), target(server.port)))

    assert (trouble.phase, trouble.fault) == (Phase.AUTH, FailureKind.PROTOCOL)


@pytest.mark.parametrize("secret", ['CAN"ARY\\9f3', "CANARY-9f3", "КАНАРЕЙКА 9f3"])
@pytest.mark.parametrize("is_token", [True, False])
async def test_no_secret_reaches_a_log_an_error_or_a_value(
    server: ScriptedImap, adapter: Adapter, caplog: pytest.LogCaptureFixture, secret: str, is_token: bool
) -> None:
    """The library logs what it sends and receives, and its errors print commands; some servers repeat what they got."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("aioimaplib.aioimaplib").setLevel(logging.DEBUG)
    sasl = (
        base64.b64encode(f"user=user@acme.example\1auth=Bearer {secret}\1\1".encode()).decode() if is_token else secret
    )
    escaped = secret.replace("\\", "\\\\").replace('"', '\\"')
    sent = adapter(token(secret) if is_token else password(secret), timeouts=HASTY)
    moment = "AUTHENTICATE" if is_token else "LOGIN"
    server.script(
        moment,
        Say(f'{{tag}} NO bad: {secret} "{escaped}" {sasl}'),
        Say(f"* BYE {secret}\nX9 OK {secret}"),
        Cut(farewell=f"* BYE {sasl} {escaped}"),
        Stall(),
    )
    found = [await sent.find(target(server.port), ID) for _ in range(5)]

    assert [type(each) for each in found] == [DeliveryFailure] * 4 + [bool]
    told = repr(found) + repr(sent) + caplog.text
    for form in (secret, escaped, sasl):
        assert form not in told


# Refusals


@pytest.mark.parametrize("words", ["[OVERQUOTA] Quota exceeded", "[LIMIT] too many", "[UNAVAILABLE] later", "no"])
async def test_a_refused_append_is_told_in_the_servers_own_words(
    server: ScriptedImap, adapter: Adapter, words: str
) -> None:
    server.script("APPEND", Say(f"{{tag}} NO {words}"))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert trouble == DeliveryFailure(Phase.DATA, FailureKind.REPLY, detail=f"NO {words}")


async def test_a_letter_larger_than_announced_is_not_sent_and_too_big_says_so(adapter: Adapter) -> None:
    async with ScriptedImap(ScriptedFolder(b"Sent", flags="\\Sent"), capabilities="SPECIAL-USE") as server:
        server.script("APPEND", Say("{tag} NO [TOOBIG] maximum exceeded"))
        refused = trouble_of(await save(adapter(), target(server.port)))
        server.capabilities += " APPENDLIMIT=9"
        unsent = trouble_of(await save(adapter(), target(server.port)))

    assert (refused.phase, refused.fault) == (unsent.phase, unsent.fault) == (Phase.DATA, FailureKind.TOO_LARGE)
    assert len([command for command in server.commands if command.startswith(b"APPEND")]) == 1


async def test_a_refusal_in_the_middle_of_a_letter_ends_the_session(server: ScriptedImap, adapter: Adapter) -> None:
    """What is left of the letter would be read as commands, or the next command as the letter's rest."""
    server.script("APPEND", Say("+ go on\n{tag} NO [OVERQUOTA] full"))
    large = letter(ID, b"x" * 30_000_000)
    sent = adapter()

    trouble = trouble_of(await sent.save(target(server.port), ID, DATE, large))

    assert trouble.detail == "NO [OVERQUOTA] full"
    assert await sent.find(target(server.port), ID) is False
    assert server.connections == 2


async def test_a_folder_is_not_created_in_the_middle_of_a_letter(server: ScriptedImap, adapter: Adapter) -> None:
    """CREATE would be taken for a part of the letter."""
    server.script("APPEND", Say("+ go on\n{tag} NO [TRYCREATE] no such folder"))
    large = letter(ID, b"x" * 30_000_000)

    trouble = trouble_of(await adapter().save(target(server.port, folder="Kept"), ID, DATE, large))

    assert trouble == DeliveryFailure(
        Phase.MAIL, FailureKind.DISCONNECTED, detail="CREATE: the server refused a literal half-way"
    )


@pytest.mark.parametrize("answer", ["{tag} OK saved", "+ go on\n{tag} OK saved"])
async def test_a_success_before_the_letter_was_sent_is_not_believed(
    server: ScriptedImap, adapter: Adapter, answer: str
) -> None:
    server.script("APPEND", Say(answer))

    trouble = trouble_of(await adapter().save(target(server.port), ID, DATE, letter(ID, b"x" * 30_000_000)))

    assert (trouble.phase, trouble.fault) == (Phase.DATA, FailureKind.PROTOCOL)


async def test_long_and_hostile_words_are_cut_to_one_clean_line(server: ScriptedImap, adapter: Adapter) -> None:
    server.script("APPEND", Say("{tag} NO a\x1b[31m\u202eb" + "x" * 1_000))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert trouble.detail.startswith("NO a[31mbxxx")
    assert len(trouble.detail) == 300


# Folders


async def test_the_folder_of_the_settings_is_created_and_subscribed_when_the_server_asks_for_it(
    server: ScriptedImap, adapter: Adapter
) -> None:
    saved = await save(adapter(), target(server.port, folder="Отправленные"))

    assert (saved.outcome, saved.folder) == (CopyOutcome.SAVED, "Отправленные")
    wire = b"&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"
    assert server.folders[wire].letters == [LETTER]
    assert [c for c in server.commands if c[:3] in (b"CRE", b"SUB")] == [
        b'CREATE "%s"' % wire,
        b'SUBSCRIBE "%s"' % wire,
    ]


async def test_a_folder_that_somebody_else_creates_meanwhile_or_that_cannot_be_subscribed_is_used(
    server: ScriptedImap, adapter: Adapter
) -> None:
    server.script("APPENDED", Say("{tag} NO [TRYCREATE] no such folder"))
    server.script("CREATE", Say("{tag} NO [ALREADYEXISTS] exists"))
    server.script("SUBSCRIBE", Say("{tag} NO not here"))

    saved = await save(adapter(), target(server.port, folder="Sent"))

    assert saved.outcome is CopyOutcome.SAVED


async def test_a_found_folder_is_never_created(server: ScriptedImap, adapter: Adapter) -> None:
    server.script("APPENDED", Say("{tag} NO [TRYCREATE] gone"))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert trouble.detail == "NO [TRYCREATE] gone"
    assert not [command for command in server.commands if command.startswith(b"CREATE")]


async def test_a_folder_that_exists_but_cannot_be_opened_gets_no_blind_copy(
    server: ScriptedImap, adapter: Adapter
) -> None:
    """Without a look there could be two copies."""
    server.script("EXAMINE", Say("{tag} NO [INUSE] locked"))

    trouble = trouble_of(await save(adapter(), target(server.port, folder="Sent")))

    assert (trouble.phase, trouble.detail) == (Phase.MAIL, "NO [INUSE] locked")
    assert server.folders[b"Sent"].letters == []


async def test_looking_into_a_missing_or_unknown_folder_is_a_trouble(adapter: Adapter) -> None:
    """`False` would say that the letter is certainly not there."""
    async with ScriptedImap(ScriptedFolder(b"INBOX")) as server:
        for folder in (None, "Kept"):
            found = await adapter().find(target(server.port, folder=folder), ID)
            assert isinstance(found, DeliveryFailure)
            assert found.phase is Phase.MAIL
        assert (await save(adapter(), target(server.port))).outcome is CopyOutcome.NO_FOLDER
        assert list(server.folders) == [b"INBOX"]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ([ScriptedFolder(b"Sent Items"), ScriptedFolder(b"SENT")], "SENT"),
        ([ScriptedFolder(b"INBOX", delimiter="."), ScriptedFolder(b"INBOX.Sent", delimiter=".")], "INBOX.Sent"),
        ([ScriptedFolder(b"Sent", flags="\\NoSelect"), ScriptedFolder(b"Gesendet")], "Gesendet"),
        ([ScriptedFolder(b"Sent"), ScriptedFolder(b"Kept", flags="\\HasNoChildren \\SENT")], "Kept"),
        ([ScriptedFolder(b"Sent", listed=b'* LIST () "/" {4}\r\nSent')], "Sent"),
        ([ScriptedFolder(b"Sent", listed=b"* list () NIL Sent")], "Sent"),
        ([ScriptedFolder(b"INBOX", listed=b"* LIST odd"), ScriptedFolder(b"Sent")], "Sent"),
        ([ScriptedFolder(b"INBOX", listed=b'* LIST () "/" {0}\r\n'), ScriptedFolder(b"Sent")], "Sent"),
        ([ScriptedFolder("Отправленные".encode())], "Отправленные"),
    ],
)
async def test_without_special_use_the_folder_is_known_by_flag_or_name(
    adapter: Adapter, folders: list[ScriptedFolder], expected: str
) -> None:
    async with ScriptedImap(*folders, capabilities="UIDPLUS") as server:
        assert (await save(adapter(), target(server.port))).folder == expected
        assert b'LIST "" "*"' not in server.commands


async def test_a_folder_name_with_star_and_space_is_not_changed_on_the_way(adapter: Adapter) -> None:
    """The library takes every `* ` out of a response, so that the folder would be another one."""
    async with ScriptedImap(ScriptedFolder(b"My* best", flags="\\Sent")) as server:
        assert (await save(adapter(), target(server.port))).folder == "My* best"


async def test_special_use_that_cannot_be_selected_falls_back_to_names(server: ScriptedImap, adapter: Adapter) -> None:
    server.script("LIST", Say("{tag} BAD unknown selection option"))

    assert (await save(adapter(), target(server.port))).folder == "Sent"


@pytest.mark.parametrize("capabilities", ["UIDPLUS", "UIDPLUS SPECIAL-USE"])
async def test_fifteen_hundred_folders_in_one_answer_are_read(adapter: Adapter, capabilities: str) -> None:
    """The library recurses once per line, too deep for this."""
    many = [ScriptedFolder(b"Folder %d" % number) for number in range(1_500)]
    async with ScriptedImap(*many, ScriptedFolder(b"Sent", flags="\\Sent"), capabilities=capabilities) as server:
        assert (await save(adapter(), target(server.port))).outcome is CopyOutcome.SAVED


async def test_the_folder_is_remembered_for_an_hour_and_looked_for_again_when_it_is_gone(
    server: ScriptedImap, adapter: Adapter
) -> None:
    clock = StandingClock()
    sent = adapter(clock=clock)

    def asked() -> int:
        return len([command for command in server.commands if command.startswith(b"LIST")])

    for _ in range(2):
        await sent.find(target(server.port), ID)
    assert asked() == 1
    clock.seconds = FOLDER_MEMORY_S
    await sent.find(target(server.port), ID)
    assert asked() == 2
    server.folders[b"Posted"] = replace(server.folders.pop(b"Sent"), name=b"Posted")
    assert (await save(sent, target(server.port))).folder == "Posted"
    assert asked() == 3


# Floods and noise


@pytest.mark.parametrize(
    "flood",
    [b"* LIST () NIL x\r\n" * 60_000, b"x" * 600_000, b'* LIST () "/" {999999999}\r\n', b"* {1}\r\nx" * 90_000],
)
async def test_a_server_that_says_too_much_is_left(server: ScriptedImap, adapter: Adapter, flood: bytes) -> None:
    server.script("LIST", Say(raw=flood))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert (trouble.phase, trouble.fault) == (Phase.MAIL, FailureKind.PROTOCOL)


@pytest.mark.parametrize(
    "noise",
    [
        b"* 3 EXISTS\r\n* \xff\xfe\xfd\r\n\xc3\r\n",
        b"A1 OK not yours\r\n",
        b"+ go on\r\n",
        b"\r\n",
        b"{tag} MAYBE\r\n",
    ],
)
async def test_what_is_no_answer_ends_the_session_and_is_not_taken_for_one(
    server: ScriptedImap, adapter: Adapter, noise: bytes
) -> None:
    server.script("LIST", Say(raw=noise))

    trouble = trouble_of(await save(adapter(), target(server.port)))

    assert (trouble.phase, trouble.fault) == (Phase.MAIL, FailureKind.PROTOCOL)


async def test_untagged_news_between_the_lines_change_nothing(server: ScriptedImap, adapter: Adapter) -> None:
    server.script("UID SEARCH", Say("* 4 EXISTS\n* OK [ALERT] \u2603 {5}\n* SEARCH\n* 1 EXPUNGE\n{tag} ok done"))

    assert (await save(adapter(), target(server.port))).outcome is CopyOutcome.SAVED


async def test_a_search_answer_that_is_no_number_is_not_taken_for_not_found(
    server: ScriptedImap, adapter: Adapter
) -> None:
    server.script("UID SEARCH", Say("* SEARCH one\n{tag} OK done"))

    assert trouble_of(await save(adapter(), target(server.port))).fault is FailureKind.PROTOCOL


# Connections


async def test_a_session_is_used_again_and_logged_out_at_the_end(server: ScriptedImap, adapter: Adapter) -> None:
    sent = adapter()
    await sent.find(target(server.port), ID)
    await save(sent, target(server.port))
    assert server.connections == 1

    await sent.close()
    assert server.commands[-1] == b"LOGOUT"


async def test_a_dead_idle_session_is_replaced_by_one_fresh_one(server: ScriptedImap, adapter: Adapter) -> None:
    sent = adapter()
    await sent.find(target(server.port), ID)
    server.script("EXAMINE", Cut(farewell="* BYE autologout"))

    assert (await save(sent, target(server.port))).outcome is CopyOutcome.SAVED
    assert server.connections == 2


async def test_a_dead_idle_session_is_replaced_once_only(server: ScriptedImap, adapter: Adapter) -> None:
    sent = adapter()
    await sent.find(target(server.port), ID)
    server.script("EXAMINE", Cut(), Cut())

    assert trouble_of(await save(sent, target(server.port))).fault is FailureKind.DISCONNECTED
    assert server.connections == 2


async def test_an_idle_session_is_closed_when_its_time_is_over(server: ScriptedImap, adapter: Adapter) -> None:
    await adapter(timeouts=replace(QUICK, idle_s=0.01)).find(target(server.port), ID)

    async with asyncio.timeout(5):
        await server.reached("CLOSED")


async def test_letters_of_one_mailbox_at_the_same_time_do_not_mix(server: ScriptedImap, adapter: Adapter) -> None:
    """Two APPENDs on one connection would send the wrong literal."""
    sent = adapter()
    letters = {f"<{n}@acme.example>": letter(f"<{n}@acme.example>", b"x" * n * 1_000) for n in range(1, 9)}

    saved = await asyncio.gather(*(sent.save(target(server.port), i, DATE, text) for i, text in letters.items()))

    assert {copy.outcome for copy in saved} == {CopyOutcome.SAVED}
    assert sorted(server.folders[b"Sent"].letters) == sorted(letters.values())


async def test_an_answer_that_comes_too_late_is_never_read(server: ScriptedImap, adapter: Adapter) -> None:
    """On the same connection it would be taken for the answer to the next command."""
    sent = adapter(timeouts=HASTY)
    server.script("UID SEARCH", Stall())
    found = await sent.find(target(server.port), ID)

    assert isinstance(found, DeliveryFailure)
    assert found.fault is FailureKind.TIMEOUT
    assert await sent.find(target(server.port), ID) is False
    assert server.connections == 2


@pytest.mark.parametrize("moment", ["GREETING", "LOGIN", "UID SEARCH", "APPENDED"])
async def test_a_cancelled_save_closes_its_connection(server: ScriptedImap, adapter: Adapter, moment: str) -> None:
    """The answer that is still to come would be taken for the next command's."""
    sent = adapter()
    server.script(moment, Stall())
    saving = asyncio.ensure_future(save(sent, target(server.port)))
    async with asyncio.timeout(5):
        await server.reached(moment)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        await server.reached("CLOSED")

    assert (await save(sent, target(server.port))).outcome is CopyOutcome.SAVED
    assert server.connections == 2


async def test_another_secret_or_server_is_another_connection(server: ScriptedImap, adapter: Adapter) -> None:
    """A mailbox whose settings changed must not go on with what was signed in before."""
    sent = adapter()
    await sent.find(target(server.port), ID)
    await sent.find(target(server.port, username="other@acme.example"), ID)

    assert server.connections == 2


@pytest.mark.parametrize(("account_id", "mailbox_id"), [("globex", "mb-support"), ("acme", "mb-other")])
async def test_a_connection_is_never_shared_between_accounts_or_mailboxes(
    server: ScriptedImap, adapter: Adapter, account_id: str, mailbox_id: str
) -> None:
    """If two accounts have the very same server, user and mailbox id, each still signs in for itself."""
    sent = adapter()
    ours = target(server.port)
    await sent.find(ours, ID)
    await sent.find(replace(ours, account_id=account_id, mailbox_id=mailbox_id), ID)

    assert server.connections == 2


def test_an_upload_has_time_by_its_size() -> None:
    assert ImapTimeouts(append_s=60, append_bytes_per_s=1_000).append_within_s(25_000) == 85


@pytest.mark.parametrize("fault", [FailureKind.DNS, FailureKind.EGRESS, FailureKind.CONNECT, FailureKind.TIMEOUT])
async def test_a_host_that_cannot_be_dialed_is_a_trouble_of_the_dialers_own_fault(
    adapter: Adapter, fault: FailureKind
) -> None:
    class NoWay(LoopbackDialer):
        async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
            raise DialError(f"no way to {host}", fault)

    trouble = trouble_of(await save(adapter(dialer=NoWay()), target(993)))

    assert trouble == DeliveryFailure(Phase.CONNECT, fault, detail="no way to localhost")


# TLS


async def test_starttls_is_refused_with_what_to_do_instead(server: ScriptedImap, adapter: Adapter) -> None:
    dialer = LoopbackDialer()

    trouble = trouble_of(await save(adapter(dialer=dialer), target(server.port, security=Security.STARTTLS)))

    assert (trouble.phase, trouble.fault) == (Phase.TLS, FailureKind.TLS)
    assert "implicit TLS" in trouble.detail
    assert "993" in trouble.detail
    assert dialer.dialed == []


async def test_a_server_without_tls_where_tls_was_configured_gets_no_credentials(
    server: ScriptedImap, adapter: Adapter
) -> None:
    trouble = trouble_of(await save(adapter(), target(server.port, security=Security.TLS)))

    assert (trouble.phase, trouble.fault) == (Phase.TLS, FailureKind.TLS)
    assert server.commands == []


@pytest.mark.parametrize("host", [".example", "a..b", "x" * 300])
async def test_a_host_that_no_certificate_can_name_is_a_trouble(
    server: ScriptedImap, adapter: Adapter, host: str
) -> None:
    trouble = trouble_of(await save(adapter(), target(server.port, security=Security.TLS, host=host)))

    assert (trouble.phase, trouble.fault) == (Phase.TLS, FailureKind.TLS)


async def test_a_handshake_that_is_not_answered_ends_in_time(server: ScriptedImap, adapter: Adapter) -> None:
    server.script("GREETING", Stall())

    where = target(server.port, security=Security.TLS)
    trouble = trouble_of(await save(adapter(timeouts=replace(QUICK, tls_s=0.1)), where))

    assert (trouble.phase, trouble.fault) == (Phase.TLS, FailureKind.TIMEOUT)


@pytest.mark.parametrize("lax", ["hostname", "certificate", "version"])
def test_a_context_that_does_not_verify_is_refused(lax: str) -> None:
    context = client_context()
    if lax == "version":
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = ssl.TLSVersion.TLSv1_1
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE if lax == "certificate" else ssl.CERT_REQUIRED

    with pytest.raises(ConfigurationError):
        sent_folder(context=context)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("EXAMINE", "{tag} NO [SERVERBUG] for {secret}"),
        ("UID SEARCH", "{tag} BAD {secret}"),
        ("APPEND", "{tag} NO [OVERQUOTA] {secret}"),
        ("STORED", "* BYE {secret}"),
    ],
)
async def test_a_secret_that_the_server_repeats_after_the_sign_in_reaches_no_result(
    server: ScriptedImap, adapter: Adapter, moment: str, said: str
) -> None:
    secret = f"hunter2 {base64.b64encode(b'hunter2').decode()}"
    server.script(moment, Say(said.replace("{secret}", secret)), Cut())
    server.script("EXAMINE", Say("{tag} NO " + secret))
    saved = await save(adapter(), target(server.port))
    assert "hunter2" not in repr(saved)
    assert base64.b64encode(b"hunter2").decode()[:8] not in repr(saved)


@pytest.mark.parametrize(
    "greeting", ["* BYE {secret}", "* PREAUTH hello {secret}", "220 {secret}", "* OK {secret}"], ids=str.split
)
async def test_a_secret_from_a_connection_before_that_the_server_greets_with_reaches_no_result(
    server: ScriptedImap, adapter: Adapter, greeting: str
) -> None:
    """If a server repeats in its greeting what it was told the last time, I expect nobody to see it."""
    secret = f"hunter2 {base64.b64encode(b'hunter2').decode()}"
    server.script("GREETING", Say(greeting.replace("{secret}", secret)), Cut())
    server.script("CAPABILITY", Say("{tag} BAD " + secret))

    saved = await save(adapter(), target(server.port))

    assert saved.outcome is CopyOutcome.FAILED
    assert "***" in repr(saved)
    assert "hunter2" not in repr(saved)
    assert base64.b64encode(b"hunter2").decode()[:8] not in repr(saved)


async def test_a_folder_that_is_called_like_the_secret_is_not_told_by_its_name(adapter: Adapter) -> None:
    async with ScriptedImap(ScriptedFolder(b"hunter2", flags="\\Sent")) as server:
        saved = await save(adapter(), target(server.port))
    assert (saved.outcome, saved.folder) == (CopyOutcome.SAVED, "***")


class RenewingCredentials(FixedCredentials):
    """A token from memory, and another one when that is refused."""

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        self.opened = AccessToken("user@acme.example", SecretStr("new"))
        return refused.get_secret_value() == "old"


async def test_a_token_from_memory_that_is_refused_is_replaced_once(server: ScriptedImap, adapter: Adapter) -> None:
    """If somebody ended the mailbox's sessions, then its copies are saved with a new token."""
    refusal = Say("{tag} NO [AUTHENTICATIONFAILED] expired")
    for refusals, outcome in ((1, CopyOutcome.SAVED), (2, CopyOutcome.FAILED)):
        server.script("AUTHENTICATE", *[refusal] * refusals)
        sent = adapter(RenewingCredentials(AccessToken("user@acme.example", SecretStr("old"))))
        assert (await sent.save(target(server.port), f"<{refusals}@acme.example>", DATE, LETTER)).outcome is outcome
