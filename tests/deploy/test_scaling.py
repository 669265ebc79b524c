"""KEDA scales by what is to be done, within what servers bear, and never to nothing."""

import re

from tests.deploy.rendering import DEVELOPMENT, PRODUCTION, PROJECT, Resource, of_kind, only, settings, worker
from worker.domain.topology import Topology
from worker.settings import Settings

PREFETCH_FACTOR = 2  # a worker holds twice as many messages as it works on


def scaling() -> Resource:
    """The ScaledObject's spec."""
    spec: Resource = only(PRODUCTION, "ScaledObject")["spec"]
    return spec


def test_an_apply_does_not_undo_what_keda_scaled() -> None:
    """If production is applied again, then the number of workers stays: the Deployment does not name it."""
    assert "replicas" not in only(PRODUCTION, "Deployment")["spec"]
    assert only(DEVELOPMENT, "Deployment")["spec"]["replicas"] == 1


def test_the_deployment_is_scaled_by_both_work_queues() -> None:
    """If letters or copies wait, then there are more workers; the delay queues call for none."""
    topology = Topology()
    assert scaling()["scaleTargetRef"] == {"name": only(PRODUCTION, "Deployment")["metadata"]["name"]}
    assert [each["metadata"]["queueName"] for each in scaling()["triggers"]] == [topology.outbound, topology.sent_copy]


def test_messages_in_flight_are_counted() -> None:
    """If all letters are in flight, then there still is work: only over HTTP are unacknowledged ones counted."""
    for trigger in scaling()["triggers"]:
        assert trigger["metadata"]["protocol"] == "http"
        assert trigger["metadata"].get("excludeUnacknowledged") != "true"


def test_workers_do_not_call_for_more_of_themselves() -> None:
    """If workers only hold what they prefetch, then that is no backlog."""
    fields = Settings.model_fields
    values = [int(each["metadata"]["value"]) for each in scaling()["triggers"]]
    for value, concurrency in zip(values, ("concurrency", "copy_concurrency"), strict=True):
        assert value > PREFETCH_FACTOR * int(
            settings(PRODUCTION).get(f"SENDAS_{concurrency.upper()}", fields[concurrency].default)
        )


def test_there_are_always_two_workers_and_some_when_the_broker_is_silent() -> None:
    """If a worker ends, or nobody knows the queues' lengths, then letters go on leaving."""
    found = scaling()
    assert found["minReplicaCount"] >= 2
    assert found["minReplicaCount"] <= found["fallback"]["replicas"] <= found["maxReplicaCount"]
    assert found["fallback"]["behavior"] == "currentReplicasIfHigher"


def test_workers_go_one_at_a_time() -> None:
    """If a queue is empty for some minutes between retries, then workers stay."""
    [policy] = scaling()["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["policies"]
    window_s = scaling()["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"][
        "stabilizationWindowSeconds"
    ]
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    assert window_s >= worker(PRODUCTION)["terminationGracePeriodSeconds"]


def test_the_page_says_how_many_connections_the_maximum_means() -> None:
    """If the maximum is raised, then the numbers of connections in docs/kubernetes.md are worked out anew."""
    workers = (
        scaling()["maxReplicaCount"] + only(PRODUCTION, "Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    )
    fields = Settings.model_fields
    relay = int(settings(PRODUCTION).get("SENDAS_RELAY_CONNECTIONS", fields["relay_connections"].default))
    mailbox = int(settings(PRODUCTION).get("SENDAS_MAILBOX_CONNECTIONS", fields["mailbox_connections"].default))
    page = (PROJECT / "docs/kubernetes.md").read_text()
    rows = dict(re.findall(r"^\| (one mailbox's server|the platform's relay) \|.*\| (\d+) \|$", page, re.MULTILINE))
    assert rows == {"one mailbox's server": str(mailbox), "the platform's relay": str(workers * relay)}


def test_scaling_signs_in_with_a_secret_of_its_own() -> None:
    """If KEDA reads the queues' lengths, then not with the worker's rights."""
    [authentication] = of_kind(PRODUCTION, "TriggerAuthentication")
    for trigger in scaling()["triggers"]:
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    [reference] = authentication["spec"]["secretTargetRef"]
    assert (reference["parameter"], reference["name"]) == ("host", "sendas-management")
