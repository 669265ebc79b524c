"""The topology as resources of RabbitMQ's topology operator: `python -m deploy.topology_resources` writes the file.

Exchanges are left out. The operator deletes an exchange together with its resource and knows no retaining, and the
events' exchange is the product's own; `sendas topology apply` declares them where they are missing. The history's queue
is bound: where SENDAS_HISTORY is off, leave these bindings out, as nothing takes from it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from worker.domain.topology import BindingSpec, QueueSpec, Topology

FILE = Path(__file__).parent / "k8s/components/rabbitmq-topology-operator/topology.yaml"
API_VERSION = "rabbitmq.com/v1beta1"
CLUSTER = {"name": "rabbitmq", "namespace": "rabbitmq"}

_HEAD = "# Written by `python -m deploy.topology_resources` from worker/domain/topology.py: change it there.\n"

Resource = dict[str, object]


def topology_resources(topology: Topology) -> Iterator[Resource]:
    """One resource per queue and binding."""
    for queue in topology.queues():
        yield _resource("Queue", queue.name, _queue(queue))
    for binding in topology.bindings():
        yield _resource("Binding", f"{binding.queue}.{binding.routing_key}", _binding(binding))


def rendered(topology: Topology) -> str:
    """The text of the file."""
    return _HEAD + yaml.safe_dump_all(topology_resources(topology), sort_keys=False, width=120)


def _resource(kind: str, name: str, spec: Resource) -> Resource:
    metadata = {"name": name.replace(".", "-")}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _queue(queue: QueueSpec) -> Resource:
    # The operator makes the argument x-queue-type of `type` itself.
    arguments = {name: value for name, value in queue.arguments.items() if name != "x-queue-type"}
    return {
        "name": queue.name,
        "type": queue.arguments["x-queue-type"],
        "durable": True,
        "arguments": arguments,
        "deletionPolicy": "retain",  # by default the queue goes with its resource, and all its messages
        "rabbitmqClusterReference": dict(CLUSTER),
    }


def _binding(binding: BindingSpec) -> Resource:
    return {
        "source": binding.exchange,
        "destination": binding.queue,
        "destinationType": "queue",
        "routingKey": binding.routing_key,
        "rabbitmqClusterReference": dict(CLUSTER),
    }


if __name__ == "__main__":
    FILE.write_text(rendered(Topology(has_history=True)), "utf-8")
    sys.exit(0)
