"""The network policy lets out what the worker needs, and nothing private: it agrees with the worker's egress guard."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.deploy.rendering import (
    DEVELOPMENT,
    OVERLAYS,
    PREPARE,
    PRODUCTION,
    Resource,
    of_kind,
    only,
    own_templates,
    with_component,
)
from tests.deploy.test_resources import KUBERNETES_VERSIONS, check
from worker.domain.egress import HTTPS_PORTS, IMAP_PORTS, SMTP_PORTS, special_range

WORKERS = (DEVELOPMENT, PRODUCTION)
OF_WORKER = {"sendas", "sendas-dns", "sendas-public", "sendas-broker", "sendas-database"}
OF_JOBS = {"sendas-jobs-dns", "sendas-topology-broker", "sendas-ledger-migrate-database"}
OF_SERVERS = {"rabbitmq", "postgresql"}
NAMES = {DEVELOPMENT: OF_WORKER | OF_JOBS | OF_SERVERS, PRODUCTION: OF_WORKER, PREPARE: OF_JOBS}
SERVERS = {
    "worker": {("kube-dns", 53), ("rabbitmq", 5671), ("rabbitmq", 5672), ("postgresql", 5432)},
    "history": {("kube-dns", 53), ("rabbitmq", 5671), ("rabbitmq", 5672), ("postgresql", 5432)},
    "sendas-topology": {("kube-dns", 53), ("rabbitmq", 5671), ("rabbitmq", 5672)},
    "sendas-ledger-migrate": {("kube-dns", 53), ("postgresql", 5432)},
}
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


def is_selected(selector: Resource, labels: dict[str, str]) -> bool:
    """What Kubernetes says of a label selector; an empty one selects all."""
    for needed in selector.get("matchExpressions", ()):
        assert needed["operator"] == "In"
        if labels.get(needed["key"]) not in needed["values"]:
            return False
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def servers(overlay: str, labels: dict[str, str]) -> set[tuple[str, int]]:
    """The pods (by a name in their labels) and ports that a pod with these labels reaches, and nothing else of the
    cluster, where everything is denied that no policy of the overlay allows.
    """
    return {
        (next(iter(peer["podSelector"]["matchLabels"].values())), port["port"])
        for policy in of_kind(overlay, "NetworkPolicy")
        if is_selected(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get("egress", ())
        for peer in rule["to"]
        if "podSelector" in peer
        for port in rule["ports"]
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_are_these_policies_and_no_others(overlay: str) -> None:
    """If a policy is added, then it is looked at here: policies can only ever add to what is open."""
    assert {policy["metadata"]["name"] for policy in of_kind(overlay, "NetworkPolicy")} == NAMES[overlay]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_fenced_and_reaches_what_it_needs(overlay: str) -> None:
    """If a namespace denies everything by default, then each pod still reaches its servers, by this overlay alone."""
    for name, template in own_templates(overlay):
        labels = template["metadata"]["labels"]
        directions = {
            direction
            for policy in of_kind(overlay, "NetworkPolicy")
            if is_selected(policy["spec"]["podSelector"], labels)
            for direction in policy["spec"]["policyTypes"]
        }
        assert directions == {"Ingress", "Egress"}, name
        assert servers(overlay, labels) == SERVERS[labels["app.kubernetes.io/component"]], name


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize(
    ("component", "expected"),
    [
        ("dns-node-local", {("kube-dns", 53), ("node-local-dns", 53)}),
        ("dns-openshift", {("default", 5353)}),
    ],
)
def test_names_are_asked_where_the_cluster_has_them(
    tmp_path: Path, overlay: str, component: str, expected: set[tuple[str, int]]
) -> None:
    """If a cluster has another DNS, then one component lets worker and Jobs reach it, and changes nothing else."""
    changed = with_component(overlay, component, tmp_path)
    for name, template in own_templates(changed):
        labels = template["metadata"]["labels"]
        others = {each for each in SERVERS[labels["app.kubernetes.io/component"]] if each[0] != "kube-dns"}
        assert servers(changed, labels) == others | expected, name
    for policy in of_kind(changed, "NetworkPolicy"):
        check(policy, KUBERNETES_VERSIONS[-1])
        if not policy["metadata"]["name"].endswith("dns"):
            assert policy == only(overlay, "NetworkPolicy", policy["metadata"]["name"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_cache_on_the_node_is_reached_at_its_address(tmp_path: Path, overlay: str) -> None:
    """If a node has a DNS cache, then its link-local address is open for names, and no other address with it."""
    changed = with_component(overlay, "dns-node-local", tmp_path)
    for policy in of_kind(changed, "NetworkPolicy"):
        if policy["metadata"]["name"].endswith("dns"):
            blocks = [
                (peer["ipBlock"], {(port["protocol"], port["port"]) for port in rule["ports"]})
                for rule in policy["spec"]["egress"]
                for peer in rule["to"]
                if "ipBlock" in peer
            ]
            assert blocks == [({"cidr": "169.254.20.10/32"}, {("UDP", 53), ("TCP", 53)})]


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


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_the_worker_reaches_the_internet(overlay: str) -> None:
    """If a Job runs, then it reaches names and its one server only: just the worker's pods may go further."""
    for policy in of_kind(overlay, "NetworkPolicy"):
        if any("ipBlock" in peer for rule in policy["spec"].get("egress", ()) for peer in rule["to"]):
            assert policy["metadata"]["name"] == "sendas-public"
            assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_way_out_names_whom_it_leads_to(overlay: str) -> None:
    """If a rule is written in a hurry, then it does not let everything out for want of a selector."""
    for policy in of_kind(overlay, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", ()):
            assert rule["to"]
            assert rule["ports"]
            assert all("ipBlock" in peer or peer["podSelector"]["matchLabels"] for peer in rule["to"])


@pytest.mark.parametrize("overlay", [PRODUCTION, PREPARE])
def test_production_names_the_namespaces(overlay: str) -> None:
    """If somebody labels a pod of their own `rabbitmq`, then production's workers and Jobs still do not talk to it."""
    for policy in of_kind(overlay, "NetworkPolicy"):
        if policy["metadata"]["name"].endswith(("broker", "database")):
            for rule in policy["spec"]["egress"]:
                assert all(peer["namespaceSelector"]["matchLabels"] for peer in rule["to"])
