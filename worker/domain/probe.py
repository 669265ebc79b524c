"""What a visit to a mail server or a DNS query finds: facts, not yet judged."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.domain.hosts import IpAddress


@dataclass(frozen=True, slots=True)
class ResolvedHost:
    """A host's permitted addresses; never shown, since they may belong to the operator's own network."""

    addresses: tuple[IpAddress, ...]


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """A TLS connection whose certificate was verified: its version, such as `TLSv1.3`, and the certificate's expiry."""

    version: str
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class SmtpOffer:
    """A server's EHLO offer; extensions and sign-in mechanisms in lower case, without the server's words."""

    extensions: tuple[str, ...]
    mechanisms: tuple[str, ...]
    max_letter_bytes: int | None


@dataclass(frozen=True, slots=True)
class SentFolderFacts:
    """The Sent folder that was found: its display name, and what the worker may do there.

    `is_new`: the settings name it, and it was created just now. `may_append` None: the server does not say.
    `free_kib` None: the server reports no limit.
    """

    name: str
    is_new: bool = False
    may_append: bool | None = None
    free_kib: int | None = None


class RecordType(StrEnum):
    """Types of DNS records that a check queries."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    TXT = "TXT"
    PTR = "PTR"


class LookupOutcome(StrEnum):
    """The outcome of a DNS query."""

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
        """True when the answer contains no records (RFC 7208 section 4.6.4)."""
        return self.outcome in (LookupOutcome.NO_RECORDS, LookupOutcome.NO_NAME)


@dataclass(frozen=True, slots=True)
class SignatureName:
    """The claimed signer of a letter: the domain (`d=`) and the selector (`s=`) of a DKIM-Signature."""

    domain: str
    selector: str

    @property
    def record(self) -> str:
        """The name of the TXT record with the key (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """Whether a letter's signature is valid; `why` in our own words where it is not."""

    name: SignatureName
    is_valid: bool
    why: str = ""
