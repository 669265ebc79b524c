"""A scripted mail server: correct by default, faulty where the script says so.

A script is text, one rule a line:

    rcpt nobody@: 550 5.1.1 no such user     # a reply, for commands that have the text in them
    once mail: 421 4.3.2 shutting down       # only the first time
    after 2 mail: reset                      # from the third time on
    dot: accept, close                       # the letter is accepted and the answer is lost

A rule is `[once] [after N] STEP [TEXT]: ACT[, ACT…]`, and the first rule that fits wins. Steps are `banner`,
`ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `content` (before the content is read), `dot` (after it was),
`rset`, `quit`, `noop`, and `idle` (after an accepted letter was answered). Acts:

    550 5.1.1 text       reply; `|` separates the lines of a longer one
    raw TEXT             send the text as it stands; `\\r`, `\\n` are escapes
    pieces N REPLY       a reply in pieces of N bytes
    proceed              what the server would have done without a rule
    accept               keep the letter, and say nothing
    stall                say nothing more, until the client goes
    delay SECONDS        wait
    hold                 wait until `release` is set
    close, reset, half-close
    read N               read N bytes of the content
    flood N              a reply of N bytes that does not end
    long-line N          a line of N bytes
    garbage              bytes that are no TLS (after `220` to STARTTLS)
    upgrade              go on in TLS (after a `220` sent by `raw`)
"""

import asyncio
import base64
import binascii
import contextlib
import hmac
import re
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

_RULE = re.compile(r"(?P<once>once )?(?:after (?P<after>\d+) )?(?P<step>[a-z]+)(?: (?P<text>[^:]+))?: *(?P<acts>.+)")
_STEPS = (
    "banner",
    "ehlo",
    "starttls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "content",
    "dot",
    "rset",
    "quit",
    "noop",
    "idle",
)
_WORDS = (
    "raw", "pieces", "proceed", "accept", "stall", "delay", "hold", "close", "reset", "half-close", "read", "flood",
    "long-line", "garbage", "upgrade",
)  # fmt: skip
_ACT = re.compile(rf"(?:{'|'.join(_WORDS)})( |$)|\d{{3}} ")
_NEXT_ACT = re.compile(rf", (?=(?:{'|'.join(_WORDS)})(?:[ ,]|$)|\d{{3}} )")
_END = b"\r\n.\r\n"


@dataclass
class Rule:
    """What to do at a step, for commands that contain `text` (case-insensitive)."""

    step: str
    acts: tuple[str, ...]
    text: str = ""
    is_once: bool = False
    after: int = 0
    seen: int = 0

    @classmethod
    def parse(cls, line: str) -> Self:
        """Parse a rule. Raises ValueError."""
        match = _RULE.fullmatch(line.strip())
        if match is None or match["step"] not in _STEPS:
            raise ValueError(f"not a rule of the script: {line!r}")
        acts = tuple(act.strip() for act in _NEXT_ACT.split(match["acts"]))
        if not all(_ACT.match(act) for act in acts):
            raise ValueError(f"not a rule of the script: {line!r}")
        return cls(match["step"], acts, match["text"] or "", bool(match["once"]), int(match["after"] or 0))

    def fits(self, step: str, command: str) -> bool:
        """Whether this rule applies now; counts its occurrences."""
        if step != self.step or self.text.lower() not in command.lower():
            return False
        self.seen += 1
        return self.seen > self.after and not (self.is_once and self.seen > self.after + 1)


def parse_script(text: str) -> list[Rule]:
    """Parse a script, skipping empty lines and comments. Raises ValueError."""
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [Rule.parse(line) for line in lines if line and not line.startswith("#")]


@dataclass(frozen=True)
class AcceptedLetter:
    """A letter for which the server took responsibility; `wire` has the dot-stuffing removed."""

    connection: int
    username: str | None
    is_tls: bool
    sender: str
    recipients: tuple[str, ...]
    wire: bytes


@dataclass(frozen=True)
class Command:
    """A command as received, without secrets; `connection` counts from 1."""

    connection: int
    line: str

    @property
    def verb(self) -> str:
        """The first word, in upper case."""
        return self.line.split(" ")[0].upper()


class _Leave(Exception):
    """Ends this connection."""


@dataclass
class _Envelope:
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)


class ScriptedSmtpServer:
    """The server; an async context manager. `letters` and `commands` are in order of arrival.

    `users` maps names to passwords, `tokens` names to access tokens. With `is_implicit_tls` TLS begins at once;
    otherwise STARTTLS is offered if there is a TLS context. A lax server accepts RCPT and DATA any time, and one with
    `takes_any_token` accepts every token unchecked. `login_prompts` are sent as the prompts of AUTH LOGIN, unchanged.
    """

    def __init__(
        self,
        script: str = "",
        *,
        tls: ssl.SSLContext | None = None,
        is_implicit_tls: bool = False,
        extensions: Sequence[str] = ("PIPELINING", "SIZE 36700160", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
        mechanisms: Sequence[str] = ("PLAIN", "LOGIN", "XOAUTH2"),
        users: Mapping[str, str] | None = None,
        tokens: Mapping[str, str] | None = None,
        is_lax: bool = False,
    ) -> None:
        self.rules = parse_script(script)
        self.tls = tls
        self.is_implicit_tls = is_implicit_tls
        self.extensions = tuple(extensions)
        self.mechanisms = tuple(mechanisms)
        self.users = dict(users or {})
        self.tokens = dict(tokens or {})
        self.is_lax = is_lax
        self.takes_any_token = False
        self.login_prompts = ("VXNlcm5hbWU6", "UGFzc3dvcmQ6")
        self.release = asyncio.Event()
        self.letters: list[AcceptedLetter] = []
        self.commands: list[Command] = []
        self.connections = 0
        self.open_connections = 0
        self.most_open_connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()
        self._dialogues: set[asyncio.Task[None]] = set()

    def play(self, script: str) -> None:
        """Switch to another script."""
        self.rules = parse_script(script)

    def verbs(self, connection: int | None = None) -> list[str]:
        """The verbs of the commands so far, in order."""
        return [command.verb for command in self.commands if connection in (None, command.connection)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for an event on the server that makes the condition true."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def seen(self, verb: str, times: int = 1) -> None:
        """Wait until the command has arrived this many times."""
        await self.until(lambda: self.verbs().count(verb) >= times)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; `port` is then set."""
        context = self.tls if self.is_implicit_tls else None
        self._server = await asyncio.start_server(self._serve, host, port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and close all connections."""
        if self._server is not None:
            self._server.close()
        for dialogue in list(self._dialogues):
            dialogue.cancel()
        await asyncio.gather(*self._dialogues, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def note(self, *, command: Command | None = None, letter: AcceptedLetter | None = None) -> None:
        """Record an event and wake the waiters."""
        async with self._changed:
            if command is not None:
                self.commands.append(command)
            if letter is not None:
                self.letters.append(letter)
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._dialogues.add(task)
        self.connections += 1
        self.open_connections += 1
        self.most_open_connections = max(self.most_open_connections, self.open_connections)
        try:
            await self.note()
            await _Dialogue(self, self.connections, reader, writer).run()
        except (_Leave, OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # a connection may end in any way, and closing the server cancels the rest
        finally:
            writer.transport.abort()
            self.open_connections -= 1
            self._dialogues.discard(task)
            with contextlib.suppress(asyncio.CancelledError):
                await self.note()


class _Dialogue:
    """One connection."""

    def __init__(
        self, server: ScriptedSmtpServer, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._number = number
        self._reader = reader
        self._writer = writer
        self._username: str | None = None
        self._envelope = _Envelope()
        self._content = b""

    @property
    def _is_tls(self) -> bool:
        return self._writer.get_extra_info("sslcontext") is not None

    async def run(self) -> None:
        await self._step("banner", "", "220 scripted.example ESMTP")
        while True:
            await self._command((await self._reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace"))

    async def _command(self, line: str) -> None:
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        shown = f"AUTH {argument.split(' ')[0]}" if verb == "AUTH" else line
        await self._server.note(command=Command(self._number, shown))
        handlers = {
            "EHLO": self._ehlo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
        }
        if handler := handlers.get(verb):
            await handler(argument)
        elif verb in ("RSET", "NOOP", "QUIT"):
            if verb == "RSET":
                self._envelope = _Envelope()
            await self._step(verb.lower(), line, "221 2.0.0 bye" if verb == "QUIT" else "250 2.0.0 ok")
            if verb == "QUIT":
                raise _Leave
        else:
            await self._send("500 5.5.1 unknown command")

    async def _ehlo(self, argument: str) -> None:
        offers = list(self._server.extensions)
        if self._server.tls is not None and not self._is_tls:
            offers.append("STARTTLS")
        if self._server.mechanisms:
            offers.append("AUTH " + " ".join(self._server.mechanisms))
        await self._step("ehlo", argument, "250 " + "|".join(["scripted.example", *offers]))

    async def _starttls(self, argument: str) -> None:
        if self._server.tls is None or self._is_tls:
            await self._send("502 5.5.1 no STARTTLS here")
            return
        if await self._step("starttls", argument, "220 2.0.0 go ahead"):
            await self._upgrade(self._server.tls)

    async def _upgrade(self, context: ssl.SSLContext) -> None:
        await self._writer.start_tls(context)
        self._envelope, self._username = _Envelope(), None

    async def _auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        verifiers = {
            "PLAIN": self._verify_plain,
            "LOGIN": self._verify_login,
            "CRAM-MD5": self._verify_cram_md5,
            "XOAUTH2": self._verify_xoauth2,
        }
        if mechanism.upper() not in self._server.mechanisms:
            await self._send("504 5.5.4 unknown mechanism")
            return
        try:
            username = await verifiers[mechanism.upper()](initial)
        except (binascii.Error, UnicodeDecodeError, ValueError):
            await self._send("501 5.5.2 not understood")
            return
        self._username = username
        await self._step(
            "auth", argument, "235 2.7.0 signed in" if username else "535 5.7.8 user name or password is wrong"
        )

    async def _verify_plain(self, initial: str) -> str | None:
        _, username, password = _decoded(initial or await self._challenge("")).split("\0")
        return username if self._server.users.get(username) == password else None

    async def _verify_login(self, initial: str) -> str | None:
        username = _decoded(initial or await self._challenge(self._server.login_prompts[0]))
        password = _decoded(await self._challenge(self._server.login_prompts[1]))
        return username if self._server.users.get(username) == password else None

    async def _verify_cram_md5(self, _initial: str) -> str | None:
        asked = f"<{self._number}@scripted.example>".encode()
        username, _, digest = _decoded(await self._challenge(base64.b64encode(asked).decode())).rpartition(" ")
        expected = hmac.new(self._server.users.get(username, "").encode(), asked, "md5").hexdigest()
        return username if username in self._server.users and digest == expected else None

    async def _verify_xoauth2(self, initial: str) -> str | None:
        match = re.fullmatch(r"user=(.*)\x01auth=Bearer (.*)\x01\x01", _decoded(initial))
        if match and (self._server.takes_any_token or self._server.tokens.get(match[1]) == match[2]):
            return match[1]
        # The reason arrives as a challenge, which the client must answer before it gets the final reply.
        if await self._challenge(base64.b64encode(b'{"status":"401"}').decode()) != "":
            raise ValueError("an empty answer is expected")
        return None

    async def _challenge(self, text: str) -> str:
        await self._send(f"334 {text}")
        return (await self._reader.readuntil(b"\r\n"))[:-2].decode()

    async def _mail(self, argument: str) -> None:
        if self._envelope.sender is not None:
            await self._send("503 5.5.1 a transaction is open")
            return
        if await self._step("mail", argument, "250 2.1.0 sender ok"):
            self._envelope = _Envelope(_path(argument))

    async def _rcpt(self, argument: str) -> None:
        if self._envelope.sender is None and not self._server.is_lax:
            await self._send("503 5.5.1 MAIL first")
        elif await self._step("rcpt", argument, "250 2.1.5 recipient ok"):
            self._envelope.recipients.append(_path(argument))

    async def _data(self, argument: str) -> None:
        if not self._server.is_lax and not self._envelope.recipients:
            await self._send("503 5.5.1 RCPT first")
            return
        if not await self._step("data", argument, "354 go ahead"):
            return
        await self._step("content", "", None)
        self._content = _unstuffed(await self._read_content())
        await self._server.note(command=Command(self._number, "."))
        await self._step("dot", "", f"250 2.0.0 queued as {len(self._server.letters) + 1}")
        self._envelope = _Envelope()
        await self._step("idle", "", None)

    async def _read_content(self) -> bytes:
        head = await self._reader.readexactly(3)
        if head == b".\r\n":
            return b""
        pieces = [head]
        while True:
            try:
                pieces.append(await self._reader.readuntil(_END))
            except asyncio.LimitOverrunError as overrun:
                pieces.append(await self._reader.readexactly(overrun.consumed))
            else:
                return b"".join(pieces)[: -len(_END) + 2]

    async def _accept(self) -> None:
        letter = AcceptedLetter(
            connection=self._number,
            username=self._username,
            is_tls=self._is_tls,
            sender=self._envelope.sender or "",
            recipients=tuple(self._envelope.recipients),
            wire=self._content,
        )
        await self._server.note(letter=letter)

    async def _step(self, step: str, command: str, default: str | None) -> bool:
        """Do what the script says; true if the server continued as it would have without a script."""
        rule = next((rule for rule in self._server.rules if rule.fits(step, command)), None)
        acts = rule.acts if rule else ("proceed",)
        is_proceeding = False
        for act in acts:
            if act == "proceed":
                is_proceeding = True
                if step == "dot":
                    await self._accept()
                if default is not None:
                    await self._send(default)
            else:
                is_proceeding |= await self._act(act)
        return is_proceeding

    async def _act(self, act: str) -> bool:
        word, _, rest = act.partition(" ")
        match word:
            case "close":
                self._writer.close()
                raise _Leave
            case "reset":
                _send_reset_on_close(self._writer)
                raise _Leave
            case "half-close":
                self._writer.write_eof()
            case "stall":
                await self._reader.read()
                raise _Leave
            case "delay":
                await asyncio.sleep(float(rest))
            case "hold":
                await self._server.release.wait()
            case "accept":
                await self._accept()
            case "read":
                await self._reader.readexactly(int(rest))
            case "raw":
                await self._write(rest.replace("\\r", "\r").replace("\\n", "\n").encode())
            case "upgrade" if self._server.tls is not None:
                await self._upgrade(self._server.tls)
            case "garbage":
                await self._write(b"\x00garbage\r\n" * 8)
            case "pieces":
                size, _, reply = rest.partition(" ")
                await self._send_pieces(_reply_bytes(reply), int(size))
                return reply[0] in "23"
            case "flood":
                await self._flood(b"250-and so on\r\n" * 100, int(rest))
            case "long-line":
                await self._flood(b"x" * 1_000, int(rest), b"250 ")
            case _:
                await self._send(act)
                return act[0] in "23"
        return False

    async def _flood(self, piece: bytes, size: int, start: bytes = b"") -> None:
        self._writer.write(start)
        for _ in range(0, size, len(piece)):
            await self._write(piece)

    async def _send_pieces(self, data: bytes, size: int) -> None:
        for start in range(0, len(data), size):
            await self._write(data[start : start + size])
            await asyncio.sleep(0)

    async def _send(self, reply: str) -> None:
        await self._write(_reply_bytes(reply))

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _reply_bytes(reply: str) -> bytes:
    code, rest = reply[:3], reply[4:]
    *lines, last = rest.split("|")
    return "".join([*(f"{code}-{line}\r\n" for line in lines), f"{code} {last}\r\n"]).encode()


def _path(argument: str) -> str:
    return argument.partition("<")[2].partition(">")[0]


def _decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


def _unstuffed(content: bytes) -> bytes:
    unstuffed = content.replace(b"\r\n..", b"\r\n.")
    return unstuffed[1:] if unstuffed.startswith(b".") else unstuffed


def _send_reset_on_close(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:  # the client may have disconnected, closing the socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
