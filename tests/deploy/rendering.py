"""What `kubectl apply --kustomize` would send to a cluster."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from os.path import relpath
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parent.parent.parent
KUBERNETES = PROJECT / "deploy/k8s"
DEVELOPMENT = "overlays/development"
PRODUCTION = "overlays/production"
PREPARE = "overlays/production/prepare"
OVERLAYS = (DEVELOPMENT, PRODUCTION, PREPARE)

Resource = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Resource, ...]:
    """The resources of an overlay, of those in deploy/k8s or at a path of its own."""
    kubectl = Path(sys.executable).with_name("kubectl")  # the pinned one, whatever else the machine has
    done = subprocess.run([kubectl, "kustomize", KUBERNETES / overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return tuple(yaml.safe_load_all(done.stdout))


def with_component(overlay: str, component: str, directory: Path) -> str:
    """An overlay with one component more, written into a directory; what `rendered` takes."""
    for name in (overlay, f"components/{component}"):
        assert (KUBERNETES / name / "kustomization.yaml").exists(), name
    own = directory / overlay.replace("/", "-") / component
    own.mkdir(parents=True)
    lines = (
        f"resources: [{relpath(KUBERNETES / overlay, own)}]",
        f"components: [{relpath(KUBERNETES / 'components' / component, own)}]",
    )
    (own / "kustomization.yaml").write_text("\n".join(lines))
    return str(own)


def of_kind(overlay: str, kind: str) -> list[Resource]:
    """The resources of one kind."""
    return [resource for resource in rendered(overlay) if resource["kind"] == kind]


def only(overlay: str, kind: str, name: str = "sendas") -> Resource:
    """The one resource of this kind and name."""
    [found] = [resource for resource in of_kind(overlay, kind) if resource["metadata"]["name"] == name]
    return found


def pod_templates(overlay: str) -> Iterator[tuple[str, Resource]]:
    """The templates of all pods, each with a name to show."""
    for resource in rendered(overlay):
        if resource["kind"] in ("Deployment", "Job"):
            yield f"{resource['kind']} {resource['metadata']['name']}", resource["spec"]["template"]


def own_templates(overlay: str) -> list[tuple[str, Resource]]:
    """The templates of pods that run sendas itself."""
    return [
        (name, template)
        for name, template in pod_templates(overlay)
        if template["metadata"]["labels"]["app.kubernetes.io/name"] == "sendas"
    ]


def worker(overlay: str) -> Resource:
    """The worker's pod spec."""
    spec: Resource = only(overlay, "Deployment")["spec"]["template"]["spec"]
    return spec


def container(overlay: str) -> Resource:
    """The worker's only container."""
    [found] = worker(overlay)["containers"]
    result: Resource = found
    return result


def settings(overlay: str) -> dict[str, str]:
    """The ConfigMap's settings, which worker and Jobs share."""
    return dict(settings_map(overlay)["data"])


def settings_map(overlay: str) -> Resource:
    """The ConfigMap of the settings; the end of its name follows from its contents."""
    [found] = [
        each for each in of_kind(overlay, "ConfigMap") if each["metadata"]["name"].startswith("sendas-settings-")
    ]
    return found
