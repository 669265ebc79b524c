"""Macros in SPF records (RFC 7208 section 7)."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import quote

from worker.domain.hosts import IpAddress

_MACRO = re.compile(r"%\{([A-Za-z])(\d{0,3})([rR]?)([-.+,/_=]{0,16})\}|%([%_-])")
_LITERALS = {"%": "%", "_": " ", "-": "%20"}
_MAX_NAME_CHARS = 253
MAX_SPEC_CHARS = 1_000
"""Maximum length of a domain-spec as written: a macro expands to at least a tenth of its own length."""


@dataclass(frozen=True, slots=True)
class Sending:
    """The sender and its address: `sender` is the whole MAIL FROM, `helo` the name given in EHLO."""

    address: IpAddress
    sender: str
    helo: str


def expand(text: str, domain: str, sending: Sending) -> str:
    """Expand a domain-spec; a name that is too long is cut from the left (section 7.3).

    Expands from the right end and stops at the name's maximum length: one macro can expand to hundreds of characters.
    """
    pieces: list[str] = []
    length = 0
    for piece in reversed(_pieces(text)):
        pieces.append(piece if isinstance(piece, str) else _expanded(piece, domain, sending))
        length += len(pieces[-1])
        if length > _MAX_NAME_CHARS + 1:  # plus a trailing dot
            break
    name = "".join(reversed(pieces)).rstrip(".")
    if len(name) <= _MAX_NAME_CHARS:
        return name
    dot = name.find(".", len(name) - _MAX_NAME_CHARS - 1)
    return name[dot + 1 :] if dot >= 0 else name


def _pieces(text: str) -> list[str | re.Match[str]]:
    """Alternating literals and macros; only the last ones of a text longer than any record (`MAX_SPEC_CHARS`)."""
    text = text[-MAX_SPEC_CHARS:]
    pieces: list[str | re.Match[str]] = []
    position = 0
    for macro in _MACRO.finditer(text):
        pieces += (text[position : macro.start()], macro)
        position = macro.end()
    return [*pieces, text[position:]]


def _expanded(macro: re.Match[str], domain: str, sending: Sending) -> str:
    if macro[5]:
        return _LITERALS[macro[5]]
    value = _value(macro[1], domain, sending)
    return _transformed(value, macro[2], macro[3], macro[4], macro[1].isupper())


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
            # `p`, the validated host name, is discouraged; a server that cannot determine it uses this.
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
