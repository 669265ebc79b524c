"""Postfix: accepts letters from authenticated clients, and on one port from anyone, and delivers them."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from stack.authority import Certificate
from stack.dovecot import MAIL_UID
from stack.mailbox import Mailbox
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child
from stack.tool import run

_MAIN = """\
compatibility_level = 3.7
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/postfix.log
maillog_file_prefixes = {directory}
myhostname = {hostname}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
message_size_limit = {max_bytes}
virtual_mailbox_limit = 0
smtputf8_enable = yes
# Letters do not wait for one another, and clients that are refused do not wait at all.
in_flow_delay = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_client_connection_count_limit = 0

# Every letter ends in a mailbox of this machine: there is no transport that could reach another.
mydestination =
alias_maps =
relayhost =
relay_domains =
mynetworks =
default_transport = error:5.7.1 no letter leaves this machine
virtual_mailbox_domains = {domains}
virtual_mailbox_maps = hash:{directory}/mailboxes
virtual_mailbox_base = {mail_directory}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_minimum_uid = {uid}
smtpd_relay_restrictions = check_recipient_access hash:{directory}/verdicts, reject_unauth_destination
smtpd_recipient_restrictions = reject_unlisted_recipient

smtpd_tls_chain_files = {certificate.key}, {certificate.chain}
smtpd_tls_mandatory_protocols = >=TLSv1.2
tls_random_source = dev:/dev/urandom
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth_socket}
smtpd_sender_login_maps = hash:{directory}/owners
"""

_SIGNED_IN = """\
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_tls_auth_only=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
  -o smtpd_sender_restrictions=reject_sender_login_mismatch"""

_MASTER = """\
127.0.0.1:{submission_port} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
{signed_in}
127.0.0.1:{smtps_port} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
{signed_in}
127.0.0.1:{relay_port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""

# Postfix's master changes its effective user for moments, which cancels the kernel's promise to kill it with its
# parent. This shell keeps the promise and forwards the signal.
KEEPER = """\
trap 'kill -TERM $master' TERM
"$@" &
master=$!
while kill -0 $master 2>/dev/null; do
    wait $master
    status=$?
done
exit $status
"""


class Postfix:
    """A private Postfix, which needs root.

    `submission_port` requires STARTTLS, then sign-in; `smtps_port` is implicit TLS and requires sign-in;
    `relay_port` is plain text without sign-in.
    """

    def __init__(
        self,
        directory: Path,
        certificate: Certificate,
        *,
        mail_directory: Path,
        auth_socket: Path,
        domains: Iterable[str],
        max_bytes: int,
    ) -> None:
        self._directory = directory
        self.submission_port, self.smtps_port, self.relay_port = free_ports(3)
        self._child = Child(
            "postfix",
            ["sh", "-c", KEEPER, "sh", "/usr/lib/postfix/sbin/master", "-d", "-c", str(directory)],
            log=directory / "postfix.log",
            cwd=directory,
            # POSTLOG_SERVICE: events before the log service starts go straight to the log file.
            env={"MAIL_CONFIG": str(directory), "POSTLOG_SERVICE": "postlog"},
        )
        create_queue(directory)
        (directory / "main.cf").write_text(
            _MAIN.format(
                directory=directory,
                hostname="localhost",
                certificate=certificate,
                mail_directory=mail_directory,
                auth_socket=auth_socket,
                domains=", ".join(sorted(domains)),
                max_bytes=max_bytes,
                uid=MAIL_UID,
            )
        )
        (directory / "master.cf").write_text(
            _MASTER.format(
                signed_in=_SIGNED_IN,
                submission_port=self.submission_port,
                smtps_port=self.smtps_port,
                relay_port=self.relay_port,
            )
        )

    async def start(self) -> None:
        """Start, or restart with the same queue, tables and ports. The tables must exist."""
        # The master of Postfix 3.10 exits without a log entry if master.cf is broken.
        await run(["postconf", "-c", str(self._directory), "-M"])
        await self._child.start(self._is_ready)

    async def _is_ready(self) -> bool:
        return await greets(self.relay_port, b"220 ")

    async def stop(self) -> None:
        """Stop; queued letters stay."""
        await self._child.stop()

    def suspend(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        self._child.suspend()

    def resume(self) -> None:
        """Resume after `suspend`."""
        self._child.resume()

    def log_tail(self) -> str:
        """The last lines of the mail log."""
        return self._child.log_tail()

    async def write_tables(self, mailboxes: Iterable[Mailbox], verdicts: Mapping[str, str]) -> None:
        """Replace the tables. New connections use the new ones; an open one may keep the old."""
        known = list(mailboxes)
        tables = {
            "mailboxes": {mailbox.address: f"{mailbox.file_name}/" for mailbox in known},
            "owners": {mailbox.address: mailbox.address for mailbox in known},
            "verdicts": verdicts,
        }
        for name, rows in tables.items():
            text = "".join(f"{key.lower()} {value}\n" for key, value in rows.items())
            (self._directory / f"{name}.new").write_text(text)
        new = [f"hash:{self._directory / name}.new" for name in tables]
        await run(["postmap", "-c", str(self._directory), *new])
        for name in tables:
            # A server process exits before its next client if the file it has open was unlinked. An in-place rewrite
            # could go unnoticed: Postfix then compares times in whole seconds.
            (self._directory / f"{name}.new.db").rename(self._directory / f"{name}.db")
            (self._directory / f"{name}.new").rename(self._directory / name)


def create_queue(directory: Path) -> None:
    """Create the directories that Postfix's package creates in /var, with the same owners and modes."""
    queue = directory / "queue"
    private = [
        "active",
        "bounce",
        "corrupt",
        "defer",
        "deferred",
        "flush",
        "hold",
        "incoming",
        "private",
        "saved",
        "trace",
    ]
    for name, mode in {**dict.fromkeys(private, 0o700), "public": 0o710, "maildrop": 0o730}.items():
        path = queue / name
        path.mkdir(parents=True)
        path.chmod(mode)
        shutil.chown(path, "postfix", "root" if mode == 0o700 else "postdrop")
    (queue / "pid").mkdir()
    data = directory / "data"
    data.mkdir()
    data.chmod(0o700)
    shutil.chown(data, "postfix", "postfix")
    directory.chmod(0o755)
