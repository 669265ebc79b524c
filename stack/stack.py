"""All servers together: started concurrently and stopped completely."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypedDict, Unpack

from stack.authority import Authority
from stack.directory import check_directory
from stack.mail import DEFAULT_MAX_BYTES, MailServer
from stack.mailbox import Mailbox
from stack.postgresql import PostgreSQL
from stack.process import ServerError
from stack.rabbitmq import RabbitMQ

SERVICES = frozenset({"rabbitmq", "mail", "postgresql"})


class Server(Protocol):
    """Anything that can be started, stopped and restarted."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Options(TypedDict, total=False):
    """Deviations from the servers' defaults; see `MailServer`, `RabbitMQ` and `PostgreSQL`."""

    mailboxes: Iterable[Mailbox]
    domains: Iterable[str]
    hosts: Iterable[str]
    max_bytes: int
    management: bool
    fsync: bool


class Stack:
    """The requested servers, each in its own part of one directory. Use `Stack.start`."""

    def __init__(self, directory: Path, services: Collection[str], options: Options) -> None:
        if unknown := set(services) - SERVICES:
            raise ValueError(f"unknown services {sorted(unknown)}; there are {sorted(SERVICES)}")
        check_directory(directory)
        self.authority = Authority(directory / "tls")
        self._servers: dict[str, Server] = {}
        if "rabbitmq" in services:
            self._servers["rabbitmq"] = RabbitMQ(directory / "rabbitmq", management=options.get("management", False))
        if "mail" in services:
            self._servers["mail"] = MailServer(
                directory / "mail",
                self.authority,
                mailboxes=options.get("mailboxes", ()),
                domains=options.get("domains", ()),
                hosts=options.get("hosts", ()),
                max_bytes=options.get("max_bytes", DEFAULT_MAX_BYTES),
            )
        if "postgresql" in services:
            self._servers["postgresql"] = PostgreSQL(directory / "postgresql", fsync=options.get("fsync", True))

    @classmethod
    @asynccontextmanager
    async def start(
        cls, directory: Path, services: Collection[str] = SERVICES, **options: Unpack[Options]
    ) -> AsyncIterator["Stack"]:
        """Start `services` in `directory`, which must exist and which the caller removes; stop them on exit.

        Raises ServerError with the end of its log if a server cannot start.
        """
        stack = cls(directory, services, options)
        async with running(*stack._servers.values()):
            yield stack

    @property
    def rabbitmq(self) -> RabbitMQ:
        """The broker."""
        server = self._servers.get("rabbitmq")
        assert isinstance(server, RabbitMQ), "rabbitmq was not asked for"
        return server

    @property
    def mail(self) -> MailServer:
        """The mail server."""
        server = self._servers.get("mail")
        assert isinstance(server, MailServer), "mail was not asked for"
        return server

    @property
    def postgresql(self) -> PostgreSQL:
        """The database."""
        server = self._servers.get("postgresql")
        assert isinstance(server, PostgreSQL), "postgresql was not asked for"
        return server


@asynccontextmanager
async def running(*servers: Server) -> AsyncIterator[None]:
    """Start servers concurrently; stop them all on exit, even if only some of them could start."""
    if os.geteuid() != 0:
        raise ServerError("the private servers need root, each to run as its own user (compose.yaml needs none)")
    starts = [asyncio.create_task(server.start()) for server in servers]
    try:
        await asyncio.gather(*starts)
        yield
    finally:
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        await asyncio.gather(*(server.stop() for server in servers))


@asynccontextmanager
async def rabbitmq_cluster(directory: Path, size: int) -> AsyncIterator[RabbitMQ]:
    """Start a RabbitMQ cluster of `size` nodes in a new directory; stops it on exit."""
    cluster = RabbitMQ(directory, size=size)
    async with running(cluster):
        yield cluster
