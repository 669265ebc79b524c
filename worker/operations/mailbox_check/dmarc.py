"""DMARC (RFC 7489): the policy a domain publishes for letters that claim to come from it."""

import re
from asyncio import to_thread
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from publicsuffixlist import PublicSuffixList

from worker.domain.probe import LookupOutcome, RecordType
from worker.operations.mailbox_check.ports import NameServer

_POLICIES = ("none", "quarantine", "reject")
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")  # section 6.4: must come first, exactly like this


@dataclass(frozen=True, slots=True)
class DmarcPolicy:
    """A DMARC record: its domain, its policy, and how strictly SPF and DKIM domains must align (`r` or `s`)."""

    domain: str
    policy: str
    spf_alignment: str
    dkim_alignment: str

    @property
    def is_enforced(self) -> bool:
        """Whether the record asks receivers to act on letters that fail."""
        return self.policy != "none"


@dataclass(frozen=True, slots=True)
class NoDmarc:
    """No valid record; `why` says what is wrong with an invalid one, `is_unknown` means that DNS failed."""

    why: str = ""
    is_unknown: bool = False


async def find_dmarc(names: NameServer, domain: str) -> DmarcPolicy | NoDmarc:
    """The policy for letters from a domain: its own record, or else its organizational domain's (section 6.6.3)."""
    await to_thread(_suffixes)  # the first call takes 200 ms, too long for the event loop
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
        if "rua" not in tags:  # section 6.6.3: with a report address it counts as `none`
            return NoDmarc(f"_dmarc.{owner}: its policy (p) is none of {', '.join(_POLICIES)}")
        asked = "none"
    return DmarcPolicy(owner, asked, _alignment(tags.get("aspf")), _alignment(tags.get("adkim")))


def _tags(text: str) -> Mapping[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}


def _alignment(tag: str | None) -> str:
    return "s" if (tag or "").lower() == "s" else "r"


def is_aligned(signed: str, claimed: str, alignment: str) -> bool:
    """Whether a signature's domain aligns with the domain of the sender's address (section 3.1)."""
    signed, claimed = signed.lower().rstrip("."), claimed.lower()
    if signed == claimed:
        return True
    return alignment == "r" and organizational_domain(signed) == organizational_domain(claimed)


def organizational_domain(domain: str) -> str:
    """The registered domain, by the public suffix list (section 3.2); the domain itself if it is a suffix."""
    return _suffixes().privatesuffix(domain.lower()) or domain.lower()


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # loads the list bundled with the library: slow, but only once
