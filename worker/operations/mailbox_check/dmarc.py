"""DMARC (RFC 7489): which policy a domain publishes for letters that claim to be from it."""

import re
from asyncio import to_thread
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from publicsuffixlist import PublicSuffixList

from worker.domain.probe import LookupOutcome, RecordType
from worker.operations.mailbox_check.ports import NameServer

_POLICIES = ("none", "quarantine", "reject")
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")  # section 6.4: first, and exactly so


@dataclass(frozen=True, slots=True)
class DmarcPolicy:
    """A record: whose it is, what it asks for, and how closely the domains of SPF and DKIM must fit (`r` or `s`)."""

    domain: str
    policy: str
    spf_alignment: str
    dkim_alignment: str

    @property
    def is_enforced(self) -> bool:
        """Whether receivers are asked to do something about letters that fail."""
        return self.policy != "none"


@dataclass(frozen=True, slots=True)
class NoDmarc:
    """There is no record that counts; `why` says what is wrong with one that does not, `is_unknown` that DNS failed."""

    why: str = ""
    is_unknown: bool = False


async def find_dmarc(names: NameServer, domain: str) -> DmarcPolicy | NoDmarc:
    """The policy for letters from a domain: its own record, else that of its organizational domain (section 6.6.3)."""
    await to_thread(_suffixes)  # the first time it takes a fifth of a second, which the event loop does not have
    organizational = organizational_domain(domain)
    for owner in dict.fromkeys((domain, organizational)):
        answer = await names.ask(f"_dmarc.{owner}", RecordType.TXT)
        if answer.outcome is LookupOutcome.FAILED:
            return NoDmarc(f"DNS did not answer for _dmarc.{owner}", is_unknown=True)
        records = [text for text in answer.records if _VERSION.match(text)]
        if len(records) > 1:
            return NoDmarc(f"_dmarc.{owner} has {len(records)} DMARC records; one is allowed")
        if records:
            return _policy(records[0], owner, is_inherited=owner != domain)
    return NoDmarc()


def _policy(text: str, owner: str, *, is_inherited: bool) -> DmarcPolicy | NoDmarc:
    tags = _tags(text)
    asked = tags.get("p", "").lower()
    if is_inherited and tags.get("sp"):
        asked = tags["sp"].lower()
    if asked not in _POLICIES:
        if "rua" not in tags:  # section 6.6.3: with a place for reports it counts as `none`
            return NoDmarc(f"_dmarc.{owner}: its policy (p) is none of {', '.join(_POLICIES)}")
        asked = "none"
    return DmarcPolicy(owner, asked, _alignment(tags.get("aspf")), _alignment(tags.get("adkim")))


def _tags(text: str) -> Mapping[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}


def _alignment(tag: str | None) -> str:
    return "s" if (tag or "").lower() == "s" else "r"


def is_aligned(signed: str, claimed: str, alignment: str) -> bool:
    """Whether a signature's domain fits the domain of the sender's address (section 3.1)."""
    signed, claimed = signed.lower().rstrip("."), claimed.lower()
    if signed == claimed:
        return True
    return alignment == "r" and organizational_domain(signed) == organizational_domain(claimed)


def organizational_domain(domain: str) -> str:
    """The domain that somebody registered, by the list of public suffixes (section 3.2); itself if it is a suffix."""
    return _suffixes().privatesuffix(domain.lower()) or domain.lower()


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # reads the list that comes with the library: takes a moment, once
