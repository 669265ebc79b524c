"""The worker's pods fit the worker: its settings, its port and paths, its waits, its image."""

import base64
import re
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from tests.deploy.rendering import (
    DEVELOPMENT,
    OVERLAYS,
    PREPARE,
    PRODUCTION,
    PROJECT,
    Resource,
    container,
    of_kind,
    only,
    own_templates,
    settings,
    worker,
)
from worker.adapters.http_server import serve_http
from worker.adapters.smtp.timeouts import Timeouts
from worker.settings import PREFIX, Settings, load_settings, unknown_variables
from worker.telemetry.health import Health

WORKERS = (DEVELOPMENT, PRODUCTION)
CANCELLING_S = 5  # to take no more from the queues
RECORDING_S = 30  # to note what a server said in the last moment, and to publish it
STATE_DIR = "/var/lib/sendas"


def literal_settings(overlay: str, pod: Resource) -> dict[str, str]:
    """What a container's environment says in plain words."""
    own = {each["name"]: each["value"] for each in pod["env"] if each.get("value")}
    return {**settings(overlay), **own}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_is_one_that_the_worker_knows(overlay: str) -> None:
    """If a manifest sets a variable, then the worker reads it: the worker itself would ignore a misspelt one."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name, template in own_templates(overlay):
        [pod] = template["spec"]["containers"]
        assert pod["env"], name
        assert {each["name"] for each in pod["env"]} | settings(overlay).keys() <= known, name


@pytest.mark.parametrize("overlay", WORKERS)
def test_no_setting_falls_back_to_a_developers_machine(overlay: str) -> None:
    """If a pod starts, then nothing that is particular to an installation is left to its default."""
    particular = {"broker_url", "snapshot_url", "ledger_url", "sealing_keys_file", "state_dir", "http_port"}
    if overlay == PRODUCTION:
        particular |= {"local_hostname"}  # receivers look up the name in EHLO; the pod's own means nothing to them
    assert particular <= Settings.model_fields.keys()
    given = {each["name"] for each in container(overlay)["env"]} | settings(overlay).keys()
    assert {PREFIX + name.upper() for name in particular} <= given


def test_jobs_have_the_setting_that_their_command_needs() -> None:
    """If a Job runs, then it reaches the broker or the database that the workers use, and knows no other secret."""
    needed = {"sendas-ledger-migrate": "SENDAS_LEDGER_URL", "sendas-topology": "SENDAS_BROKER_URL"}
    for overlay in (DEVELOPMENT, PREPARE):
        jobs = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in of_kind(overlay, "Job")}
        secret = {
            name: [each["name"] for each in spec["containers"][0]["env"] if "valueFrom" in each]
            for name, spec in jobs.items()
        }
        assert secret == {name: [setting] for name, setting in needed.items()}


@pytest.mark.parametrize("overlay", WORKERS)
def test_the_worker_takes_the_settings(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the pod starts with these settings, then none stops it."""
    for name, value in literal_settings(overlay, container(overlay)).items():
        monkeypatch.setenv(name, value)
    found = load_settings()
    assert found.state_dir == Path(STATE_DIR)
    assert not list(unknown_variables(literal_settings(overlay, container(overlay))))
    assert found.http_port == 8080


@pytest.mark.parametrize("overlay", WORKERS)
def test_the_ledger_is_not_a_file_in_the_pod(overlay: str) -> None:
    """If a pod ends, then its memory of what was sent does not end with it: its URL comes from the Secret."""
    [ledger] = [each for each in container(overlay)["env"] if each["name"] == "SENDAS_LEDGER_URL"]
    assert ledger["valueFrom"]["secretKeyRef"]["key"] == "ledger-url"
    assert not ledger["valueFrom"]["secretKeyRef"].get("optional")


@pytest.mark.parametrize("overlay", WORKERS)
async def test_probes_and_metrics_are_answered(overlay: str) -> None:
    """If a probe or Prometheus asks what the manifests name, then the worker's own server answers it."""
    pod = container(overlay)
    paths = {pod[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    paths |= {end["path"] for m in of_kind(PRODUCTION, "PodMonitor") for end in m["spec"]["podMetricsEndpoints"]}
    async with (
        serve_http("127.0.0.1", 0, Health(), CollectorRegistry()) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        for path in sorted(paths):
            async with client.get(path) as response:
                assert response.status == 200, path


@pytest.mark.parametrize("overlay", WORKERS)
def test_probes_ask_at_the_port_that_the_worker_has(overlay: str) -> None:
    """If the worker's port changes in one place, then probes, PodMonitor and policy go with it."""
    pod = container(overlay)
    [port] = pod["ports"]
    assert str(port["containerPort"]) == literal_settings(overlay, pod)["SENDAS_HTTP_PORT"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod[probe]["httpGet"]["port"] == port["name"]
    for monitor in of_kind(PRODUCTION, "PodMonitor"):
        assert [end["port"] for end in monitor["spec"]["podMetricsEndpoints"]] == [port["name"]]
    [policy] = [each for each in of_kind(overlay, "NetworkPolicy") if "Ingress" in each["spec"]["policyTypes"]]
    assert [each["port"] for each in policy["spec"]["ingress"][0]["ports"]] == [port["containerPort"]]


@pytest.mark.parametrize("overlay", WORKERS)
def test_an_outage_elsewhere_starts_no_pod_anew(overlay: str) -> None:
    """If the broker is away, then pods are not ready, but neither killed nor kept from having started."""
    pod = container(overlay)
    assert pod["startupProbe"]["httpGet"]["path"] == "/livez"
    assert pod["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert pod["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("overlay", WORKERS)
def test_no_pod_is_killed_while_it_waits_for_an_answer(overlay: str) -> None:
    """If SIGTERM comes and a letter's final dot is written at the end of the drain, then its answer is waited for."""
    given = literal_settings(overlay, container(overlay))

    def seconds(name: str) -> float:
        return float(given.get(PREFIX + name.upper(), Settings.model_fields[name].default))

    assert seconds("drain_answers_s") >= Timeouts().answer_s
    longest_s = CANCELLING_S + seconds("drain_s") + seconds("drain_answers_s") + RECORDING_S
    assert worker(overlay)["terminationGracePeriodSeconds"] >= longest_s


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_run_as_the_user_of_the_image(overlay: str) -> None:
    """If the image changes its user, then the pods do too, and may write to their volume."""
    user = re.search(r"^USER (\d+):(\d+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    for name, template in own_templates(overlay):
        context = template["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user[1]), int(user[2])), name
        assert context["fsGroup"] == int(user[2]), name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_written_to_is_a_volume(overlay: str) -> None:
    """If the root is read-only, then the state directory is still one that can be written, and bounded."""
    for name, template in own_templates(overlay):
        spec = template["spec"]
        [mount] = [each for each in spec["containers"][0]["volumeMounts"] if each["mountPath"] == STATE_DIR]
        [volume] = [each for each in spec["volumes"] if each["name"] == mount["name"]]
        assert volume["emptyDir"]["sizeLimit"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_told_apart(overlay: str) -> None:
    """If a Job runs beside the workers, then Deployment, budget and spreading do not count it as one of them."""
    components = [
        template["metadata"]["labels"]["app.kubernetes.io/component"] for _, template in own_templates(overlay)
    ]
    assert len(set(components)) == len(components)
    selectors = [
        each["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget") for each in of_kind(overlay, kind)
    ]
    for selector in selectors:
        labels = selector["matchLabels"]
        assert labels["app.kubernetes.io/name"] != "sendas" or labels["app.kubernetes.io/component"] == "worker"


@pytest.mark.parametrize("overlay", WORKERS)
def test_one_fault_does_not_take_all_workers(overlay: str) -> None:
    """If a node or zone fails, or is emptied, then others go on; and workers of two versions are spread apart."""
    keys = [each["topologyKey"] for each in worker(overlay)["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for constraint in worker(overlay)["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"
    [budget] = of_kind(overlay, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("overlay", WORKERS)
def test_names_are_whole_names(overlay: str) -> None:
    """If a name has a dot, then the pod looks it up as it is, before any search domain of the cluster's."""
    assert worker(overlay)["dnsConfig"]["options"] == [{"name": "ndots", "value": "1"}]


def test_the_workers_own_servers_are_named_in_full() -> None:
    """If the worker looks up broker and database, then no search domain is needed for it."""
    secret = only(DEVELOPMENT, "Secret", next(each["metadata"]["name"] for each in of_kind(DEVELOPMENT, "Secret")))
    namespace = secret["metadata"]["namespace"]
    services = {each["metadata"]["name"] for each in of_kind(DEVELOPMENT, "Service")}
    for key, service in (("broker-url", "rabbitmq"), ("ledger-url", "postgresql")):
        url = base64.b64decode(secret["data"][key]).decode()
        assert urlsplit(url).hostname == f"{service}.{namespace}.svc.cluster.local"
        assert service in services
