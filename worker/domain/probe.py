"""What a visit to a mail server or a question to DNS finds out: facts, before anybody judges them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.domain.hosts import IpAddress


@dataclass(frozen=True, slots=True)
class ResolvedHost:
    """The addresses of a host that may be connected to; shown to nobody, they may be of the operator's own network."""

    addresses: tuple[IpAddress, ...]


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """A TLS connection whose certificate was verified: version such as `TLSv1.3`, and until when it is valid."""

    version: str
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class SmtpOffer:
    """What a server's EHLO reply named; extensions and sign-in mechanisms in lower case, without the server's words."""

    extensions: tuple[str, ...]
    mechanisms: tuple[str, ...]
    max_letter_bytes: int | None


@dataclass(frozen=True, slots=True)
class SentFolderFacts:
    """The Sent folder that was found: its name for people, and what may be done there.

    `is_new`: the settings name it, and it was made just now. `may_append` None: the server does not say.
    `free_kib` None: the server tells of no limit.
    """

    name: str
    is_new: bool = False
    may_append: bool | None = None
    free_kib: int | None = None


class RecordType(StrEnum):
    """Types of DNS records that a check asks for."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    TXT = "TXT"
    PTR = "PTR"


class LookupOutcome(StrEnum):
    """What a question to DNS came to."""

    FOUND = "found"
    NO_RECORDS = "no_records"
    NO_NAME = "no_name"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Lookup:
    """An answer from DNS. Records as text: addresses, names, `10 mx.example.net`, a TXT record's strings joined."""

    outcome: LookupOutcome
    records: tuple[str, ...] = ()

    @property
    def is_void(self) -> bool:
        """There was an answer, and nothing in it (RFC 7208 section 4.6.4)."""
        return self.outcome in (LookupOutcome.NO_RECORDS, LookupOutcome.NO_NAME)


@dataclass(frozen=True, slots=True)
class SignatureName:
    """Who says that they signed a letter: the domain (`d=`) and the selector (`s=`) of a DKIM-Signature."""

    domain: str
    selector: str

    @property
    def record(self) -> str:
        """The name of the TXT record with the key (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """Whether a letter's signature holds; `why` in our own words where it does not."""

    name: SignatureName
    is_valid: bool
    why: str = ""
