"""The console's own manifests: it starts with them, nothing else reaches it, and it reaches what its pages ask."""

from pathlib import Path

import pytest

from tests.deploy.rendering import DEVELOPMENT, PRODUCTION, Resource, of_kind, only, with_component
from tests.deploy.test_network_policy import PUBLIC, is_let_out, servers
from tests.deploy.test_resources import KUBERNETES_VERSIONS, check
from worker.console_settings import CONSOLE_PREFIX, ConsoleSettings, load_console_settings
from worker.settings import PREFIX, Settings

NAME = "sendas-console"


@pytest.fixture(params=[DEVELOPMENT, PRODUCTION])
def overlay(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An overlay with the console."""
    return with_component(request.param, "console", tmp_path)


def container(overlay: str) -> Resource:
    [found] = only(overlay, "Deployment", NAME)["spec"]["template"]["spec"]["containers"]
    pod: Resource = found
    return pod


def literals(pod: Resource) -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod["env"] if each["name"].startswith(CONSOLE_PREFIX)}


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_resource_fits_its_schema(overlay: str, version: str) -> None:
    for kind in ("Deployment", "Service", "NetworkPolicy"):
        for resource in of_kind(overlay, kind):
            check(resource, version)


def test_its_settings_are_known_and_good(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the pod starts, then nothing in its settings stops it, and they agree with its ports."""
    pod = container(overlay)
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {CONSOLE_PREFIX + name.upper() for name in ConsoleSettings.model_fields}
    assert {each["name"] for each in pod["env"]} <= known
    for name, value in literals(pod).items():
        monkeypatch.setenv(name, value)
    found = load_console_settings()
    ports = {each["name"]: each["containerPort"] for each in pod["ports"]}
    assert (found.port, ports["http"]) == (ports["console"], 8080)
    [workers] = found.worker_urls
    service = only(overlay, "Service", "sendas-workers")
    assert workers == f"http://sendas-workers.sendas.svc.cluster.local:{service['spec']['ports'][0]['port']}"
    assert service["spec"]["clusterIP"] == "None"


def test_there_is_one_of_it_and_it_is_no_worker(overlay: str) -> None:
    """If it is rolled out, then never two at a time: sessions and acts under way are in its memory."""
    spec = only(overlay, "Deployment", NAME)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    labels = spec["template"]["metadata"]["labels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        for each in of_kind(overlay, kind):
            wanted = each["spec"]["selector"].get("matchLabels", {})
            assert (wanted.items() <= labels.items()) == (each["metadata"]["name"] == NAME)


def test_it_reaches_its_servers_and_public_addresses(overlay: str) -> None:
    labels = only(overlay, "Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    assert servers(overlay, labels) == {
        ("kube-dns", 53), ("rabbitmq", 5671), ("rabbitmq", 5672), ("postgresql", 5432), ("worker", 8080),
    }  # fmt: skip
    own = only(overlay, "NetworkPolicy", "sendas-console-public")["spec"]["egress"]
    assert own == only(overlay, "NetworkPolicy", "sendas-public")["spec"]["egress"]
    assert all(is_let_out(overlay, address) for address in PUBLIC)


def test_nothing_of_the_cluster_reaches_its_pages(overlay: str) -> None:
    assert of_kind(overlay, "Ingress") == []
    [rule] = only(overlay, "NetworkPolicy", NAME)["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == [8080]


def test_the_example_of_a_way_in_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is copied, then the host name is the same everywhere, and sign-in is by the provider."""
    overlay = with_component(with_component(PRODUCTION, "console", tmp_path), "console-ingress", tmp_path / "two")
    [ingress] = of_kind(overlay, "Ingress")
    for version in KUBERNETES_VERSIONS:
        check(ingress, version)
    for name, value in literals(container(overlay)).items():
        monkeypatch.setenv(name, value)
    found = load_console_settings()
    [rule] = ingress["spec"]["rules"]
    assert found.url == f"https://{rule['host']}"
    assert (found.sign_in, len(found.proxy_networks)) == ("oidc", 1)
    [way_in] = only(overlay, "NetworkPolicy", "sendas-console-ingress")["spec"]["ingress"]
    assert [each["port"] for each in way_in["ports"]] == [found.port]
