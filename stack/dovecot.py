"""Dovecot: IMAP to the mailboxes, and the password check for Postfix (SASL)."""

import os
from pathlib import Path

from stack.authority import Certificate
from stack.mailbox import Mailbox
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child

MAIL_UID = 8  # Debian's user "mail", the same on every machine; it owns all the letters

_CONFIGURATION = """\
protocols = imap
listen = 127.0.0.1
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
# Fields in a passwd file end at a space; a folder name gets its spaces from this variable instead.
import_environment = SPACE
ssl = yes
ssl_cert = <{certificate.chain}
ssl_key = <{certificate.key}
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2
auth_username_chars =
auth_failure_delay = 0
first_valid_uid = {uid}
first_valid_gid = {uid}
mail_location = maildir:~/
mail_max_userip_connections = 1000
# Asks whoever listens on this port whose access token it is (RFC 7662).
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {directory}/oauth2.conf
}}
# One file for each user: Dovecot looks whether one shared file has changed only once in a second.
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = username_format=%u {directory}/users/%{{sha256:user}}
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {directory}/users/%{{sha256:user}}
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    auto = subscribe
  }}
  mailbox Drafts {{
    auto = subscribe
    special_use = \\Drafts
  }}
  mailbox Trash {{
    auto = subscribe
    special_use = \\Trash
  }}
}}
service imap-login {{
  service_count = 0
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
  }}
}}
service imap {{
  process_limit = 4096
}}
service auth {{
  unix_listener {auth_socket} {{
    mode = 0666
  }}
}}
# No growing delay after wrong passwords: tests send many.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""

_TOKENS = """\
introspection_mode = post
introspection_url = http://127.0.0.1:{introspection_port}/introspect
username_attribute = username
active_attribute = active
active_value = true
timeout_msecs = 5000
"""


class Dovecot:
    """A private Dovecot. Letters lie in Maildirs under `mail_directory`, one for each mailbox.

    Access tokens are good when a server on `introspection_port` says so (`token_server`); without one, none is.
    """

    def __init__(self, directory: Path, certificate: Certificate) -> None:
        self._directory = directory
        self._certificate = certificate
        self.mail_directory = directory / "mail"
        self.auth_socket = directory / "run" / "postfix-auth"
        self.imap_port, self.imaps_port, self.introspection_port = free_ports(3)
        self._child = Child(
            "dovecot",
            ["dovecot", "-F", "-c", str(directory / "dovecot.conf")],
            log=directory / "dovecot.log",
            cwd=directory,
            env={"SPACE": " "},
        )
        self._prepare()

    def _prepare(self) -> None:
        for name in ("run", "state", "users", "mail"):
            (self._directory / name).mkdir(parents=True)
        os.chown(self.mail_directory, MAIL_UID, MAIL_UID)
        (self._directory / "dovecot.conf").write_text(
            _CONFIGURATION.format(
                directory=self._directory,
                certificate=self._certificate,
                uid=MAIL_UID,
                imap_port=self.imap_port,
                imaps_port=self.imaps_port,
                auth_socket=self.auth_socket,
            )
        )

        tokens = _TOKENS.format(introspection_port=self.introspection_port)
        (self._directory / "oauth2.conf").write_text(tokens)

    async def start(self) -> None:
        """Start, or start again with the same letters, users and ports."""
        await self._child.start(self._is_ready)

    async def _is_ready(self) -> bool:
        return await greets(self.imap_port, b"* OK ")

    async def stop(self) -> None:
        """Stop; the letters stay."""
        await self._child.stop()

    def suspend(self) -> None:
        """Freeze: connections stay open and nothing answers."""
        self._child.suspend()

    def resume(self) -> None:
        """Go on after `suspend`."""
        self._child.resume()

    def add(self, mailbox: Mailbox) -> None:
        """Make a mailbox known, or change a known one; it can sign in at once."""
        home = self.mail_directory / mailbox.file_name
        home.mkdir(exist_ok=True)
        os.chown(home, MAIL_UID, MAIL_UID)
        sent = "userdb_namespace/inbox/mailbox/Sent"
        fields = [f"{sent}/name={mailbox.sent_folder.replace('%', '%%').replace(' ', '%{env:SPACE}')}"]
        if mailbox.special_use:
            fields.append(f"{sent}/special_use=\\Sent")
        identity = f"{mailbox.address}:{{PLAIN}}{mailbox.password}:{MAIL_UID}:{MAIL_UID}"
        written = self._directory / "users" / f"{mailbox.file_name}.new"
        written.write_text(f"{identity}::{home}::{' '.join(fields)}\n")
        written.rename(written.with_suffix(""))
