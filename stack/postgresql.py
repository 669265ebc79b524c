"""PostgreSQL: a private database cluster."""

import secrets
import shutil
import signal
from pathlib import Path

from stack.ports import free_ports
from stack.process import Child, ServerError
from stack.tool import run

_LIBRARIES = Path("/usr/lib/postgresql")
_SYSTEM_USER = "postgres"  # PostgreSQL refuses to run as root

USER = PASSWORD = "sendas"


class PostgreSQL:
    """A private PostgreSQL. With `fsync` off it is faster and loses data when the machine crashes."""

    def __init__(self, directory: Path, *, fsync: bool = True) -> None:
        directory.mkdir(parents=True)
        shutil.chown(directory, _SYSTEM_USER, _SYSTEM_USER)
        [self.port] = free_ports(1)
        self._directory = directory
        self._data = directory / "data"
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(directory),
            "fsync": "on" if fsync else "off",
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

    @property
    def url(self) -> str:
        """URL of the default database, for asyncpg and libpq."""
        return self._url("postgres")

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    async def start(self) -> None:
        """Start, or start again in place with the same data and port."""
        if not self._data.exists():
            await self._initialise()
        await self._child.start(self._is_ready)

    async def _initialise(self) -> None:
        password_file = self._directory / "password"
        password_file.write_text(PASSWORD)
        options = ["--username", USER, "--pwfile", str(password_file), "--auth", "scram-sha-256"]
        locale = ["--encoding", "UTF8", "--no-locale", "--no-sync"]
        await run([program("initdb"), "-D", str(self._data), *options, *locale], user=_SYSTEM_USER)

    async def _is_ready(self) -> bool:
        try:
            await run([program("pg_isready"), "--dbname", self.url])
        except ServerError:
            return False
        return True

    async def add_database(self) -> str:
        """Create an empty database under a name of its own and return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        await run([program("psql"), "--quiet", "--command", f"CREATE DATABASE {name}", self.url])
        return self._url(name)

    async def stop(self) -> None:
        """Stop in good order; the data stay."""
        await self._child.stop(timeout_s=30)

    async def kill(self) -> None:
        """End at once, as a power cut would; the data stay."""
        await self._child.kill()

    def suspend(self) -> None:
        """Freeze: no new connection is answered. Open ones are served by processes of their own and go on."""
        self._child.suspend()

    def resume(self) -> None:
        """Go on after `suspend`."""
        self._child.resume()


def program(name: str) -> str:
    """Find a program of the newest PostgreSQL there is: Debian keeps them out of PATH."""
    found = sorted(_LIBRARIES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise ServerError(f"PostgreSQL's {name} is not installed: run stack/install")
    return str(found[-1])
