"""What a run does, as data that follow from a seed: its size, and when which fault happens."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Plan:
    """The size of a run. `seconds` is how long faults happen; starting and healing come on top of it.

    `mischief` multiplies how probable the faults of mail servers are: a short run needs more of them.
    """

    seed: int
    events: int
    seconds: float
    nodes: int = 3
    workers: int = 2
    mailboxes: int = 12
    settle_s: float = 240.0
    lease_s: float = 5.0
    mischief: float = 1.0

    def random(self, *names: object) -> Random:
        """Randomness of one part of the run, independent of all others."""
        return Random("/".join(map(str, (self.seed, *names))))


def full(seed: int, events: int = 2_500, seconds: float = 160.0) -> Plan:
    """The run of `make chaos`."""
    return Plan(seed, events, seconds)


def short(seed: int, events: int = 150, seconds: float = 16.0) -> Plan:
    """The run of the tests: one broker node."""
    return Plan(seed, events, seconds, nodes=1, mailboxes=6, settle_s=120.0, lease_s=4.0, mischief=2.5)


@dataclass(frozen=True)
class Act:
    """One fault: when it begins, what it is, whom it meets (an index), and for how long."""

    at_s: float
    kind: str
    target: int
    seconds: float


def schedule(plan: Plan) -> dict[str, list[Act]]:
    """All acts, by whom they meet. Those of one kind of server follow one another and never overlap."""
    return {
        "broker": list(_broker(plan)),
        "database": list(_database(plan)),
        "snapshot": list(_snapshot(plan)),
        "worker": list(_workers(plan)),
        "network": list(_network(plan)),
    }


def _broker(plan: Plan) -> Iterator[Act]:
    """Nodes are killed in turn; before the next, the one before has to be back."""
    draw = plan.random("broker")
    first = draw.randrange(plan.nodes)
    at_s, number = plan.seconds * 0.15, 0
    while at_s < plan.seconds:
        yield Act(at_s, "kill", (first + number) % plan.nodes, draw.uniform(0.5, 5.0))
        number += 1
        at_s += max(draw.uniform(18, 26), plan.seconds * 0.1)


def _database(plan: Plan) -> Iterator[Act]:
    draw = plan.random("database")
    at_s, kinds = plan.seconds * draw.uniform(0.3, 0.4), _in_turn(draw, "kill", "restart")
    while at_s < plan.seconds:
        yield Act(at_s, next(kinds), 0, draw.uniform(0.2, 3.0))
        at_s += draw.uniform(20, 35)


def _snapshot(plan: Plan) -> Iterator[Act]:
    draw = plan.random("snapshot")
    kinds = _in_turn(draw, "gone", "old", "garbage", "broken_account", "error", "other_schema")
    at_s = plan.seconds * 0.1
    while at_s < plan.seconds:
        lasts_s = draw.uniform(2, 5)
        yield Act(at_s, next(kinds), 0, lasts_s)
        at_s += lasts_s + draw.uniform(1, 6)


def _workers(plan: Plan) -> Iterator[Act]:
    draw = plan.random("worker")
    kinds = _in_turn(draw, "kill", "freeze", "kill", "term", "kill")
    at_s = min(plan.seconds * 0.2, 8.0)
    while at_s < plan.seconds:
        kind = next(kinds)
        lasts_s = plan.lease_s + draw.uniform(1, 4) if kind == "freeze" else draw.uniform(0, 1.5)
        yield Act(at_s, kind, draw.randrange(plan.workers), lasts_s)
        at_s += lasts_s + draw.uniform(4, 10)


def _network(plan: Plan) -> Iterator[Act]:
    draw = plan.random("network")
    at_s = plan.seconds * draw.uniform(0.5, 0.6)
    while at_s < plan.seconds:
        yield Act(at_s, "reset", 0, 0)
        at_s += draw.uniform(25, 45)


def _in_turn(draw: Random, *kinds: str) -> Iterator[str]:
    """Every kind once in a drawn order, then all over again: so that none is left out by chance."""
    while True:
        yield from draw.sample(kinds, len(kinds))
