"""IMAP commands go through the library's `execute`, alone or several at once."""

import asyncio

import pytest
from aioimaplib import aioimaplib

from worker.adapters.imap.encoding import Dialogue
from worker.adapters.imap.errors import ServerWords
from worker.adapters.imap.protocol import ImapProtocol, LostConnection, Request


class _Transport(asyncio.Transport):
    """Keeps what is written, one entry for each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None: ...


@pytest.fixture
async def transport() -> _Transport:
    return _Transport()


@pytest.fixture
async def protocol(transport: _Transport) -> ImapProtocol:
    """A greeted connection that is not signed in."""
    protocol = ImapProtocol(64 * 1024, ServerWords([]))
    protocol.connection_made(transport)
    protocol.data_received(b"* OK ready\r\n")
    return protocol


async def _say(protocol: ImapProtocol, transport: _Transport, *answers: bytes) -> None:
    """Answer the commands of the last write, in turn."""
    tags = [line.split()[0] for line in transport.written[-1].splitlines()]
    protocol.data_received(b"".join(tag + b" " + answer + b"\r\n" for tag, answer in zip(tags, answers, strict=True)))


async def _signed_in(protocol: ImapProtocol, transport: _Transport) -> None:
    login = asyncio.ensure_future(protocol.converse(Request("LOGIN", Dialogue('"joe" "secret"'))))
    await asyncio.sleep(0)
    await _say(protocol, transport, b"OK signed in")
    await login
    assert protocol.state == aioimaplib.AUTH


async def test_a_command_that_is_illegal_in_the_connection_s_state_is_not_sent(
    protocol: ImapProtocol, transport: _Transport
) -> None:
    """If a folder is searched before one is open, then the library refuses, and the server sees nothing."""
    await _signed_in(protocol, transport)
    sent = len(transport.written)
    with pytest.raises(aioimaplib.Abort, match="SEARCH illegal in state AUTH"):
        await protocol.converse(Request("SEARCH", Dialogue("ALL"), by_uid=True))
    assert len(transport.written) == sent
    assert not protocol.is_usable


@pytest.mark.parametrize("end", ["\r", "\n", "\0"])
async def test_an_argument_cannot_begin_another_command(
    protocol: ImapProtocol, transport: _Transport, end: str
) -> None:
    """If any of several commands holds an end of line, then none of them is sent."""
    with pytest.raises(ValueError, match="not allowed"):
        await protocol.converse(Request("NOOP", Dialogue("")), Request("ID", Dialogue(f"NIL{end}A1 LOGOUT")))
    assert transport.written == []


async def test_commands_sent_at_once_are_one_write_and_each_has_its_own_answer(
    protocol: ImapProtocol, transport: _Transport
) -> None:
    """If a folder is opened and searched at once, then the search is legal, and what is said belongs to its command."""
    await _signed_in(protocol, transport)
    both = asyncio.ensure_future(
        protocol.converse(Request("EXAMINE", Dialogue("Sent")), Request("SEARCH", Dialogue("ALL"), by_uid=True))
    )
    await asyncio.sleep(0)
    first, second = transport.written[-1].splitlines()
    assert first.split(maxsplit=1)[1] == b"EXAMINE Sent"
    assert second.split(maxsplit=1)[1] == b"UID SEARCH ALL"
    protocol.data_received(b"* 3 EXISTS\r\n" + first.split()[0] + b" OK opened\r\n* SEARCH 7 * 8\r\n")
    assert not both.done()
    protocol.data_received(second.split()[0] + b" NO later\r\n")
    opened, found = await both
    assert (opened.result, opened.text, opened.untagged) == ("OK", b"opened", (b"3 EXISTS",))
    assert (found.result, found.text, found.untagged) == ("NO", b"later", (b"SEARCH 7 * 8",))
    assert protocol.state == aioimaplib.SELECTED
    assert protocol.is_usable


async def test_answers_out_of_turn_end_the_connection(protocol: ImapProtocol, transport: _Transport) -> None:
    """If the server answers the second command before the first, then neither answer is believed."""
    both = asyncio.ensure_future(protocol.converse(Request("NOOP", Dialogue("")), Request("CAPABILITY", Dialogue(""))))
    await asyncio.sleep(0)
    second = transport.written[-1].splitlines()[1].split()[0]
    protocol.data_received(second + b" OK\r\n")
    with pytest.raises(LostConnection, match="belongs to no command"):
        await both


async def test_a_command_printed_as_an_object_shows_no_password(protocol: ImapProtocol, transport: _Transport) -> None:
    """If a debugger or an error prints the pending command, then its arguments are not in it."""
    login = asyncio.ensure_future(protocol.converse(Request("LOGIN", Dialogue('"joe" "secret"'))))
    await asyncio.sleep(0)
    assert b'"secret"' in transport.written[-1]
    assert repr(protocol.pending_sync_command) == "<LOGIN>"
    protocol.abort()
    with pytest.raises(LostConnection):
        await login
