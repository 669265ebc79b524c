"""Every resource is one that a cluster would take, to the last field, and refers to things that are there."""

import json
from copy import deepcopy
from pathlib import Path

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
)

KUBERNETES_VERSIONS = ("1.31", "1.37")
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


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_misspelt_field_is_refused(overlay: str) -> None:
    """If a field of any resource's spec were misspelt, then the check above would say so."""
    for resource in rendered(overlay):
        if "spec" not in resource:
            continue
        misspelt = deepcopy(resource)
        misspelt["spec"]["replicsa"] = 1
        with pytest.raises(jsonschema.ValidationError):
            check(misspelt, KUBERNETES_VERSIONS[-1])


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
    """If a component is there, then production renders it: none is left unchecked."""
    used = "".join((KUBERNETES / overlay / "kustomization.yaml").read_text() for overlay in (PRODUCTION, PREPARE))
    for component in (KUBERNETES / "components").iterdir():
        assert f"components/{component.name}\n" in used


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
        maps.add(of_kind(overlay, "ConfigMap")[0]["metadata"]["name"])
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


def test_external_secret_brings_every_key_that_pods_read() -> None:
    """If production runs, then each key of the Secret `sendas` that a pod refers to is in the ExternalSecret."""
    [external] = of_kind(PREPARE, "ExternalSecret")
    brought = {entry["secretKey"] for entry in external["spec"]["data"]}
    read: set[str] = set()
    for overlay in (PRODUCTION, PREPARE):
        for _, template in own_templates(overlay):
            spec = template["spec"]
            [container] = spec["containers"]
            for variable in container["env"]:
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] == external["spec"]["target"]["name"]
                    read.add(reference["key"])
            read |= {item["key"] for v in spec["volumes"] if "secret" in v for item in v["secret"]["items"]}
    assert read == brought
