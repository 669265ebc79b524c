"""`sendas topology`: the exchanges and queues on the broker."""

import asyncio

from cyclopts import App

from worker.adapters.broker.topology import apply_topology, check_topology
from worker.addresses import broker_of
from worker.cli.common import print_line
from worker.cli.configured import configured

group = App(name="topology", help="Exchanges and queues on the broker.")


@group.command
def apply() -> int:
    """Declare what is missing; what is there already stays as it is."""
    settings = configured(is_quiet=True)
    asyncio.run(apply_topology(broker_of(settings), settings.topology))
    print_line(f"declared: {sum(1 for _ in settings.topology.queues())} queues, 2 exchanges")
    return 0


@group.command
def check() -> int:
    """See that everything is there, as this version would declare it. Changes nothing."""
    settings = configured(is_quiet=True)
    asyncio.run(check_topology(broker_of(settings), settings.topology))
    print_line("the topology is as it should be")
    return 0
