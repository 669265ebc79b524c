"""The faulty network in front of mail servers: seeded faults for some of the connections."""

from collections.abc import Callable

from chaos.faults import Faults
from chaos.plan import Plan
from stack.fault_proxy import Fault, FaultKind, FaultProxy

_PROBABILITY = {"smtp": 0.12, "imap": 0.6}
# An IMAP session is kept for many copies. What goes up is mostly letters, so most cuts meet an APPEND in its middle.
_MOST_BYTES = {"smtp": 12_000, "imap": 10_000}
_KINDS = (*FaultKind, FaultKind.CUT)
_LEAST_BYTES = 300


def faulty_network(plan: Plan, name: str, protocol: str, target: int, faults: Faults) -> FaultProxy:
    """A proxy whose n-th connection has the same fate in every run with the same seed."""

    def happened(fault: Fault) -> None:
        faults.happened(f"network.{protocol}_{fault.kind.value}")

    return FaultProxy(target, draw=_draws(plan, name, protocol, faults), happened=happened)


def _draws(plan: Plan, name: str, protocol: str, faults: Faults) -> Callable[[], Fault | None]:
    connections = 0

    def draw() -> Fault | None:
        nonlocal connections
        connections += 1
        dice = plan.random("network", name, connections)
        if not faults.is_on or dice.random() >= _PROBABILITY[protocol]:
            return None
        return Fault(
            kind=dice.choice(_KINDS),
            is_upstream=dice.random() < 0.7,
            after_bytes=dice.randint(_LEAST_BYTES, _MOST_BYTES[protocol]),
            seconds=dice.uniform(1, 5),
        )

    return draw
