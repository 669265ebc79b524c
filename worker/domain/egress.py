"""Where the worker may connect to: a decision about one address and port, without any lookup.

Refuses everything but ordinary public unicast. The tables follow the IANA special-purpose registries (RFC 6890 and its
successors) rather than `ipaddress.is_global`, whose answers differ between Python releases and which lets multicast and
translated forms through.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from worker.domain.hosts import IpAddress
from worker.domain.internal_names import is_internal_name

SMTP_PORTS = frozenset({25, 465, 587, 2525})
IMAP_PORTS = frozenset({143, 993})
HTTPS_PORTS = frozenset({443})
HTTP_PORTS = frozenset({80})

_SPECIAL_V4 = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.100.100.200/32", "cloud metadata"),  # Alibaba Cloud
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        # Public addresses that only a cloud's own guests reach, as each provider documents them.
        ("34.126.0.0/18", "cloud service"),  # Google: Private Google Access
        ("161.26.0.0/16", "cloud service"),  # IBM: resolvers, mirrors, clocks of its VPCs
        ("166.8.0.0/14", "cloud service"),  # IBM: private endpoints of its services
        ("168.63.129.16/32", "cloud metadata"),  # Azure's wire server
        ("183.60.82.98/32", "cloud service"),  # Tencent: resolver of its machines
        ("183.60.83.19/32", "cloud service"),  # Tencent: the other one
        ("192.80.8.124/32", "cloud metadata"),  # Equinix Metal
        ("199.36.153.4/30", "cloud service"),  # Google: restricted.googleapis.com
        ("199.36.153.8/30", "cloud service"),  # Google: private.googleapis.com
        ("169.254.0.0/16", "link-local"),  # the metadata service of most clouds
        ("172.16.0.0/12", "private"),
        ("192.0.0.192/32", "cloud metadata"),  # Oracle Cloud
        ("192.0.0.0/24", "protocol assignment"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT relay"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_SPECIAL_V6 = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::1/128", "loopback"),
        ("::/128", "unspecified"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b:1::/48", "local translation"),
        ("100::/64", "discard-only"),
        ("2001::/32", "Teredo"),
        ("2001:2::/48", "benchmarking"),
        ("2001:db8::/32", "documentation"),
        ("2001::/23", "protocol assignment"),
        ("2002::/16", "6to4"),
        ("2001:4860:8040::/42", "cloud service"),  # Google: Private Google Access
        ("2600:2d00:2:1000::/56", "cloud service"),  # Google: restricted.googleapis.com
        ("2600:2d00:2:2000::/56", "cloud service"),  # Google: private.googleapis.com
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
        ("fd00:42::42/128", "cloud metadata"),  # Scaleway
        ("fd00:100::100:200/128", "cloud metadata"),  # Alibaba Cloud
        ("fd00:a9fe:a9fe::1/128", "cloud metadata"),  # Akamai (Linode)
        ("fd00:c1::a9fe:a9fe/128", "cloud metadata"),  # Oracle Cloud
        ("fd00:ec2::/32", "cloud metadata"),  # AWS: the metadata service, its resolver and its clock
        ("fd20:ce::254/128", "cloud metadata"),  # Google Cloud
        ("fc00::/7", "unique-local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
# Ranges where an operator's own services may be; never metadata services, which no worker setting refers to.
_OPERATORS_KINDS = frozenset({"private", "loopback", "unique-local", "carrier-grade NAT", "cloud service"})
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
# An IPv6-only network reaches IPv4 hosts by this prefix (RFC 6052), so the embedded address decides.
_NAT64 = IPv6Network("64:ff9b::/96")


def special_range(address: IpAddress) -> str | None:
    """The kind of special range that contains the address, in words; None for an ordinary public address."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return special_range(_forms(address)[1])
        for network, kind in _SPECIAL_V6:
            if address in network:
                return kind
        return None if address in _GLOBAL_UNICAST_V6 else "reserved"
    for network_v4, kind in _SPECIAL_V4:
        if address in network_v4:
            return kind
    return None


def _forms(address: IpAddress) -> tuple[IpAddress, ...]:
    """The address, and the IPv4 address that it represents on an IPv6-only network."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return address, IPv4Address(int(address) & 0xFFFF_FFFF)
    return (address,)


@dataclass(frozen=True, slots=True)
class AllowRule:
    """Addresses that the operator allows or denies, and on which ports; no ports: on all."""

    network: IPv4Network | IPv6Network
    ports: frozenset[int] = frozenset()

    def covers(self, address: IpAddress, port: int) -> bool:
        """True when the rule covers the address, in the form it has here, and the port."""
        return address in self.network and (not self.ports or port in self.ports)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The rules for special ranges, ports and internal names, and the operator's additions.

    `allowed` adds to the permitted addresses and takes precedence over `denied`, which adds to the refused ones;
    `internal_zones` adds to the internal names. `is_operators`: for hosts that the operator's own settings name, which
    may be in private networks, on any port, and under names that only the operator's network knows.
    """

    allowed: tuple[AllowRule, ...] = ()
    is_operators: bool = False
    denied: tuple[AllowRule, ...] = ()
    internal_zones: frozenset[str] = frozenset()

    def hides(self, name: str) -> bool:
        """True for a name whose existence must not be disclosed."""
        return not self.is_operators and is_internal_name(name, self.internal_zones)

    def refusal(self, address: IpAddress, port: int, usual_ports: frozenset[int]) -> str | None:
        """Why this address and port are refused, in words; None when they are permitted.

        The text does not name the address: it ends up in results that customers read, who must not learn what a name of
        the operator's own network resolves to.
        """
        if any(rule.covers(address, port) for rule in self.allowed):
            return None
        if any(rule.covers(form, port) for rule in self.denied for form in _forms(address)):
            return "the operator refuses the address"
        kind = special_range(address)
        if self.is_operators and (kind is None or kind in _OPERATORS_KINDS):
            return None
        if kind is not None:
            return f"the address is special ({kind})"
        if port not in usual_ports:
            return f"port {port} is not one of {', '.join(map(str, sorted(usual_ports)))}"
        return None


def parse_allowlist(text: str) -> tuple[AllowRule, ...]:
    """Rules from text such as `127.0.0.0/8, 10.1.2.0/24:25+587, [fd00::/8]:465`; empty text has none.

    Ports of an IPv6 network need the square brackets. A network of every address, `0.0.0.0/0:2526`, includes the
    private ones.

    Raises:
        ValueError: names the entry and what is wrong with it.
    """
    if not text.strip():
        return ()
    return tuple(_parse_rule(entry.strip()) for entry in text.split(","))


def _parse_rule(entry: str) -> AllowRule:
    if not entry:
        raise ValueError("an entry is empty: is there a comma too many?")
    network, has_ports, ports = _split_ports(entry)
    try:
        return AllowRule(ip_network(network), _parse_ports(ports) if has_ports else frozenset())
    except ValueError as error:
        raise ValueError(f"{entry!r}: {error}") from None


def _split_ports(entry: str) -> tuple[str, bool, str]:
    if entry.startswith("["):
        network, bracket, rest = entry[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{entry!r}: expected [network]:ports")
        return network, bool(rest), rest[1:]
    if entry.count(":") > 1:
        return entry, False, ""
    network, colon, ports = entry.partition(":")
    return network, bool(colon), ports


def _parse_ports(text: str) -> frozenset[int]:
    return frozenset(_parse_port(port) for port in text.split("+"))


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        raise ValueError(f"{text!r} is not a port from 1 to 65535")
    return int(text)
