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
from worker.addresses import history_of
from worker.environment import unknown_variables
from worker.history_access import history_addresses
from worker.settings import PREFIX, Settings, load_settings
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
    particular = {
        "broker_url_file", "snapshot_url", "ledger_url_file", "sealing_keys_file", "state_dir", "http_port",
    }  # fmt: skip
    if overlay == PRODUCTION:
        particular |= {"local_hostname"}  # receivers look up the name in EHLO; the pod's own means nothing to them
    assert particular <= Settings.model_fields.keys()
    given = {each["name"] for each in container(overlay)["env"]} | settings(overlay).keys()
    assert {PREFIX + name.upper() for name in particular} <= given


def secret_files(spec: Resource) -> dict[str, str]:
    """Settings of a pod that name a file of a mounted Secret, with the Secret's key; no other file may be named."""
    [pod] = spec["containers"]
    keys = {
        f"{mount['mountPath']}/{item['path']}": item["key"]
        for volume in spec["volumes"]
        for mount in pod["volumeMounts"]
        if "secret" in volume and mount["name"] == volume["name"]
        for item in volume["secret"]["items"]
    }
    files = {each["name"]: each["value"] for each in pod["env"] if each["name"].endswith("_FILE") and each["value"]}
    return {name: keys[path] for name, path in files.items()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_files_and_no_variables(overlay: str) -> None:
    """If somebody sees a pod's environment, in a crash or a description, then no secret is in it."""
    for name, template in own_templates(overlay):
        [pod] = template["spec"]["containers"]
        assert not [each["name"] for each in pod["env"] if "valueFrom" in each], name
        assert all("secretRef" not in each for each in pod["envFrom"]), name
        assert secret_files(template["spec"]), name


def test_jobs_have_the_setting_that_their_command_needs() -> None:
    """If a Job runs, then it reaches the broker or the database that the workers use, and knows no other secret."""
    needed = {
        "sendas-ledger-migrate": {"SENDAS_LEDGER_URL_FILE": "ledger-url"},
        "sendas-topology": {"SENDAS_BROKER_URL_FILE": "broker-url"},
    }
    for overlay in (DEVELOPMENT, PREPARE):
        jobs = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in of_kind(overlay, "Job")}
        assert {name: secret_files(spec) for name, spec in jobs.items()} == needed
        for spec in jobs.values():
            mounted = [item["key"] for each in spec["volumes"] if "secret" in each for item in each["secret"]["items"]]
            assert mounted == list(secret_files(spec).values())


@pytest.mark.parametrize("overlay", [DEVELOPMENT, PREPARE])
def test_a_job_that_cannot_succeed_fails_at_once(overlay: str) -> None:
    """If a setting is wrong (exit status 2), then the Job fails with its first pod; one that is evicted is another."""
    for job in of_kind(overlay, "Job"):
        spec = job["spec"]
        fail, ignore = spec["podFailurePolicy"]["rules"]
        [pod] = spec["template"]["spec"]["containers"]
        assert fail == {
            "action": "FailJob",
            "onExitCodes": {"containerName": pod["name"], "operator": "In", "values": [2]},
        }
        assert ignore["action"] == "Ignore"
        assert ignore["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
        assert spec["template"]["spec"]["restartPolicy"] == "Never"  # else there is no policy for failures
        assert spec["activeDeadlineSeconds"] <= 600
        assert spec["backoffLimit"] > 0


@pytest.mark.parametrize("overlay", [DEVELOPMENT, PREPARE])
def test_a_job_can_be_applied_again(overlay: str) -> None:
    """If a new version is applied by Argo CD or Flux, then the Job is made anew, and before the workers."""
    for job in of_kind(overlay, "Job"):
        annotations = job["metadata"]["annotations"]
        assert annotations["argocd.argoproj.io/hook"] == "Sync"
        assert annotations["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"
        assert annotations["kustomize.toolkit.fluxcd.io/force"] == "enabled"
        # A Job that vanishes by itself is missing to both, and runs again and again.
        assert "ttlSecondsAfterFinished" not in job["spec"]
        workers = only(PRODUCTION, "Deployment")["metadata"]["annotations"]
        assert annotations["argocd.argoproj.io/sync-wave"] < workers["argocd.argoproj.io/sync-wave"]


@pytest.mark.parametrize("overlay", WORKERS)
def test_the_worker_takes_the_settings(overlay: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If the pod starts with these settings and the Secret's files, then none stops it."""
    values = {"broker-url": "amqp://broker/", "ledger-url": "postgresql://database/ledger"}
    for name, value in literal_settings(overlay, container(overlay)).items():
        key = secret_files(worker(overlay)).get(name)
        if key:
            (tmp_path / key).write_text(values.get(key, "token"))
        monkeypatch.setenv(name, str(tmp_path / key) if key else value)
    found = load_settings()
    assert found.state_dir == Path(STATE_DIR)
    assert found.broker_url.get_secret_value() == "amqp://broker/"
    assert not list(unknown_variables(literal_settings(overlay, container(overlay))))
    assert found.http_port == 8080


@pytest.mark.parametrize("overlay", WORKERS)
def test_the_ledger_is_not_a_file_in_the_pod(overlay: str) -> None:
    """If a pod ends, then its memory of what was sent does not end with it: its URL comes from the Secret."""
    assert secret_files(worker(overlay))["SENDAS_LEDGER_URL_FILE"] == "ledger-url"


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
    policy = only(overlay, "NetworkPolicy")
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
    """If a Job or the history runs beside the workers, then no Deployment, budget or spreading counts it as another."""
    components = [
        template["metadata"]["labels"]["app.kubernetes.io/component"] for _, template in own_templates(overlay)
    ]
    assert len(set(components)) == len(components)
    selected = {
        (each["kind"], each["metadata"]["name"]): each["spec"]["selector"]["matchLabels"]
        for kind in ("Deployment", "PodDisruptionBudget")
        for each in of_kind(overlay, kind)
    }
    ours = {
        name: labels["app.kubernetes.io/component"]
        for name, labels in selected.items()
        if labels["app.kubernetes.io/name"] == "sendas"
    }
    expected = {("Deployment", "sendas"): "worker", ("PodDisruptionBudget", "sendas"): "worker"}
    expected |= {("Deployment", "sendas-history"): "history"}
    assert ours == ({} if overlay == PREPARE else expected)


@pytest.mark.parametrize("overlay", WORKERS)
def test_the_history_can_start_and_is_watched(overlay: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If its pod starts, then nothing in its settings stops it, its probes are asked at its port, and it is scraped."""
    spec = only(overlay, "Deployment", "sendas-history")["spec"]["template"]["spec"]
    [pod] = spec["containers"]
    assert pod["args"] == ["history", "consume"]
    assert secret_files(spec) == {"SENDAS_BROKER_URL_FILE": "broker-url", "SENDAS_LEDGER_URL_FILE": "ledger-url"}
    values = {"broker-url": "amqp://broker/", "ledger-url": "postgresql://database/ledger"}
    for name, value in literal_settings(overlay, pod).items():
        key = secret_files(spec).get(name)
        if key:
            (tmp_path / key).write_text(values[key])
        monkeypatch.setenv(name, str(tmp_path / key) if key else value)
    found = load_settings()
    assert history_addresses(found)
    assert history_of(found).place == "database:5432/ledger"
    [port] = pod["ports"]
    assert port["containerPort"] == found.http_port
    assert {pod[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {"http"}
    monitor = only(PRODUCTION, "PodMonitor", "sendas-history")["spec"]
    labels = only(overlay, "Deployment", "sendas-history")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()


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
