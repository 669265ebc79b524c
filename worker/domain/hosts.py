"""Host names as customers write them, normalised to the one spelling that is looked up.

Resolvers disagree about what else may be an address: `2130706433`, `0177.0.0.1`, `0x7f.1` and `127.1` all are 127.0.0.1
to some. Here a host is a canonical address or a name, and nothing in between.
"""

import re
from ipaddress import IPv4Address, IPv6Address

import idna

IpAddress = IPv4Address | IPv6Address

# Underscores are not allowed in a host name (RFC 952), but container networks use them.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_WRITTEN_CHARS = 1_000  # before any processing: folding is quadratic in a run of combining marks
_MAX_NAME_CHARS = 253  # RFC 1035 section 2.3.4, as text


_LOCAL_DOMAINS = frozenset({"local", "localhost", "localdomain", "internal", "lan", "home", "intranet", "cluster"})


class NumericSpelling(ValueError):
    """An address in a notation that no mail user writes: decimal, octal, hexadecimal or shortened."""


def parse_host(text: str) -> IpAddress | str:
    """The address, or the name in lower-case ASCII (A-labels, RFC 5890) without the trailing dot.

    Removes square brackets around an IPv6 address. Folds full-width digits and dots (UTS 46) *before* checking
    anything, as resolvers fold them too.

    Raises:
        NumericSpelling: an address in a non-canonical notation.
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
    """The host as a certificate names it: as written, without the root's dot (RFC 6125 section 6.4)."""
    return host.removesuffix(".") or host


def is_domain(text: str) -> bool:
    """True for a fully-qualified name that other networks may know, as servers require in EHLO.

    False for a container's or host's short name, and for one in a local network's domain (RFC 6761, 6762, 8375).
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
