"""Macros in SPF records (RFC 7208 section 7)."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import quote

from worker.domain.hosts import IpAddress

_MACRO = re.compile(r"%\{([A-Za-z])(\d*)([rR]?)([-.+,/_=]*)\}|%([%_-])")
_LITERALS = {"%": "%", "_": " ", "-": "%20"}
_MAX_NAME_CHARS = 253


@dataclass(frozen=True, slots=True)
class Sending:
    """Who sends, from which address: `sender` is the whole MAIL FROM, `helo` the name given in EHLO."""

    address: IpAddress
    sender: str
    helo: str


def expand(text: str, domain: str, sending: Sending) -> str:
    """The name that a domain-spec stands for; cut from the left where it would be too long (section 7.3)."""

    def value(match: re.Match[str]) -> str:
        if match[5]:
            return _LITERALS[match[5]]
        return _transformed(_value(match[1], domain, sending), match[2], match[3], match[4], match[1].isupper())

    name = _MACRO.sub(value, text).rstrip(".")
    while len(name) > _MAX_NAME_CHARS and "." in name:
        name = name.partition(".")[2]
    return name


def _value(letter: str, domain: str, sending: Sending) -> str:
    local, _, sender_domain = sending.sender.rpartition("@")
    match letter.lower():
        case "s":
            return sending.sender
        case "l":
            return local
        case "o":
            return sender_domain
        case "d":
            return domain
        case "i":
            return _dotted(sending.address)
        case "v":
            return "in-addr" if isinstance(sending.address, IPv4Address) else "ip6"
        case "h":
            return sending.helo
        case _:
            # `p`, the validated name of the host, is discouraged; a server that cannot tell it says this.
            return "unknown"


def _dotted(address: IpAddress) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return ".".join(address.exploded.replace(":", ""))


def _transformed(value: str, digits: str, reverse: str, delimiters: str, is_upper: bool) -> str:
    parts = re.split(f"[{re.escape(delimiters or '.')}]", value)
    if reverse:
        parts.reverse()
    if digits and int(digits) > 0:
        parts = parts[-int(digits) :]
    joined = ".".join(parts)
    return quote(joined, safe="") if is_upper else joined
