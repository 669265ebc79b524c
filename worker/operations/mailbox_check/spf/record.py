"""Parses an SPF record (RFC 7208 sections 4.6 and 12)."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from worker.operations.mailbox_check.spf.verdict import SpfResult

VERSION = "v=spf1"
_QUALIFIERS = {
    "+": SpfResult.PASS,
    "-": SpfResult.FAIL,
    "~": SpfResult.SOFTFAIL,
    "?": SpfResult.NEUTRAL,
}
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_DIRECTIVE = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9_.-]*)(.*)")
_CIDR = re.compile(r"(?P<spec>.*?)(?:/(?P<v4>0|[1-9]\d?))?(?://(?P<v6>0|[1-9]\d{0,2}))?")
# A macro string, or literal text without `%` (section 7.1); a term never contains white space.
_MACRO_STRING = re.compile(r"(?:%\{[slodiphcrtvSLODIPHCRTV]\d{0,3}[rR]?[-.+,/_=]*\}|%%|%_|%-|[!-$&-~])+")
_LETTERS = re.compile(r"%\{([A-Za-z])")
_ONLY_IN_EXPLANATIONS = frozenset("crt")
_MAX_TERMS = 200
# Records should fit into a 512-byte datagram (section 3.4); those sent over TCP stay below this.
MAX_RECORD_CHARS = 4 * 1024


class SpfSyntaxError(Exception):
    """The record violates the grammar; the text names the term."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One directive: its result when it matches, and its arguments. `domain` is a macro string, or empty."""

    name: str
    result: SpfResult
    domain: str = ""
    prefix_v4: int = 32
    prefix_v6: int = 128
    network: IPv4Network | IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """The mechanisms in order, and the target of `redirect` if present."""

    mechanisms: tuple[Mechanism, ...]
    redirect: str | None = None


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (section 4.5)."""
    return text[: len(VERSION)].lower() == VERSION and text[len(VERSION) : len(VERSION) + 1] in ("", " ")


def parse_spf(text: str) -> SpfRecord:
    """Parse a record. Raises `SpfSyntaxError` for any syntax error anywhere in it (section 4.6)."""
    if len(text) > MAX_RECORD_CHARS:
        raise SpfSyntaxError(f"the record has {len(text)} characters")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, str] = {}
    terms = [term for term in text[len(VERSION) :].split(" ") if term]
    if len(terms) > _MAX_TERMS:
        raise SpfSyntaxError(f"the record has {len(terms)} terms")
    for term in terms:
        if modifier := _MODIFIER.fullmatch(term):
            _add_modifier(modifiers, modifier[1].lower(), modifier[2], term)
        else:
            mechanisms.append(_mechanism(term))
    return SpfRecord(tuple(mechanisms), modifiers.get("redirect"))


def _add_modifier(modifiers: dict[str, str], name: str, value: str, term: str) -> None:
    """Ignore unknown modifiers (section 6), which must still be well formed."""
    if name in ("redirect", "exp"):
        if name in modifiers:
            raise SpfSyntaxError(f"{name} stands twice")
        modifiers[name] = _domain(value, term)
    elif value and not _MACRO_STRING.fullmatch(value):
        raise SpfSyntaxError(f"{_shown(term)} is not well formed")


def _mechanism(term: str) -> Mechanism:
    match = _DIRECTIVE.fullmatch(term)
    if match is None:
        raise SpfSyntaxError(f"{_shown(term)} is no mechanism")
    result, name, rest = _QUALIFIERS[match[1] or "+"], match[2].lower(), match[3]
    match name:
        case "all" if not rest:
            return Mechanism(name, result)
        case "include" | "exists" if rest.startswith(":"):
            return Mechanism(name, result, _domain(rest[1:], term))
        case "ptr" if not rest or rest.startswith(":"):
            return Mechanism(name, result, _domain(rest[1:], term) if rest else "")
        case "a" | "mx":
            return _addressed(name, result, rest, term)
        case "ip4" | "ip6" if rest.startswith(":"):
            return Mechanism(name, result, network=_network(name, rest[1:], term))
    raise SpfSyntaxError(f"{_shown(term)} is no mechanism of SPF, or lacks what it needs")


def _addressed(name: str, result: SpfResult, rest: str, term: str) -> Mechanism:
    match = _CIDR.fullmatch(rest)
    v4, v6 = (int(match[kind] or default) for kind, default in (("v4", 32), ("v6", 128))) if match else (99, 999)
    spec = match["spec"] if match else ""
    if v4 > 32 or v6 > 128 or (spec and not spec.startswith(":")):
        raise SpfSyntaxError(f"{_shown(term)} is not well formed")
    return Mechanism(name, result, _domain(spec[1:], term) if spec else "", v4, v6)


def _network(name: str, text: str, term: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise SpfSyntaxError(f"{_shown(term)} has no address in it") from None
    if network.version != int(name[2]):
        raise SpfSyntaxError(f"{_shown(term)} has an address of the other kind in it")
    return network


def _domain(text: str, term: str) -> str:
    if not _MACRO_STRING.fullmatch(text):
        raise SpfSyntaxError(f"{_shown(term)} has no domain in it")
    if _ONLY_IN_EXPLANATIONS & {letter.lower() for letter in _LETTERS.findall(text)}:
        raise SpfSyntaxError(f"{_shown(term)} has a macro that is for explanations only")
    return text


def _shown(term: str) -> str:
    return repr(term[:60])
