"""DNS look-ups for mailbox checks: mail exchangers, addresses, text records."""

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from dns.rdata import Rdata

from worker.adapters.network.dns_answers import WeighingBackend
from worker.domain.hosts import parse_host
from worker.domain.internal_names import is_internal_name
from worker.domain.probe import Lookup, LookupOutcome, RecordType

ANSWER_S = 5.0
_MAX_RECORDS = 100
_NO_NAME = Lookup(LookupOutcome.NO_NAME)
_FAILED = Lookup(LookupOutcome.FAILED)


class DnsLookups:
    """Queries the system's resolvers, or the one at `server` (`ADDRESS` or `ADDRESS:PORT`, `[ADDRESS]:PORT` for IPv6).

    Internal names are never queried, and are reported as missing: a customer's domain or SPF record may name any.

    Args:
        internal_zones: further zones of the operator's own networks.

    Raises:
        ValueError: `server` is not an address.
    """

    def __init__(self, server: str | None = None, internal_zones: frozenset[str] = frozenset()) -> None:
        self._internal_zones = internal_zones
        self._resolver = _resolver_at(server) if server else _system_resolver()
        self._backend = WeighingBackend()

    async def ask(self, name: str, kind: RecordType) -> Lookup:
        """The name's records of that kind, within some seconds. Failures are part of the answer."""
        if self._resolver is None:
            return _FAILED
        try:
            # Absolute: a name in a customer's record must not be searched in the operator's own domain.
            absolute = dns.name.from_text(name.rstrip(".") + ".")
            if self._is_hidden(absolute, kind):
                return _NO_NAME
            answer = await self._resolver.resolve(
                absolute, kind.value, search=False, raise_on_no_answer=False, backend=self._backend
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.YXDOMAIN):
            return _NO_NAME
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape, UnicodeError):
            return _NO_NAME  # no zone can have such a name
        except (dns.exception.DNSException, OSError, EOFError):
            return _FAILED
        if self._is_hidden(answer.canonical_name, kind):  # a public name may be an alias of an internal one
            return _NO_NAME
        if answer.rrset is None:
            return Lookup(LookupOutcome.NO_RECORDS)
        return Lookup(LookupOutcome.FOUND, tuple(_text(record, kind) for record in list(answer)[:_MAX_RECORDS]))

    def _is_hidden(self, name: dns.name.Name, kind: RecordType) -> bool:
        """True for an internal name, in its parsed form: `LOCAL`, `ｌｏｃａｌ` and `\\108ocal` are `local`."""
        if kind is RecordType.PTR:  # of the SMTP server's own addresses, which were vetted
            return False
        return is_internal_name(name.canonicalize().to_text(omit_final_dot=True), self._internal_zones)


def _system_resolver() -> dns.asyncresolver.Resolver | None:
    try:
        resolver = dns.asyncresolver.Resolver()
    except (dns.resolver.NoResolverConfiguration, OSError):  # a container without /etc/resolv.conf
        return None
    return _bounded(resolver)


def _resolver_at(server: str) -> dns.asyncresolver.Resolver:
    host, port = _address(server)
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [host]
    resolver.port = port
    return _bounded(resolver)


def _bounded(resolver: dns.asyncresolver.Resolver) -> dns.asyncresolver.Resolver:
    resolver.lifetime = ANSWER_S
    resolver.timeout = ANSWER_S / 2
    return resolver


def _address(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]") or (server.count(":") > 1 and not server.startswith("[")):
        host, port = server, "53"
    address = parse_host(host)
    if isinstance(address, str):
        raise ValueError("the DNS server is given by its address, not by a name")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535):
        raise ValueError("the DNS server's port is a number from 1 to 65535")
    return str(address), int(port)


def _text(record: Rdata, kind: RecordType) -> str:
    if kind is RecordType.TXT:  # one record may be cut into strings; they are joined without anything between them
        return b"".join(record.strings).decode("utf-8", "replace")  # type: ignore[attr-defined]  # of TXT's class
    return record.to_text()
