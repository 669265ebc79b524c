"""What a mailbox of the private mail server is."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Mailbox:
    """A mailbox that can sign in, send as its address and receive.

    `sent_folder` is the name of its Sent folder, `special_use` whether that folder carries \\Sent (RFC 6154). `prefix`:
    what all of its folders' names begin with, such as `INBOX.` (RFC 2342); its last character parts levels.
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
        """A name for its files, safe whatever the address holds; Dovecot works out the same by itself."""
        return hashlib.sha256(self.address.encode()).hexdigest()
