"""The components for TLS with certificates of our own: what they mount is what the settings name and what is made."""

from os.path import relpath
from pathlib import Path

import pytest

from tests.deploy.rendering import KUBERNETES, PREPARE, PRODUCTION, of_kind, own_templates, rendered
from tests.deploy.test_resources import KUBERNETES_VERSIONS, check
from worker.settings import PREFIX, Settings

DIRECTORY = Path("/etc/sendas")
SERVICES = {
    "Deployment sendas": {"broker", "ledger"},
    "Deployment sendas-history": {"broker", "ledger"},
    "Job sendas-topology": {"broker"},
    "Job sendas-ledger-migrate": {"ledger"},
}
KEYS = {"ca.crt", "tls.crt", "tls.key"}  # of a Secret as cert-manager makes it


def with_certificates(overlay: str, directory: Path) -> str:
    """An overlay with the components that it needs, written into a directory; what `rendered` takes."""
    own = directory / overlay.replace("/", "-")
    own.mkdir()
    names = ["client-certificates", *(["cert-manager"] if overlay == PREPARE else [])]
    components = ", ".join(relpath(KUBERNETES / "components" / name, own) for name in names)
    lines = (
        f"namespace: sendas\nresources: [{relpath(KUBERNETES / overlay, own)}]",
        f"components: [{components}]",
    )
    (own / "kustomization.yaml").write_text("\n".join(lines))
    return str(own)


@pytest.fixture(scope="module")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Production and what prepares it, both with certificates."""
    directory = tmp_path_factory.mktemp("overlays")
    return with_certificates(PRODUCTION, directory), with_certificates(PREPARE, directory)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_resource_fits_its_schema(overlays: tuple[str, str], version: str) -> None:
    for overlay in overlays:
        for resource in rendered(overlay):
            check(resource, version)


def test_each_pod_has_the_certificates_of_the_services_that_it_connects_to(overlays: tuple[str, str]) -> None:
    """If a pod connects to a service, then it has the files that its settings name, readable to it, and no others."""
    seen = {}
    for overlay in overlays:
        for name, template in own_templates(overlay):
            spec = template["spec"]
            [container] = spec["containers"]
            named = {
                each["name"]: Path(each["value"])
                for each in container["env"]
                if "_TLS_" in each["name"] and each["name"].startswith(PREFIX)
            }
            assert {each.removeprefix(PREFIX).lower() for each in named} <= Settings.model_fields.keys()
            assert {path.name for path in named.values()} == KEYS
            mounts = {
                Path(each["mountPath"]): each["name"]
                for each in container["volumeMounts"]
                if each["name"].endswith("-tls")
            }
            assert {path.parent for path in named.values()} == mounts.keys(), name
            volumes = {each["name"]: each["secret"] for each in spec["volumes"] if "secret" in each}
            for mount, volume in mounts.items():
                assert volumes[volume]["secretName"] == f"sendas-{mount.name}"
                assert volumes[volume]["defaultMode"] == 0o440
            seen[name] = {mount.name.removesuffix("-tls") for mount in mounts}
            for service in seen[name]:
                path = DIRECTORY / f"{service}-tls"
                assert named[f"{PREFIX}{service.upper()}_TLS_CERT_FILE"] == path / "tls.crt"
                assert named[f"{PREFIX}{service.upper()}_TLS_KEY_FILE"] == path / "tls.key"
    assert seen == SERVICES


def test_cert_manager_makes_the_secrets_that_are_mounted(overlays: tuple[str, str]) -> None:
    """If the Jobs begin, then the certificates for clients are among what was applied with them."""
    _, prepare = overlays
    made = {each["spec"]["secretName"]: each["spec"] for each in of_kind(prepare, "Certificate")}
    assert made.keys() == {"sendas-broker-tls", "sendas-ledger-tls"}
    for spec in made.values():
        assert spec["usages"] == ["client auth"]
        assert spec["privateKey"]["rotationPolicy"] == "Always"
