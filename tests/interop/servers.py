"""SMTP servers of others, each started privately and asked what it received."""

import asyncio
import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from stack.authority import Certificate
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child
from tools.npm import NODE, install
from worker.domain.vocabulary import Security

NODE_DIRECTORY = Path(__file__).with_name("node")
USER = "support@acme.example"
PASSWORD = 'pa ss"w\\ord-ü'
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Received:
    """A letter as the server has it, with what the server wrote above it."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class SmtpServer(Protocol):
    """A server with one user; it refuses recipients that begin with `unknown`, and letters beyond MAX_BYTES."""

    starttls_port: int
    tls_port: int

    def received(self) -> list[Received]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...


@dataclass
class NodeServer:
    """What both servers for Node have in common: a child that writes letters as JSON into a directory."""

    directory: Path
    certificate: Certificate
    starttls_port: int = 0
    tls_port: int = 0

    def __post_init__(self) -> None:
        install(NODE_DIRECTORY)
        self.sink = self.directory / "letters"
        self.sink.mkdir(parents=True)
        self.log = self.directory / "server.log"

    def received(self) -> list[Received]:
        """What came so far, in order."""
        letters = [json.loads(path.read_text()) for path in sorted(self.sink.glob("*.json"))]
        return [_received(each) for each in letters]

    async def __aexit__(self, *_: object) -> None:
        await self.child.stop()

    child: Child = field(init=False)


def _received(letter: dict[str, Any]) -> Received:
    recipients = tuple(recipient.strip("<>") for recipient in letter["recipients"])
    return Received(letter["sender"].strip("<>"), recipients, base64.b64decode(letter["base64"]))


class Nodemailer(NodeServer):
    """smtp-server, the server that Nodemailer's authors test with and EmailEngine runs."""

    async def __aenter__(self) -> Self:
        certificate = self.certificate
        script = NODE_DIRECTORY / "smtp_server.mjs"
        arguments = [self.sink, certificate.chain, certificate.key, USER, PASSWORD]
        command = [str(NODE), str(script), *map(str, arguments)]
        self.child = Child("smtp-server", command, log=self.log, cwd=NODE_DIRECTORY)
        await self.child.start(self._is_ready)
        return self

    async def _is_ready(self) -> bool:
        if not (line := self.log.read_text().strip()).startswith("["):
            return False
        self.starttls_port, self.tls_port = json.loads(line.splitlines()[0])
        return True


class Haraka(NodeServer):
    """Haraka, with its own plugins for TLS and sign-in."""

    async def __aenter__(self) -> Self:
        self.starttls_port, self.tls_port = free_ports(2)
        self._write_configuration()
        command = [str(NODE), str(NODE_DIRECTORY / "node_modules/Haraka/bin/haraka"), "-c", str(self.directory)]
        self.child = Child("haraka", command, log=self.log, cwd=self.directory, env={"SINK_DIRECTORY": str(self.sink)})
        await self.child.start(self._is_ready)
        return self

    def _write_configuration(self) -> None:
        config, plugins = self.directory / "config", self.directory / "plugins"
        shutil.copytree(NODE_DIRECTORY / "node_modules/Haraka/config", config)
        plugins.mkdir()
        listeners = f"listen=127.0.0.1:{self.starttls_port},127.0.0.1:{self.tls_port}"
        files = {
            "me": "haraka.example",
            "plugins": "tls\nauth/flat_file\nsink",
            "smtp.ini": f"{listeners}\nsmtps_port={self.tls_port}\nnodes=0\n[main]\n",
            "tls.ini": f"key={self.certificate.key}\ncert={self.certificate.chain}\n",
            "auth_flat_file.ini": f"[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\n[users]\n{USER}={PASSWORD}\n",
            "connection.ini": (config / "connection.ini").read_text().replace("bytes=26214400", f"bytes={MAX_BYTES}"),
        }
        for name, text in files.items():
            (config / name).write_text(f"{text}\n")
        (plugins / "sink.js").write_text((NODE_DIRECTORY / "haraka_sink.js").read_text())

    async def _is_ready(self) -> bool:
        is_listening = f"Listening on 127.0.0.1:{self.tls_port}" in self.log.read_text()
        return is_listening and await greets(self.starttls_port, b"220 ")


class Aiosmtpd:
    """aiosmtpd, as its users run it: STARTTLS required before a sign-in."""

    tls_port = 0

    def __init__(self, directory: Path, certificate: Certificate) -> None:
        del directory
        self._certificate = certificate
        self._letters: list[Received] = []
        self.starttls_port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, "127.0.0.1", 0)
        self.starttls_port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def received(self) -> list[Received]:
        """What came so far, in order."""
        return self._letters

    def _session(self) -> SMTP:
        return SMTP(
            self,
            hostname="aiosmtpd.example",
            data_size_limit=MAX_BYTES,
            enable_SMTPUTF8=True,
            tls_context=self._certificate.server_context(),
            require_starttls=True,
            authenticator=self._authenticate,
            auth_required=True,
        )

    def _authenticate(self, _server: Any, _session: Any, _envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert mechanism in ("PLAIN", "LOGIN")
        assert isinstance(data, LoginPassword)
        is_right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=is_right, handled=False)

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:  # noqa: N802
        if address.startswith("unknown"):
            return "550 5.1.1 No such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - its interface
        assert isinstance(envelope.content, bytes)
        assert envelope.mail_from is not None
        self._letters.append(Received(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content))
        return "250 2.0.0 accepted"


Make = Callable[[Path, Certificate], SmtpServer]
SMTP_SERVERS: dict[str, Make] = {"Nodemailer smtp-server": Nodemailer, "Haraka": Haraka, "aiosmtpd": Aiosmtpd}
MEETINGS = [
    ("Nodemailer smtp-server", Security.STARTTLS),
    ("Nodemailer smtp-server", Security.TLS),
    ("Haraka", Security.STARTTLS),
    ("Haraka", Security.TLS),
    ("aiosmtpd", Security.STARTTLS),
]
"""Each server with each kind of TLS that it has."""
