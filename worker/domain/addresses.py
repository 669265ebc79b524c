"""Mail addresses: what is accepted from outside, and the wire form.

Accepts a dot-string or UTF-8 local part and a domain name (RFC 5321 section 4.1.2, RFC 6531). Refuses quoted local
parts and address literals: no mail user has one, and parsers disagree about them.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import idna
from pydantic import AfterValidator

# atext of RFC 5322 section 3.2.3 and dots. Dots may repeat or trail: some Japanese carriers issued such addresses.
_ASCII_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_MAX_LOCAL_BYTES = 64  # RFC 5321 section 4.5.3.1.1
_MAX_ADDRESS_BYTES = 254  # RFC 5321 section 4.5.3.1.3, less the angle brackets
_MAX_WRITTEN_CHARACTERS = 1_000  # before any work is done on it, and before it is cached


@dataclass(frozen=True, slots=True)
class Address:
    """An address split at its last `@`; `domain` is in ASCII (A-labels), lower case."""

    local: str
    domain: str

    @property
    def wire(self) -> str:
        """The form for the envelope and for headers: ASCII unless the local part itself is not."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """True when no ASCII form exists: only the domain can be converted, never the local part (RFC 6531)."""
        return not self.local.isascii()


@lru_cache(maxsize=8_192)  # a few megabytes; the recipients of a letter are parsed in several places
def parse_address(text: str) -> Address:
    """Split and check an address.

    Raises:
        ValueError: when this system does not send to or from such an address; the text says what is wrong.
    """
    if len(text) > _MAX_WRITTEN_CHARACTERS:
        raise ValueError(f"an address has at most {_MAX_ADDRESS_BYTES} bytes")
    local, at, domain = text.strip(" ").rpartition("@")
    if not at or not local:
        raise ValueError("an address has the form name@domain")
    _check_local(local)
    address = Address(local, _ascii_domain(domain))
    if len(address.wire.encode()) > _MAX_ADDRESS_BYTES:
        raise ValueError(f"an address has at most {_MAX_ADDRESS_BYTES} bytes")
    return address


def _check_local(local: str) -> None:
    ascii_part = "".join(character for character in local if character.isascii())
    if ascii_part and not _ASCII_LOCAL.fullmatch(ascii_part):
        raise ValueError("the part before the @ has a character that is not allowed there")
    # Lone surrogates, zero-width and bidirectional characters are not printable either: no two addresses look alike.
    if not all(c.isprintable() and not c.isspace() for c in local):
        raise ValueError("the part before the @ has a control or space character")
    if len(local.encode()) > _MAX_LOCAL_BYTES:
        raise ValueError(f"the part before the @ has at most {_MAX_LOCAL_BYTES} bytes")


def _ascii_domain(domain: str) -> str:
    if len(domain) > _MAX_ADDRESS_BYTES:  # IDNA spends time on each character
        raise ValueError("the domain is not valid")
    try:
        ascii_domain = idna.encode(domain, uts46=True, transitional=False).decode("ascii")
    except idna.IDNAError:  # its text repeats the domain, which would reach logs
        raise ValueError("the domain is not valid") from None
    ascii_domain = ascii_domain.rstrip(".").lower()
    if "." not in ascii_domain:
        raise ValueError("the domain has no dot in it")
    if ascii_domain.rpartition(".")[2].isdigit():
        raise ValueError("an IP address is no domain")  # RFC 3696 section 2: no top-level domain is all numeric
    return ascii_domain


def _checked(text: str) -> str:
    parse_address(text)
    return text.strip(" ")


EmailAddress = Annotated[str, AfterValidator(_checked)]
"""A model field that holds a checked address, as it was written."""


def as_written(value: object) -> str:
    """An address field that is not validated yet: an invalid one is kept so that it can be shown.

    Nothing is corrected silently: invisible characters become visible, and a value that is not text is no address.
    """
    if not isinstance(value, str):
        return ""
    if problem_of(value) is None:
        return value.strip(" ")
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value[:_MAX_ADDRESS_BYTES])
    return shown if len(value) <= _MAX_ADDRESS_BYTES else f"{shown} [cut]"


def problem_of(text: str) -> str | None:
    """What is wrong with an address; None when letters can be sent to it."""
    try:
        parse_address(text)
    except ValueError as error:
        return str(error)
    return None


def masked(text: str) -> str:
    """An address for logs: enough to recognise, too little to write to (`i***@acme.example`)."""
    local, at, domain = text.rpartition("@")
    return f"{local[:1]}***@{domain}" if at else "***"
