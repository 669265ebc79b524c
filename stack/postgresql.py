"""A private PostgreSQL cluster."""

import secrets
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

from stack.authority import MutualTls
from stack.ports import free_ports
from stack.process import Child, ServerError
from stack.tool import run

_LIBRARIES = Path("/usr/lib/postgresql")
_SYSTEM_USER = "postgres"  # PostgreSQL refuses to run as root

USER = PASSWORD = "sendas"

_MUTUAL_TLS_RULES = """\
local all all scram-sha-256
hostssl all all all scram-sha-256 clientcert=verify-ca
"""


class PostgreSQL:
    """A private PostgreSQL. With `fsync` off it is faster, but loses data if the machine crashes.

    With `tls`, TCP clients must use TLS and present a certificate in addition to the password.
    """

    def __init__(self, directory: Path, *, fsync: bool = True, tls: MutualTls | None = None) -> None:
        directory.mkdir(parents=True)
        shutil.chown(directory, _SYSTEM_USER, _SYSTEM_USER)
        [self.port] = free_ports(1)
        self._directory = directory
        self._data = directory / "data"
        self._tls = tls
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(directory),
            "fsync": "on" if fsync else "off",
            **(self._tls_settings(tls) if tls is not None else {}),
        }
        self._child = Child(
            "postgresql",
            [
                str(program("postgres")),
                "-D",
                str(self._data),
                *(f"--{key}={value}" for key, value in settings.items()),
            ],
            log=directory / "postgresql.log",
            cwd=directory,
            user=_SYSTEM_USER,
            end_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
        )

    def _tls_settings(self, tls: MutualTls) -> dict[str, str]:
        # Copies, because the server accepts only a key that its own user owns.
        names = {
            "ssl_cert_file": tls.certificate.chain,
            "ssl_key_file": tls.certificate.key,
            "ssl_ca_file": tls.clients,
        }
        for setting, source in names.items():
            copy = self._directory / setting
            shutil.copyfile(source, copy)
            copy.chmod(0o600)
            shutil.chown(copy, _SYSTEM_USER, _SYSTEM_USER)
        return {"ssl": "on", **{setting: str(self._directory / setting) for setting in names}}

    @property
    def url(self) -> str:
        """URL of the default database, for asyncpg and libpq."""
        return self._url("postgres")

    @property
    def _socket_url(self) -> str:
        """URL for the stack itself, whatever clients must present."""
        return f"postgresql://{USER}:{PASSWORD}@/postgres?host={quote(str(self._directory))}&port={self.port}"

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    async def start(self) -> None:
        """Start, or restart with the same data and port."""
        if not self._data.exists():
            await self._initialise()
        await self._child.start(self._is_ready)

    async def _initialise(self) -> None:
        password_file = self._directory / "password"
        password_file.write_text(PASSWORD)
        options = ["--username", USER, "--pwfile", str(password_file), "--auth", "scram-sha-256"]
        locale = ["--encoding", "UTF8", "--no-locale", "--no-sync"]
        await run([program("initdb"), "-D", str(self._data), *options, *locale], user=_SYSTEM_USER)
        if self._tls is not None:
            (self._data / "pg_hba.conf").write_text(_MUTUAL_TLS_RULES)

    async def _is_ready(self) -> bool:
        try:
            await run([program("pg_isready"), "--dbname", self.url])
        except ServerError:
            return False
        return True

    async def add_database(self) -> str:
        """Create an empty database with a unique name; returns its URL."""
        name = f"test_{secrets.token_hex(6)}"
        await run([program("psql"), "--quiet", "--command", f"CREATE DATABASE {name}", self._socket_url])
        return self._url(name)

    async def ask(self, query: str) -> str:
        """The result of a query, as psql prints it without headings."""
        return await run(
            [program("psql"), "--quiet", "--tuples-only", "--no-align", "--command", query, self._socket_url]
        )

    async def stop(self) -> None:
        """Shut down cleanly; the data stay."""
        await self._child.stop(timeout_s=30)

    async def kill(self) -> None:
        """Kill at once, like a power cut; the data stay."""
        await self._child.kill()

    def suspend(self) -> None:
        """Freeze the server: new connections get no answer. Open ones have processes of their own and continue."""
        self._child.suspend()

    def resume(self) -> None:
        """Resume after `suspend`."""
        self._child.resume()


def program(name: str) -> str:
    """Find a program of the newest installed PostgreSQL: Debian keeps them out of PATH."""
    found = sorted(_LIBRARIES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise ServerError(f"PostgreSQL's {name} is not installed: run stack/install")
    return str(found[-1])
