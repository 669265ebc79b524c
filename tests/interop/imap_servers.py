"""Courier's and Cyrus's IMAP servers, run from unpacked Debian packages: tests/interop/debian_tree.py."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child, setpriv
from tests.interop.debian_tree import unpacked

USER = "anna"
PASSWORD = "hunter2"
ADMINISTRATOR = "admin"
_CYRUS_USER = "nobody"  # Cyrus refuses to run as root

_COURIER_CAPABILITIES = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE ACL ACL2=UNION"
_CYRUS_CONFIGURATION = """\
configdirectory: {home}/conf
proc_path: {home}/proc
mboxname_lockpath: {home}/lock
defaultpartition: default
partition-default: {home}/spool
servername: localhost
admins: {administrator}
cyrus_user: {user}
cyrus_group: nogroup
allowplaintext: yes
failedloginpause: 0
altnamespace: no
unixhierarchysep: no
virtdomains: off
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {home}/conf/sasldb2
sasl_mech_list: PLAIN
"""
# Neither file takes an empty value or the same key twice.
_CYRUS_SERVICES = """\
START {{
}}
SERVICES {{
  imap cmd="{imapd} -C {home}/imapd.conf -U 30" listen="127.0.0.1:{port}" prefork=0 maxchild=10
}}
EVENTS {{
}}
"""


class Courier:
    """Courier's imapd on one Maildir. Signing in is the part of couriertcpd and authdaemond, done here.

    Folders are named below `INBOX.`; INBOX has no folders beside it.
    """

    def __init__(self, directory: Path) -> None:
        packages = ("courier-base", "courier-imap", "courier-authlib")
        self._tree = unpacked("courier", packages, "usr/bin/imapd", "usr/bin/maildirmake.courier", "usr/bin/maildiracl")
        self._environment = {"PATH": os.defpath, "LD_LIBRARY_PATH": self._tree.library_path}
        self._home = directory
        self._maildir = directory / "Maildir"
        self._sessions: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._tool("maildirmake.courier", str(self._maildir))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._accepting, *self._sessions):
            task.cancel()
        await asyncio.gather(self._accepting, *self._sessions, return_exceptions=True)
        self._listener.close()

    def limit(self, size: int) -> None:
        """Limit the mailbox to so many bytes."""
        self._tool("maildirmake.courier", "-q", f"{size}S", str(self._maildir))

    def allow(self, folder: str, rights: str) -> None:
        """Give the owner these rights (RFC 4314) to a folder, and no others."""
        self._tool("maildiracl", "-set", str(self._maildir), folder, "owner", rights)

    def letters(self, folder: str) -> list[bytes]:
        """The letters in a folder that is named from INBOX, such as `Sent`."""
        found = self._maildir.glob(f".{folder}/cur/*"), self._maildir.glob(f".{folder}/new/*")
        return [path.read_bytes() for paths in found for path in paths]

    def _tool(self, name: str, *arguments: str) -> None:
        subprocess.run([self._tree.root / "usr/bin" / name, *arguments], env=self._environment, check=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            task = asyncio.create_task(self._serve(connection))
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            if (tag := await self._signed_in(connection)) is not None:
                await self._run_imapd(connection, tag)

    async def _signed_in(self, connection: socket.socket) -> str | None:
        """The tag of the LOGIN that imapd will answer; None when the client left."""
        loop = asyncio.get_running_loop()
        greeting = f"* OK [CAPABILITY {_COURIER_CAPABILITIES}] Courier-IMAP ready\r\n"
        await loop.sock_sendall(connection, greeting.encode())
        while line := await _line(connection):
            tag, _, command = line.partition(" ")
            if re.fullmatch(f'LOGIN "?{USER}"? "?{PASSWORD}"?', command):
                return tag
            answer = f"* CAPABILITY {_COURIER_CAPABILITIES}\r\n{tag} OK" if command == "CAPABILITY" else f"{tag} NO"
            await loop.sock_sendall(connection, f"{answer} {command.partition(' ')[0]}\r\n".encode())
        return None

    async def _run_imapd(self, connection: socket.socket, tag: str) -> None:
        """Hand the connection over: nothing beyond the LOGIN has been read from it."""
        connection.setblocking(True)
        settings = {
            **self._environment,
            "HOME": str(self._home),
            "AUTHENTICATED": USER,
            "AUTHADDR": USER,
            "PROTOCOL": "IMAP",
            "TCPREMOTEIP": "127.0.0.1",  # without it imapd ends without a word
            "TCPREMOTEPORT": "1",
            "IMAPLOGINTAG": tag,
            "IMAP_CAPABILITY": _COURIER_CAPABILITIES,
            "IMAP_ACL": "1",
            "IMAP_USELOCKS": "0",
            "IMAP_TRASHFOLDERNAME": "Trash",
        }
        command = [*setpriv(signal.SIGKILL, None), str(self._tree.root / "usr/bin/imapd"), "Maildir"]
        end = connection.fileno()
        process = await asyncio.create_subprocess_exec(
            *command, stdin=end, stdout=end, stderr=subprocess.DEVNULL, cwd=self._home, env=settings
        )
        try:
            await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.kill()


class Cyrus:
    """Cyrus with one user, an administrator and, unless it is told otherwise, nothing in the user's mailbox.

    Folders are named below `INBOX.`; whatever lies beside `user.` is a shared folder.
    """

    def __init__(self, directory: Path) -> None:
        """`directory`: with a short path, and one that any user may pass through."""
        packages = ("cyrus-common", "cyrus-imapd", "sasl2-bin", "libsasl2-modules", "libsasl2-modules-db")
        programs = ("usr/lib/cyrus/bin/master", "usr/lib/cyrus/bin/imapd", "usr/sbin/saslpasswd2")
        self._tree = unpacked("cyrus", packages, *programs).copied(directory / "tree")
        self._home = directory
        self._environment = {
            "LD_LIBRARY_PATH": self._tree.library_path,
            "SASL_PATH": str(self._tree.find("usr/lib/*/sasl2")),
            "CYRUS_USER": _CYRUS_USER,
        }
        [self.port] = free_ports(1)

    async def __aenter__(self) -> Self:
        self._configure()
        programs, home = self._tree.root / "usr/lib/cyrus/bin", self._home
        files = ["-C", str(home / "imapd.conf"), "-M", str(home / "cyrus.conf"), "-p", str(home / "pid")]
        command = [str(programs / "master"), "-D", *files]
        self._child = Child("cyrus", command, log=home / "log", cwd=home, env=self._environment)
        await self._child.start(self._is_ready)
        await self.administer(f"CREATE user.{USER}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._child.stop()

    async def administer(self, *commands: str) -> None:
        """Run commands as the administrator; each must succeed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await reader.readline()
            for command in (f"LOGIN {ADMINISTRATOR} {PASSWORD}", *commands, "LOGOUT"):
                writer.write(f"a {command}\r\n".encode())
                while not (line := await reader.readline()).startswith(b"a "):
                    assert line, command
                assert line.startswith(b"a OK"), (command, line)
        finally:
            writer.close()

    async def _is_ready(self) -> bool:
        return await greets(self.port, b"* OK ")

    def _configure(self) -> None:
        home = self._home
        for name in ("conf/socket", "spool", "proc", "lock"):
            (home / name).mkdir(parents=True)
        named = {"home": home, "user": _CYRUS_USER, "administrator": ADMINISTRATOR}
        (home / "imapd.conf").write_text(_CYRUS_CONFIGURATION.format(**named))
        imapd = self._tree.root / "usr/lib/cyrus/bin/imapd"
        (home / "cyrus.conf").write_text(_CYRUS_SERVICES.format(imapd=imapd, home=home, port=self.port))
        for name in (USER, ADMINISTRATOR):
            self._set_password(name)
        for path in (home, *home.rglob("*")):
            if self._tree.root not in (path, *path.parents):
                shutil.chown(path, _CYRUS_USER, "nogroup")

    def _set_password(self, name: str) -> None:
        database = str(self._home / "conf/sasldb2")
        command = [str(self._tree.root / "usr/sbin/saslpasswd2"), "-c", "-p", "-f", database, "-u", "localhost", name]
        environment = {"PATH": os.defpath, **self._environment}
        subprocess.run(command, input=PASSWORD, env=environment, check=True, text=True)


async def _line(connection: socket.socket) -> str:
    """A line without its end, empty when the client left; read byte by byte, so that what follows stays unread."""
    loop = asyncio.get_running_loop()
    line = b""
    while byte := await loop.sock_recv(connection, 1):
        line += byte
        if line.endswith(b"\r\n"):
            return line[:-2].decode()
    return ""
