"""Names that have a meaning inside a network only.

A customer may write any name into a mailbox, and must not learn what the operator's cluster calls its services: for
these names the worker gives the same answer whether they exist or not.
"""

from collections.abc import Collection
from typing import Final

from worker.domain.hosts import parse_host

INTERNAL_ZONES: Final = frozenset(
    {
        # Special-use domain names (IANA's registry: RFC 6761, 6762, 7686, 8375, 9476). `.arpa` as a whole: reverse
        # zones, `home.arpa`, `ipv4only.arpa`, `resolver.arpa`. `.example` and `.test` are left out: documentation and
        # tests use them for names on the public internet.
        "alt",
        "arpa",
        "invalid",
        "local",  # also covers `cluster.local` of Kubernetes
        "localhost",
        "onion",
        # Reserved by ICANN for private use (2024), or never to be delegated because private networks use them.
        "corp",
        "home",
        "internal",  # `ec2.internal`, `compute.internal`, `google.internal`, `docker.internal`
        "mail",
        # RFC 6762 appendix G, and names that routers and clouds assign by DHCP.
        "domain",
        "intranet",
        "lan",
        "localdomain",
        "novalocal",
        "openstacklocal",
        "private",
        # Names that container networks and service registries use.
        "consul",
        "docker",
        "kube",
        "nomad",
        "svc",
        "swarm",
        "internal.cloudapp.net",  # names of Azure's machines among themselves
    }
)


def is_internal_name(name: str, more_zones: Collection[str] = ()) -> bool:
    """True for a name without a dot, and for one in an internal zone or in one of `more_zones`.

    `name` is in lower-case ASCII and without a trailing dot, as `parse_host` returns it.
    """
    labels = name.split(".")
    if len(labels) == 1:
        return True
    zones = (".".join(labels[first:]) for first in range(len(labels)))
    return any(zone in INTERNAL_ZONES or zone in more_zones for zone in zones)


def is_localhost(name: str) -> bool:
    """True for the names that mean this host by definition, whatever a name server says (RFC 6761 section 6.3)."""
    return name == "localhost" or name.endswith(".localhost")


def parse_zones(text: str) -> frozenset[str]:
    """Zones from text such as `corp.example, office.example`; empty text has none.

    Raises:
        ValueError: names the entry.
    """
    return frozenset(_parse_zone(entry.strip()) for entry in text.split(",")) if text.strip() else frozenset()


def _parse_zone(entry: str) -> str:
    try:
        zone = parse_host(entry.removeprefix("."))
    except ValueError:
        zone = None
    if not isinstance(zone, str):
        raise ValueError(f"{entry!r} is not the name of a zone")
    return zone
