"""The egress policy over all addresses, and its parsers over any text."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from hypothesis import given
from hypothesis import strategies as st

from worker.domain.egress import SMTP_PORTS, AllowRule, EgressPolicy, parse_allowlist, special_range
from worker.domain.hosts import parse_host

# Where the policy is stricter than `ipaddress`, which calls these global.
STRICTER: list[IPv4Network | IPv6Network] = [
    IPv4Network("100.64.0.0/10"),
    IPv4Network("34.126.0.0/18"),
    IPv4Network("161.26.0.0/16"),
    IPv4Network("166.8.0.0/14"),
    IPv4Network("168.63.129.16/32"),
    IPv4Network("183.60.82.98/32"),
    IPv4Network("183.60.83.19/32"),
    IPv4Network("192.80.8.124/32"),
    IPv4Network("199.36.153.4/30"),
    IPv4Network("199.36.153.8/30"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.31.196.0/24"),
    IPv4Network("192.52.193.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("192.175.48.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("2001:4860:8040::/42"),
    IPv6Network("2600:2d00:2:1000::/56"),
    IPv6Network("2600:2d00:2:2000::/56"),
    IPv6Network("2002::/16"),
    IPv6Network("2620:4f:8000::/48"),
    IPv6Network("3fff::/20"),
]
NAT64 = IPv6Network("64:ff9b::/96")

edges = st.sampled_from([bound for net in STRICTER for bound in (net[0], net[-1])]).flatmap(
    lambda address: st.sampled_from([-1, 0, 1]).map(lambda step: type(address)(int(address) + step))
)
embedded = st.tuples(st.sampled_from(["::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::"]), st.ip_addresses(v=4)).map(
    lambda pair: IPv6Address(int(IPv6Address(pair[0])) | int(pair[1]))
)
six_to_four = st.ip_addresses(v=4).map(lambda v4: IPv6Address((0x2002 << 112) | (int(v4) << 80) | 1))
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), edges, embedded, six_to_four)


def is_ordinary(address: IPv4Address | IPv6Address) -> bool:
    """The standard library's opinion, all of its flags together.

    It changed about addresses that hold one of IPv4: since Python 3.13 they are as global as that one.
    """
    if isinstance(address, IPv6Address) and (
        address.is_site_local or address.ipv4_mapped is not None or not address.is_global
    ):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_link_local or address.is_loopback
    )


@given(addresses)
def test_an_address_is_allowed_if_and_only_if_it_is_ordinary_and_in_no_stricter_range(
    address: IPv4Address | IPv6Address,
) -> None:
    if isinstance(address, IPv6Address) and address in NAT64:
        address = IPv4Address(int(address) & 0xFFFF_FFFF)
    expected = is_ordinary(address) and not any(address in network for network in STRICTER)
    assert (special_range(address) is None) is expected


@given(addresses, st.integers(0, 65_535))
def test_the_policy_is_the_range_and_the_port(address: IPv4Address | IPv6Address, port: int) -> None:
    allowed = EgressPolicy().refusal(address, port, SMTP_PORTS) is None
    assert allowed is (special_range(address) is None and port in SMTP_PORTS)


@given(addresses, st.integers(1, 65_535))
def test_a_rule_for_one_address_allows_that_address_only(address: IPv4Address | IPv6Address, port: int) -> None:
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    policy = EgressPolicy(parse_allowlist(text))
    assert policy.refusal(address, port, frozenset()) is None
    assert policy.refusal(type(address)(int(address) ^ 1), port, frozenset()) is not None


@given(st.text(alphabet=st.sampled_from("0123456789abcdefx.:/[]+%, \t٢"), max_size=60))
def test_any_text_is_rules_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert all(isinstance(rule, AllowRule) for rule in parse_allowlist(text))


@given(st.one_of(st.text(max_size=80), st.text(alphabet="0123456789xabcdef.:%[]。１", max_size=30)))
def test_any_host_is_an_address_or_a_plain_name_or_a_value_error(text: str) -> None:
    """What comes out as a name is nothing that a resolver takes for an address."""
    with suppress(ValueError):
        host = parse_host(text)
        if isinstance(host, str):
            assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
            last = host.rpartition(".")[2]
            assert not last.isdigit()
            assert not last.startswith("0x") or not set(last[2:]) <= set("0123456789abcdef")
            assert parse_host(host) == host


@given(addresses)
def test_a_canonical_address_is_itself(address: IPv4Address | IPv6Address) -> None:
    assert parse_host(str(address)) == ip_address(str(address))
