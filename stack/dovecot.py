"""Dovecot: IMAP access to the mailboxes, and password checks for Postfix (SASL)."""

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stack.authority import Certificate
from stack.mailbox import Mailbox
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child, ServerError

MAIL_UID = 8  # Debian's user "mail", the same on every machine; it owns all letters

# Lines that both versions read alike.
_COMMON = """\
protocols = imap
listen = 127.0.0.1
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
ssl = yes
auth_mechanisms = plain login xoauth2
auth_username_chars =
auth_failure_delay = 0
first_valid_uid = {uid}
first_valid_gid = {uid}
mail_max_userip_connections = 1000
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
  {unlimited_requests}
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

# A space ends a passwd field, so a folder name gets its spaces from the variable SPACE.
# One file per user: Dovecot checks a shared file for changes only once a second.
# The server on the introspection port says whose an access token is (RFC 7662).
_VERSION_2_3 = """\
import_environment = SPACE
ssl_cert = <{certificate.chain}
ssl_key = <{certificate.key}
disable_plaintext_auth = no
mail_location = maildir:~/
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {directory}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = username_format=%u {directory}/users/%{{sha256:user}}
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {directory}/users/%{{sha256:user}}
}}
"""

_OAUTH2_2_3 = """\
introspection_mode = post
introspection_url = http://127.0.0.1:{introspection_port}/introspect
username_attribute = username
active_attribute = active
active_value = true
timeout_msecs = 5000
"""

_VERSION_2_4 = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
import_environment {{
  SPACE = %{{env:SPACE}}
}}
ssl_server_cert_file = {certificate.chain}
ssl_server_key_file = {certificate.key}
auth_allow_cleartext = yes
mail_driver = maildir
mail_path = ~/
oauth2 {{
  introspection_mode = post
  introspection_url = http://127.0.0.1:{introspection_port}/introspect
  username_attribute = username
  active_attribute = active
  active_value = true
  http_client_request_absolute_timeout = 5s
}}
passdb oauth2 {{
  mechanisms_filter = xoauth2
}}
passdb passwd-file {{
  mechanisms_filter = plain login
  passwd_file_path = {directory}/users/%{{user | sha256}}
}}
userdb passwd-file {{
  passwd_file_path = {directory}/users/%{{user | sha256}}
}}
"""


@dataclass(frozen=True)
class Language:
    """Syntax that differs between Dovecot versions."""

    before: str
    unlimited_requests: str
    oauth2_file: str = ""


_LANGUAGES = {
    (2, 3): Language(before=_VERSION_2_3, unlimited_requests="service_count = 0", oauth2_file=_OAUTH2_2_3),
    (2, 4): Language(before=_VERSION_2_4, unlimited_requests="restart_request_count = unlimited"),
}


@cache
def _language() -> Language:
    """The syntax of the installed Dovecot. Raises ServerError for an unsupported version."""
    printed = subprocess.run(["dovecot", "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = (int(number) for number in printed.split(".")[:2])
    if language := _LANGUAGES.get((major, minor)):
        return language
    raise ServerError(f"Dovecot {printed.strip()}: the configuration is written for 2.3 and 2.4")


class Dovecot:
    """A private Dovecot. Letters are stored in Maildirs under `mail_directory`, one per mailbox.

    Access tokens are valid if a server on `introspection_port` says so (`token_server`); without one, none is.
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
        language = _language()
        (self._directory / "dovecot.conf").write_text(
            (language.before + _COMMON).format(
                directory=self._directory,
                certificate=self._certificate,
                uid=MAIL_UID,
                imap_port=self.imap_port,
                imaps_port=self.imaps_port,
                introspection_port=self.introspection_port,
                auth_socket=self.auth_socket,
                unlimited_requests=language.unlimited_requests,
            )
        )
        if language.oauth2_file:
            tokens = language.oauth2_file.format(introspection_port=self.introspection_port)
            (self._directory / "oauth2.conf").write_text(tokens)

    async def start(self) -> None:
        """Start, or restart with the same letters, users and ports."""
        await self._child.start(self._is_ready)

    async def _is_ready(self) -> bool:
        return await greets(self.imap_port, b"* OK ")

    async def stop(self) -> None:
        """Stop; the letters stay."""
        await self._child.stop()

    def suspend(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        self._child.suspend()

    def resume(self) -> None:
        """Resume after `suspend`."""
        self._child.resume()

    def add(self, mailbox: Mailbox) -> None:
        """Add or change a mailbox; it can sign in at once."""
        home = self.mail_directory / mailbox.file_name
        home.mkdir(exist_ok=True)
        os.chown(home, MAIL_UID, MAIL_UID)
        sent = "userdb_namespace/inbox/mailbox/Sent"
        fields = [f"{sent}/name={mailbox.sent_folder.replace('%', '%%').replace(' ', '%{env:SPACE}')}"]
        if mailbox.prefix:
            inbox = "userdb_namespace/inbox"
            fields += [f"{inbox}/prefix={mailbox.prefix}", f"{inbox}/separator={mailbox.prefix[-1]}"]
        if mailbox.special_use:
            fields.append(f"{sent}/special_use=\\Sent")
        identity = f"{mailbox.address}:{{PLAIN}}{mailbox.password}:{MAIL_UID}:{MAIL_UID}"
        written = self._directory / "users" / f"{mailbox.file_name}.new"
        written.write_text(f"{identity}::{home}::{' '.join(fields)}\n")
        written.rename(written.with_suffix(""))
