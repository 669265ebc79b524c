"""A mailbox of the private mail server."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Mailbox:
    """A mailbox that can sign in, send as its address, and receive.

    `sent_folder` names its Sent folder; `special_use` says whether that folder has \\Sent (RFC 6154). `prefix` starts
    all its folder names, such as `INBOX.` (RFC 2342); its last character separates levels.
    """

    address: str
    password: str
    sent_folder: str = "Sent"
    special_use: bool = True
    prefix: str = ""

    def __post_init__(self) -> None:
        if any(character in self.address + self.password for character in ":\n\r\0") or " " in self.address:
            raise ValueError(f"{self.address!r} or its password holds a character that a passwd file cannot hold")

    @property
    def domain(self) -> str:
        """The part of the address after the last @."""
        return self.address.rpartition("@")[2]

    @property
    def file_name(self) -> str:
        """A name for its files, safe for any address; Dovecot derives the same one itself."""
        return hashlib.sha256(self.address.encode()).hexdigest()
