"""The network policy lets out what the worker needs, and nothing private: it agrees with the worker's egress guard."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.deploy.rendering import DEVELOPMENT, PRODUCTION, Resource, of_kind, only
from worker.domain.egress import HTTPS_PORTS, IMAP_PORTS, SMTP_PORTS, special_range

WORKERS = (DEVELOPMENT, PRODUCTION)
NAMES = {"sendas", "sendas-public", "sendas-broker", "sendas-database"}
MUST_NOT = (
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "::1", "fd00:ec2::254", "fe80::1", "ff02::1",
    "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "172.32.0.1", "192.167.255.255", "2a00:1450:4001::1")


def rules(overlay: str, name: str) -> list[Resource]:
    """The ways out that a policy opens."""
    found: list[Resource] = only(overlay, "NetworkPolicy", name)["spec"]["egress"]
    return found


def is_let_out(overlay: str, address: str) -> bool:
    """What a policy engine would say of a connection to this address, on one of the open ports."""
    [rule] = rules(overlay, "sendas-public")
    candidate = ip_address(address)
    for peer in rule["to"]:
        block = peer["ipBlock"]
        if candidate in ip_network(block["cidr"]) and not any(candidate in ip_network(e) for e in block["except"]):
            return True
    return False


def ports(overlay: str, name: str) -> Iterator[tuple[str, int]]:
    """Protocols and ports of all of a policy's ways out."""
    for rule in rules(overlay, name):
        assert rule["to"], "a rule without `to` lets everything out"
        for port in rule["ports"]:
            yield port["protocol"], port["port"]


@pytest.mark.parametrize("overlay", WORKERS)
def test_there_are_these_policies_and_no_others(overlay: str) -> None:
    """If a policy is added, then it is looked at here: policies can only ever add to what is open."""
    policies = of_kind(overlay, "NetworkPolicy")
    assert {policy["metadata"]["name"] for policy in policies} == NAMES
    assert all("Egress" in policy["spec"]["policyTypes"] for policy in policies)


@pytest.mark.parametrize("overlay", WORKERS)
@pytest.mark.parametrize("address", MUST_NOT)
def test_nothing_private_is_let_out(overlay: str, address: str) -> None:
    """If a customer names a host inside, a metadata service or a translated form of one, then nothing goes there."""
    assert not is_let_out(overlay, address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_hosts_are_let_out(address: str) -> None:
    """If a mail server is public, also right beside a private range, then it is reached."""
    assert is_let_out(PRODUCTION, address)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # a busy machine is no fault of the policy
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.ip_addresses(network="2000::/3")))
def test_policy_and_guard_agree(address: object) -> None:
    """If the worker's guard refuses an address, then so does the policy, and the other way round.

    NAT64 is the one difference: the guard looks at the address inside, a policy cannot, so it lets none out.
    """
    candidate = ip_address(str(address))
    if candidate.version == 6 and candidate in ip_network("64:ff9b::/96"):
        assert not is_let_out(PRODUCTION, str(candidate))
    else:
        assert is_let_out(PRODUCTION, str(candidate)) == (special_range(candidate) is None)


@pytest.mark.parametrize("overlay", WORKERS)
def test_mail_and_https_ports_are_open_and_no_others(overlay: str) -> None:
    """If the worker connects to a port as a matter of course, then the policy opens it, and nothing else."""
    wanted = {("TCP", port) for port in SMTP_PORTS | IMAP_PORTS | HTTPS_PORTS}
    assert set(ports(overlay, "sendas-public")) == wanted


@pytest.mark.parametrize("overlay", WORKERS)
def test_names_broker_and_database_are_reached(overlay: str) -> None:
    """If the worker looks a name up, or talks to broker or database, then only to their pods and ports."""
    assert set(ports(overlay, "sendas")) == {("UDP", 53), ("TCP", 53)}
    assert set(ports(overlay, "sendas-broker")) == {("TCP", 5671), ("TCP", 5672)}
    assert set(ports(overlay, "sendas-database")) == {("TCP", 5432)}
    for name in ("sendas", "sendas-broker", "sendas-database"):
        for rule in rules(overlay, name):
            assert all(peer["podSelector"]["matchLabels"] for peer in rule["to"])


@pytest.mark.parametrize("overlay", WORKERS)
def test_jobs_do_not_reach_the_internet(overlay: str) -> None:
    """If a Job runs, then it reaches names, broker and database only: just the worker's pods may go further."""
    for policy in of_kind(overlay, "NetworkPolicy"):
        labels = policy["spec"]["podSelector"]["matchLabels"]
        assert labels["app.kubernetes.io/name"] == "sendas"
        is_public = policy["metadata"]["name"] == "sendas-public"
        assert (labels.get("app.kubernetes.io/component") == "worker") is is_public


def test_production_names_the_namespaces() -> None:
    """If somebody labels a pod of their own `rabbitmq`, then production's workers still do not talk to it."""
    for name in ("sendas-broker", "sendas-database"):
        for rule in rules(PRODUCTION, name):
            assert all(peer["namespaceSelector"]["matchLabels"] for peer in rule["to"])
