"""Host names as customers write them, brought to the one spelling that is looked up.

Every resolver has its own idea of what else may be an address: `2130706433`, `0177.0.0.1`, `0x7f.1` and `127.1` all
are 127.0.0.1 to some. Here a host is a canonical address or a name, and nothing in between.
"""

import re
from ipaddress import IPv4Address, IPv6Address

import idna

IpAddress = IPv4Address | IPv6Address

# Underscores are no part of a host name (RFC 952), but container networks have them.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_WRITTEN_CHARS = 1_000  # before any work is done on it: folding takes the square of a run of combining marks
_MAX_NAME_CHARS = 253  # RFC 1035 section 2.3.4, as text


_LOCAL_DOMAINS = frozenset({"local", "localhost", "localdomain", "internal", "lan", "home", "intranet", "cluster"})


class NumericSpelling(ValueError):
    """An address written as no mail user writes it: decimal, octal, hexadecimal or shortened."""


def parse_host(text: str) -> IpAddress | str:
    """The address, or the name in lower-case ASCII (A-labels, RFC 5890) without the trailing dot.

    Square brackets around an IPv6 address are taken off. Full-width digits and dots are folded (UTS 46) *before*
    anything is judged, as resolvers fold them too.

    Raises:
        NumericSpelling: an address in an odd spelling.
        ValueError: neither name nor address; the text does not repeat the input, which may be a pasted URL with
            a password in it.
    """
    if len(text) > _MAX_WRITTEN_CHARS:
        raise ValueError("the host is neither a name nor an address")
    folded = _fold(text)
    if ":" in folded or folded.startswith("["):
        return _ipv6(folded)
    name = folded.removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_NAME_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host is neither a name nor an address")
    return _ipv4(name) if _NUMBER.fullmatch(labels[-1]) else name


def certified_name(host: str) -> str:
    """The host as a certificate names it: as it was written, without the root's dot (RFC 6125 section 6.4)."""
    return host.removesuffix(".") or host


def is_domain(text: str) -> bool:
    """Whether it is a fully-qualified name that other networks may know, as servers want it in EHLO.

    A container's or host's short name is none, nor is one in a domain of a local network (RFC 6761, 6762, 8375).
    """
    try:
        name = parse_host(text)
    except ValueError:
        return False
    return isinstance(name, str) and "." in name and "_" not in name and name.rpartition(".")[2] not in _LOCAL_DOMAINS


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        folded = idna.uts46_remap(text, std3_rules=False, transitional=False)
        return folded if folded.isascii() else idna.encode(folded, uts46=True, transitional=False).decode().lower()
    except idna.IDNAError:
        raise ValueError("the host is not a valid internationalised name") from None


def _ipv4(name: str) -> IPv4Address:
    try:
        return IPv4Address(name)
    except ValueError:
        raise NumericSpelling("the host is a number; an address is written as four decimal numbers") from None


def _ipv6(text: str) -> IPv6Address:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = IPv6Address(bare)
    except ValueError:
        raise ValueError("the host is neither a name nor an address") from None
    if address.scope_id is not None:
        raise ValueError("an address with a zone is only good on one network link")
    return address
