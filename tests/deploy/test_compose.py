"""compose.yaml brings the servers, for machines on which Debian's packages cannot be installed.

No engine runs it here, so it is held to what can be known without one.
"""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.rendering import DEVELOPMENT, PROJECT, pod_templates

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# The keys of the Compose Specification that the file uses. Add one here after a look into the specification.
KNOWN = {
    "command", "depends_on", "entrypoint", "environment", "healthcheck", "hostname", "image", "network_mode", "ports",
    "volumes",
}  # fmt: skip
KNOWN_OF_HEALTHCHECK = {"interval", "retries", "test", "timeout"}


def test_every_key_is_one_of_the_specification() -> None:
    """If a key is misspelt, then it is found here and not by whoever starts it."""
    assert COMPOSE.keys() == {"name", "services", "volumes"}
    for name, service in SERVICES.items():
        assert service.keys() <= KNOWN, name
        assert service.get("healthcheck", {}).keys() <= KNOWN_OF_HEALTHCHECK, name


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """If it is started next month, then with the same servers: at least their major version is said."""
    assert re.fullmatch(r"[a-z./-]+:\d[\w.-]*", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_this_machine_only(name: str) -> None:
    """If a laptop is in a café, then nobody else reaches servers whose passwords everybody knows."""
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


def test_what_is_referred_to_is_there() -> None:
    """If a service mounts a volume or waits for another service, then the file has it."""
    mounted = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())}
    assert mounted == COMPOSE["volumes"].keys()
    for service in SERVICES.values():
        assert service.get("depends_on", {}).keys() <= SERVICES.keys()


def test_servers_say_when_they_are_ready() -> None:
    """If something waits for a server, then a health check answers; what runs once is waited for to its end."""
    waited_for = {
        name: how["condition"] for service in SERVICES.values() for name, how in service.get("depends_on", {}).items()
    }
    for name, service in SERVICES.items():
        if "healthcheck" not in service:
            assert waited_for[name] == "service_completed_successfully"


def test_servers_are_those_of_the_development_overlay() -> None:
    """If somebody goes from one to the other, then broker and database are of the same version."""
    in_cluster = {
        container["image"].removeprefix("docker.io/library/")
        for _, template in pod_templates(DEVELOPMENT)
        for container in template["spec"]["containers"]
    }
    assert {SERVICES["rabbitmq"]["image"], SERVICES["postgresql"]["image"]} <= in_cluster
