"""The console of a running installation, with what keeps the history that it shows."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from demo.installation import PASSWORD, SENDAS, Installation, environment
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child
from worker.console.auth.passwords import hashed

PERSON = "demo"


@dataclass(frozen=True)
class RunningConsole:
    """Where it is, and how to get in."""

    url: str
    person: str = PERSON
    password: str = PASSWORD


@asynccontextmanager
async def running_console(installed: Installation) -> AsyncIterator[RunningConsole]:
    """The console while the context lasts, for one operator. Raises ServerError when it does not start."""
    port, keeping_port = free_ports(2)
    people = installed.directory / "people.toml"
    people.touch(mode=0o600)
    people.write_text(f'[people.{PERSON}]\nrole = "operator"\npassword = "{hashed(PASSWORD)}"\n')
    settings = {
        **installed.settings,
        "SENDAS_CONSOLE_PORT": str(port),
        "SENDAS_CONSOLE_PEOPLE_FILE": str(people),
        "SENDAS_CONSOLE_WORKERS": f"http://127.0.0.1:{installed.http_port}",
    }

    def child(http_port: int, *arguments: str) -> Child:
        return Child(
            " ".join(["sendas", *arguments]),
            [os.fspath(SENDAS), *arguments],
            log=installed.directory / f"{arguments[0]}.log",
            cwd=installed.directory,
            env=environment({**settings, "SENDAS_HTTP_PORT": str(http_port)}),
        )

    keeping, console = child(keeping_port, "history", "consume"), child(0, "console")
    try:
        # First of the two: it makes the history's tables.
        ready = b"GET /readyz HTTP/1.0\r\n\r\n"
        await keeping.start(lambda: greets(keeping_port, b"HTTP/1.0 200", hello=ready))
        hello = f"GET /sign-in/ HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        await console.start(lambda: greets(port, b"HTTP/1.1 200", hello=hello))
        yield RunningConsole(f"http://127.0.0.1:{port}")
    finally:
        await console.stop(timeout_s=30)
        await keeping.stop(timeout_s=30)
