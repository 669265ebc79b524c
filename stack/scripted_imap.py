"""An in-memory IMAP server that on demand does what real servers hardly ever do: refuse, stall, cut, answer oddly.

Without a script it behaves normally. `script` overrides successive occurrences of a command:

    server.script("APPEND", Say("{tag} NO [OVERQUOTA] full"), CUT)   # first APPEND, second APPEND; then as usual

Moments are command names, plus `GREETING`, `UID SEARCH`, `APPENDED` (the literal has arrived, nothing is stored
yet) and `STORED` (stored, but not answered yet).
"""

import asyncio
import re
import ssl
from collections import defaultdict, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

DEFAULT_CAPABILITIES = "UIDPLUS SPECIAL-USE LIST-EXTENDED SASL-IR"

_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"|\(([^)]*)\)|([^\s"]+)')
_LITERAL = re.compile(rb"\{(\d+)\}\Z")
_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Say:
    """Send these lines (`{tag}` is the command's tag) and continue; `raw` is sent unchanged."""

    text: str = ""
    raw: bytes = b""

    def data(self, tag: bytes) -> bytes:
        """The bytes to send."""
        text = self.text.replace("{tag}", tag.decode()).replace("\n", "\r\n").encode()
        return self.raw + (text + b"\r\n" if self.text else b"")


@dataclass(frozen=True)
class Cut:
    """Close the connection; during APPEND, after that many bytes of the literal."""

    after_bytes: int | None = None
    farewell: str = ""


@dataclass(frozen=True)
class Stall:
    """Never answer."""


@dataclass(frozen=True)
class Challenge:
    """Send a challenge, wait for a line, then answer."""

    challenge: str
    then: Say


Step = Say | Cut | Stall | Challenge


@dataclass
class ScriptedFolder:
    """A folder by its name on the wire; `listed` replaces its LIST line."""

    name: bytes
    flags: str = "\\HasNoChildren"
    delimiter: str = "/"
    listed: bytes | None = None
    letters: list[bytes] = field(default_factory=list)

    def line(self) -> bytes:
        """Its LIST response, without the line break."""
        return self.listed or b'* LIST (%s) "%s" "%s"' % (self.flags.encode(), self.delimiter.encode(), self.name)


class _Hangup(Exception):
    """Ends this connection, as scripted."""


class ScriptedImap:
    """The server; an async context manager. `commands` lists the commands received.

    `unanswered` holds input received while it stalled. `namespace` is the NAMESPACE response, if offered.
    `keeps_below`: folders outside this prefix cannot be opened, created or appended to. `is_like_courier`: APPEND fails
    for a folder that the connection has open read-only.
    """

    def __init__(
        self, *folders: ScriptedFolder, capabilities: str = "UIDPLUS SPECIAL-USE LIST-EXTENDED SASL-IR"
    ) -> None:
        self.folders = {folder.name: folder for folder in folders}
        self.capabilities = f"IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 {capabilities}"
        self.commands: list[bytes] = []
        self.unanswered = b""
        self.namespace = '(("" "/")) NIL NIL'
        self.keeps_below = b""
        self.is_like_courier = False
        self.connections = 0
        self.port = 0
        self.moments: asyncio.Queue[str] = asyncio.Queue()
        self.open_connections = 0
        self._steps: defaultdict[str, deque[Step]] = defaultdict(deque)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def script(self, moment: str, *steps: Step) -> None:
        """Script the actions for a moment, one per occurrence."""
        self._steps[moment].extend(steps)

    def step(self, moment: str) -> Step | None:
        """The next action for a moment; every moment is recorded in `moments`, so that tests can wait for it."""
        self.moments.put_nowait(moment)
        steps = self._steps[moment]
        return steps.popleft() if steps else None

    async def reached(self, moment: str) -> None:
        """Wait until the moment occurs (again)."""
        while await self.moments.get() != moment:
            pass

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        """Listen on a free loopback port, with implicit TLS if there is a context."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(_Connection(self, reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, connection: "_Connection") -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            await connection.converse()
        except (_Hangup, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            connection.writer.transport.abort()
            self.open_connections -= 1
            self.moments.put_nowait("CLOSED")


class _Connection:
    """One client's session."""

    def __init__(self, server: ScriptedImap, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.tag = b"*"
        self.folder: ScriptedFolder | None = None
        self.is_read_only = False

    async def converse(self) -> None:
        if not await self.acted("GREETING"):
            await self.send(f"* OK [CAPABILITY {self.server.capabilities}] ready")
        while True:
            line = await self.line()
            self.tag, _, rest = line.partition(b" ")
            self.server.commands.append(rest)
            name = b" ".join(rest.upper().split(b" ")[: 2 if rest.upper().startswith(b"UID ") else 1]).decode()
            if not await self.acted(name, rest):
                arguments = await self.arguments(rest[len(name) :])
                await getattr(self, "do_" + name.lower().replace(" ", "_"), self.unknown)(arguments)

    async def acted(self, moment: str, rest: bytes = b"") -> bool:
        """Perform the scripted action for this moment, if any."""
        match self.server.step(moment):
            case None:
                return False
            case Say() as say:
                self.writer.write(say.data(self.tag))
                await self.writer.drain()
            case Stall():
                while data := await self.reader.read(2**16):  # until the client gives up
                    self.server.unanswered += data
                raise _Hangup
            case Challenge(challenge, then):
                await self.send(f"+ {challenge}")
                await self.line()
                self.writer.write(then.data(self.tag))
            case Cut(after_bytes, farewell):
                if farewell:
                    await self.send(farewell)
                if after_bytes is not None and _LITERAL.search(rest):
                    await self.send("+ go on")
                    await self.reader.readexactly(after_bytes)
                raise _Hangup
        return True

    async def send(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()

    async def ok(self, text: str = "done") -> None:
        await self.send(f"{self.tag.decode()} OK {text}")

    async def line(self) -> bytes:
        return (await self.reader.readuntil(b"\r\n"))[:-2]

    async def arguments(self, rest: bytes) -> list[bytes]:
        """Parse a command's arguments, including literals."""
        found: list[bytes] = []
        while True:
            literal = _LITERAL.search(rest)
            head = rest[: literal.start()] if literal else rest
            for quoted, listed, atom in _TOKEN.findall(head):
                found.append(re.sub(rb"\\(.)", rb"\1", quoted) or listed or atom)
            if literal is None:
                return found
            await self.send("+ go on")
            found.append(await self.reader.readexactly(int(literal.group(1))))
            rest = await self.line()

    async def unknown(self, _: list[bytes]) -> None:
        await self.send(f"{self.tag.decode(errors='replace')} BAD unknown command")

    async def do_capability(self, _: list[bytes]) -> None:
        await self.send(f"* CAPABILITY {self.server.capabilities}")
        await self.ok()

    async def do_login(self, _: list[bytes]) -> None:
        await self.ok()

    async def do_authenticate(self, arguments: list[bytes]) -> None:
        challenges = ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"] if arguments[0] == b"LOGIN" else [""]
        for challenge in challenges if len(arguments) == 1 else ():
            await self.send(f"+ {challenge}")
            self.server.commands.append(await self.line())
        await self.ok()

    async def do_list(self, arguments: list[bytes]) -> None:
        is_selection = arguments[0].upper() == b"SPECIAL-USE"
        pattern = re.escape(arguments[-1]).replace(rb"\*", b".*").replace(b"%", b"[^/.]*")
        for folder in self.server.folders.values():
            if re.fullmatch(pattern, folder.name) and (not is_selection or "\\Sent" in folder.flags):
                self.writer.write(folder.line() + b"\r\n")
        await self.ok()

    async def do_select(self, arguments: list[bytes]) -> None:
        await self.opened(arguments, "READ-WRITE")

    async def do_examine(self, arguments: list[bytes]) -> None:
        await self.opened(arguments, "READ-ONLY")

    async def do_close(self, _: list[bytes]) -> None:
        await self.left(removes=not self.is_read_only)

    async def do_unselect(self, _: list[bytes]) -> None:
        await self.left(removes=False)

    async def left(self, *, removes: bool) -> None:
        if self.folder is None:
            await self.send(f"{self.tag.decode()} BAD no folder is open")
            return
        if removes:
            self.folder.letters.clear()  # as if all had been marked as deleted
        self.folder = None
        await self.ok()

    async def do_namespace(self, _: list[bytes]) -> None:
        await self.send(f"* NAMESPACE {self.server.namespace}")
        await self.ok()

    async def do_id(self, _: list[bytes]) -> None:
        await self.ok()

    async def is_kept_out(self, name: bytes) -> bool:
        if name.upper() == b"INBOX" or name.startswith(self.server.keeps_below):
            return False
        await self.send(f"{self.tag.decode()} NO Invalid mailbox name.")
        return True

    async def opened(self, arguments: list[bytes], mode: str) -> None:
        self.is_read_only = mode == "READ-ONLY"
        self.folder = self.server.folders.get(arguments[0])
        if self.folder is None:
            await self.send(f"{self.tag.decode()} NO no such folder")
            return
        await self.send(f"* {len(self.folder.letters)} EXISTS\r\n* OK [UIDVALIDITY 77] valid")
        await self.ok(f"[{mode}] opened")

    async def do_uid_search(self, arguments: list[bytes]) -> None:
        letters = self.folder.letters if self.folder else []
        ids = [_MESSAGE_ID.search(letter) for letter in letters]
        uids = [str(uid) for uid, found in enumerate(ids, 1) if found and found.group(1) == arguments[2]]
        await self.send(" ".join(("* SEARCH", *uids)))
        await self.ok()

    async def do_append(self, arguments: list[bytes]) -> None:
        if await self.acted("APPENDED"):
            return
        folder = self.server.folders.get(arguments[0])
        if folder is None:
            await self.send(f"{self.tag.decode()} NO [TRYCREATE] no such folder")
            return
        if self.server.is_like_courier and self.is_read_only and self.folder is folder:
            await self.send(f"{self.tag.decode()} NO Current box is selected READ-ONLY.")
            return
        folder.letters.append(arguments[-1])
        if await self.acted("STORED"):
            return
        await self.ok(
            f"[APPENDUID 77 {len(folder.letters)}] saved" if "UIDPLUS" in self.server.capabilities else "saved"
        )

    async def do_create(self, arguments: list[bytes]) -> None:
        if await self.is_kept_out(arguments[0]):
            return
        self.server.folders[arguments[0]] = ScriptedFolder(arguments[0])
        await self.ok()

    async def do_subscribe(self, _: list[bytes]) -> None:
        await self.ok()

    async def do_logout(self, _: list[bytes]) -> None:
        await self.send("* BYE logging out")
        await self.ok()
        raise _Hangup
