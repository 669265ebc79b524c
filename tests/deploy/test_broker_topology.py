"""The operator's resources declare what the worker expects, and lose nothing when they go."""

import re

from deploy.topology_resources import FILE, rendered
from tests.deploy.rendering import PREPARE, of_kind
from worker.domain.topology import BindingSpec, QueueSpec, Topology

TOPOLOGY = Topology(has_history=True)


def test_the_file_is_up_to_date() -> None:
    """If the topology changes, then so does the file: `python -m deploy.topology_resources` writes it."""
    assert FILE.read_text("utf-8") == rendered(TOPOLOGY)


def test_queues_are_declared_with_the_arguments_that_the_worker_checks() -> None:
    """If the operator declares the queues, then a worker that starts finds them as it would declare them."""
    found = [
        QueueSpec(spec["name"], {"x-queue-type": spec["type"], **spec.get("arguments", {})})
        for spec in (each["spec"] for each in of_kind(PREPARE, "Queue"))
    ]
    expected = [QueueSpec(each.name, dict(each.arguments)) for each in Topology().queues()]
    assert sorted(found, key=lambda each: each.name) == sorted(expected, key=lambda each: each.name)
    assert all(each["spec"]["durable"] is True for each in of_kind(PREPARE, "Queue"))


def test_bindings_are_those_that_the_worker_declares() -> None:
    """If the operator declares the bindings, then the same events come in, and no others."""
    specs = [each["spec"] for each in of_kind(PREPARE, "Binding")]
    assert all(spec["destinationType"] == "queue" for spec in specs)
    found = {BindingSpec(spec["source"], spec["destination"], spec["routingKey"]) for spec in specs}
    assert found == set(TOPOLOGY.bindings())
    assert len(specs) == len(found)


def test_no_queue_goes_with_its_resource() -> None:
    """If somebody deletes the resources or their namespace, then the letters in the queues stay."""
    assert {each["spec"]["deletionPolicy"] for each in of_kind(PREPARE, "Queue")} == {"retain"}


def test_no_exchange_is_the_operators() -> None:
    """If somebody deletes the resources, then the product's exchange stays: the operator would delete it."""
    assert not of_kind(PREPARE, "Exchange")
    [job] = [each for each in of_kind(PREPARE, "Job") if each["metadata"]["name"] == "sendas-topology"]
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["topology", "apply"]


def test_the_limit_holds_for_all_queues_but_the_dead_one() -> None:
    """If queues fill up, then publishers are refused; what is dead is never refused nor dropped.

    The history's queue has its limit as an argument, everywhere: full, it drops the oldest and refuses nobody.
    """
    [policy] = of_kind(PREPARE, "Policy")
    pattern = re.compile(policy["spec"]["pattern"])
    limited = {queue.name for queue in Topology().queues() if pattern.search(queue.name)}
    assert limited == {queue.name for queue in Topology().queues()} - {Topology().dead, Topology().history}
    refusing = {queue.name for queue in Topology().queues() if queue.arguments.get("x-overflow") == "reject-publish"}
    assert limited <= refusing


def test_policies_say_nothing_that_an_argument_fixes() -> None:
    """If an operator changes a policy, then it has an effect: no argument of the queues stands before it."""
    [policy] = of_kind(PREPARE, "Policy")
    pattern = re.compile(policy["spec"]["pattern"])
    fixed = {
        name.removeprefix("x-")
        for queue in Topology().queues()
        if pattern.search(queue.name)
        for name in queue.arguments
    }
    assert not policy["spec"]["definition"].keys() & fixed
