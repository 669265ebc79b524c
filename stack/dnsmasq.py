"""dnsmasq: a DNS server that serves given records and answers NXDOMAIN for every other name."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stack.ports import free_ports
from stack.process import Child

_CONFIGURATION = """\
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
no-poll
user=root
pid-file=
local-ttl=1
# What is not known here is not there: nothing is asked of anybody else.
address=/#/
"""
_MAX_STRING = 255  # per string in a TXT record (RFC 1035 section 3.3)


@dataclass(frozen=True)
class Record:
    """A record of a type that tests need: A or AAAA (an address), MX (`10 host`), TXT (any text), PTR and CNAME
    (a name; an alias's target must be among the records too).
    """

    name: str
    kind: str
    value: str

    def line(self) -> str:
        """The record as a line of dnsmasq's configuration."""
        match self.kind:
            case "A" | "AAAA":
                return f"host-record={self.name},{self.value}"
            case "MX":
                preference, _, host = self.value.partition(" ")
                return f"mx-host={self.name},{host.rstrip('.') or '.'},{preference}"
            case "TXT":
                pieces = [self.value[at : at + _MAX_STRING] for at in range(0, len(self.value), _MAX_STRING)]
                quoted = ",".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)
                return f"txt-record={self.name},{quoted}"
            case "CNAME":
                return f"cname={self.name},{self.value}"
            case "PTR":
                return f"ptr-record={self.name},{self.value}"
        raise ValueError(f"no such kind of record here: {self.kind}")


class Dnsmasq:
    """A private dnsmasq on loopback; `address` is where it answers, over UDP and TCP."""

    def __init__(self, directory: Path, records: Iterable[Record] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._configuration = directory / "dnsmasq.conf"
        [self.port] = free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        self._write(records)
        self._child = Child(
            "dnsmasq",
            ["dnsmasq", "--keep-in-foreground", "--log-facility=-", f"--conf-file={self._configuration}"],
            log=directory / "dnsmasq.log",
            cwd=directory,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )

    async def start(self) -> None:
        """Start, or restart on the same port."""
        await self._child.start(self._is_ready)

    async def stop(self) -> None:
        """Stop."""
        await self._child.stop()

    async def serve(self, records: Iterable[Record]) -> None:
        """Serve these records from now on."""
        self._write(records)
        await self.stop()
        await self.start()

    def suspend(self) -> None:
        """Freeze the server: it answers nothing."""
        self._child.suspend()

    def resume(self) -> None:
        """Resume after `suspend`."""
        self._child.resume()

    def _write(self, records: Iterable[Record]) -> None:
        lines = "".join(f"{record.line()}\n" for record in records)
        self._configuration.write_text(_CONFIGURATION.format(port=self.port) + lines)

    async def _is_ready(self) -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False
