"""Every resource is one that a cluster would take, to the last field, and refers to things that are there."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy.rendering import (
    DEVELOPMENT,
    KUBERNETES,
    OVERLAYS,
    PREPARE,
    PRODUCTION,
    Resource,
    of_kind,
    own_templates,
    pod_templates,
    rendered,
    settings_map,
)

KUBERNETES_VERSIONS = ("1.31", "1.37")
# Whose keys are names, not fields.
FREE = {"annotations", "arguments", "data", "definition", "labels", "limits", "matchLabels", "requests", "stringData"}
MANY_OBJECTS = 25
# For some installations only: test_client_certificates.py, test_network_policy.py, test_console_pod.py.
ELSEWHERE = {"cert-manager", "client-certificates", "console", "console-ingress", "dns-node-local", "dns-openshift"}
SCHEMAS = Path(__file__).parent / "schemas"


def check(resource: Resource, version: str) -> None:
    """Refuse unknown kinds and unknown fields, of Kubernetes' own resources and of custom ones alike."""
    schema = SCHEMAS / f"{resource['kind']}.json"
    if schema.exists():
        jsonschema.validate(resource, json.loads(schema.read_text()))
    else:
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_fits_its_schema(overlay: str, version: str) -> None:
    """If an overlay is applied, then no resource has a field that its kind does not know."""
    resources = rendered(overlay)
    assert resources
    for resource in resources:
        check(resource, version)


def objects(node: Any, path: str = "") -> Iterator[tuple[str, Resource]]:
    """Every object inside of a resource that has fields, with the way to it; not those whose keys are anybody's."""
    if isinstance(node, dict):
        if path.rpartition(".")[2] in FREE or path.endswith("triggers[].metadata"):
            return
        yield path, node
        for key, value in node.items():
            yield from objects(value, f"{path}.{key}")
    elif isinstance(node, list):
        for value in node:
            yield from objects(value, f"{path}[]")


def is_refused(resource: Resource) -> bool:
    """Whether the check above finds something wrong with it."""
    try:
        check(resource, KUBERNETES_VERSIONS[-1])
    except jsonschema.ValidationError:
        return True
    return False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_misspelt_field_is_refused_however_deep(overlay: str) -> None:
    """If a field were misspelt anywhere in a resource, then the check above would say so."""
    seen = set()
    for original in rendered(overlay):
        resource = deepcopy(original)
        for path, node in objects(resource):
            if (resource["kind"], path) in seen:
                continue
            seen.add((resource["kind"], path))
            node["replicsa"] = 1
            assert is_refused(resource), f"{resource['kind']}{path} takes any field"
            del node["replicsa"]
    assert len(seen) > MANY_OBJECTS


def test_an_unknown_kind_is_refused() -> None:
    """If a resource were of a kind that nobody described, then the check above would say so."""
    unknown = {"apiVersion": "example.com/v1", "kind": "Unknown", "metadata": {"name": "x"}}
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        check(unknown, KUBERNETES_VERSIONS[-1])


def test_development_needs_no_operator() -> None:
    """If nothing but Kubernetes is there, then the development overlay can be applied."""
    groups = {resource["apiVersion"].partition("/")[0] for resource in rendered(DEVELOPMENT)}
    assert groups == {"v1", "apps", "batch", "policy", "networking.k8s.io"}


def test_every_component_is_in_use() -> None:
    """If a component is there, then production renders it, or a test of its own does: none is left unchecked."""
    used = "".join((KUBERNETES / overlay / "kustomization.yaml").read_text() for overlay in (PRODUCTION, PREPARE))
    for component in (KUBERNETES / "components").iterdir():
        assert f"components/{component.name}\n" in used or component.name in ELSEWHERE


def test_no_resource_is_in_both_parts_of_production() -> None:
    """If one part of production is deleted, then nothing goes that the other part needs, but what both bring."""

    def names(overlay: str) -> set[tuple[str, str]]:
        return {(each["kind"], each["metadata"]["name"]) for each in rendered(overlay) if each["kind"] != "ConfigMap"}

    assert not names(PRODUCTION) & names(PREPARE)


def test_worker_and_jobs_of_production_share_image_and_settings() -> None:
    """If production is changed in its settings, then Jobs and worker see the same image and the same ConfigMap."""
    images, maps = set(), set()
    for overlay in (PRODUCTION, PREPARE):
        for _, template in own_templates(overlay):
            [container] = template["spec"]["containers"]
            images.add(container["image"])
            maps.add(container["envFrom"][0]["configMapRef"]["name"])
        maps.add(settings_map(overlay)["metadata"]["name"])
    assert len(images) == 1
    assert len(maps) == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_pinned(overlay: str) -> None:
    """If a pod starts again next month, then it is of the same version: no image without a tag, none `latest`."""
    for name, template in pod_templates(overlay):
        for container in template["spec"]["containers"]:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            assert tag not in ("", "latest"), name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_meet_the_restricted_standard(overlay: str) -> None:
    """If a namespace enforces the `restricted` pod security standard, then every pod is admitted."""
    for name, template in pod_templates(overlay):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert all(volume.keys() & {"emptyDir", "configMap", "secret"} for volume in spec.get("volumes", ())), name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_of_ours_have_no_token_no_links_and_a_read_only_root(overlay: str) -> None:
    """If somebody breaks into a pod, then there is no way to Kubernetes' API and nothing of the image to change."""
    for name, template in own_templates(overlay):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        [container] = spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_mounted_volumes_exist(overlay: str) -> None:
    """If a container mounts a volume, then its pod has it; and no volume is there for nothing."""
    for name, template in pod_templates(overlay):
        spec = template["spec"]
        mounted = {mount["name"] for each in spec["containers"] for mount in each.get("volumeMounts", ())}
        assert mounted == {volume["name"] for volume in spec.get("volumes", ())}, name


def test_external_secrets_bring_every_key_that_is_read() -> None:
    """If production runs, then each key of a Secret that a pod or KEDA reads is brought, and no other."""
    brought = {
        (external["spec"]["target"]["name"], entry["secretKey"])
        for external in of_kind(PREPARE, "ExternalSecret")
        for entry in external["spec"]["data"]
    }
    read = {
        (reference["name"], reference["key"])
        for authentication in of_kind(PRODUCTION, "TriggerAuthentication")
        for reference in authentication["spec"]["secretTargetRef"]
    }
    for overlay in (PRODUCTION, PREPARE):
        for _, template in own_templates(overlay):
            read |= set(secret_keys(template["spec"]))
    assert read == brought


def secret_keys(spec: Resource) -> Iterator[tuple[str, str]]:
    """Names and keys of the Secrets that a pod reads, as variables and as files."""
    [container] = spec["containers"]
    for variable in container["env"]:
        if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
            yield reference["name"], reference["key"]
    for volume in spec["volumes"]:
        if "secret" in volume:
            yield from ((volume["secret"]["secretName"], item["key"]) for item in volume["secret"]["items"])
