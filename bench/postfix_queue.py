"""Postfix as the sending queue: it takes letters, keeps them durably, and hands them to the sink."""

from pathlib import Path

from stack.ports import free_ports
from stack.postfix import KEEPER, create_queue
from stack.probe import greets
from stack.process import Child

_MAIN = """\
compatibility_level = 3.7
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/postfix.log
maillog_file_prefixes = {directory}
myhostname = localhost
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink_port}
smtpd_relay_restrictions = permit_mynetworks, reject
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
default_process_limit = 100
initial_destination_concurrency = {connections}
default_destination_concurrency_limit = {connections}
smtp_connection_cache_destinations = [127.0.0.1]:{sink_port}
"""

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


class PostfixQueue:
    """A private Postfix that sends everything to one port."""

    def __init__(self, directory: Path, sink_port: int, connections: int) -> None:
        [self.port] = free_ports(1)
        create_queue(directory)
        (directory / "main.cf").write_text(
            _MAIN.format(directory=directory, sink_port=sink_port, connections=connections)
        )
        (directory / "master.cf").write_text(_MASTER.format(port=self.port))
        self.child = Child(
            "postfix queue",
            ["sh", "-c", KEEPER, "sh", "/usr/lib/postfix/sbin/master", "-d", "-c", str(directory)],
            log=directory / "postfix.log",
            cwd=directory,
            env={"MAIL_CONFIG": str(directory), "POSTLOG_SERVICE": "postlog"},
        )

    async def start(self) -> None:
        """Start."""
        await self.child.start(self._is_ready)

    async def _is_ready(self) -> bool:
        return await greets(self.port, b"220 ")

    async def stop(self) -> None:
        """Stop."""
        await self.child.stop()
