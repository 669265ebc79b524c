"""Queues and bindings, as data."""

from worker.domain.topology import Topology
from worker.domain.vocabulary import ResultType

TOPOLOGY = Topology()
QUEUES = {queue.name: queue.arguments for queue in TOPOLOGY.queues()}


def test_the_names_are_those_that_others_rely_on() -> None:
    assert {"sendas.outbound", "sendas.outbound.delay.30s", "sendas.sent-copy", "sendas.dead"} <= set(QUEUES)


def test_two_installations_with_their_prefixes_share_no_queue() -> None:
    other = {queue.name for queue in Topology("blue").queues()}
    assert other.isdisjoint(QUEUES)


def test_every_queue_is_a_quorum_queue_that_never_vanishes() -> None:
    assert all(arguments["x-queue-type"] == "quorum" for arguments in QUEUES.values())
    assert not any("x-expires" in arguments for arguments in QUEUES.values())


def test_a_delay_queue_goes_straight_back_to_its_work_queue_and_loses_nothing() -> None:
    """At-least-once dead-lettering is silently at-most-once without reject-publish."""
    delays = {name: arguments for name, arguments in QUEUES.items() if ".delay." in name}
    assert len(delays) == 27
    for name, arguments in delays.items():
        assert arguments["x-dead-letter-routing-key"] == name.partition(".delay.")[0]
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"


def test_work_queues_die_into_the_dead_queue_only_and_the_dead_queue_keeps_what_is_looked_at() -> None:
    """A work queue that dead-letters into a delay queue makes a cycle, which the broker drops."""
    for name in TOPOLOGY.work_queues:
        assert QUEUES[name]["x-dead-letter-routing-key"] == TOPOLOGY.dead
        assert QUEUES[name]["x-delivery-limit"] == 20
    assert int(QUEUES[TOPOLOGY.dead]["x-delivery-limit"]) > 10**6
    assert "x-dead-letter-exchange" not in QUEUES[TOPOLOGY.dead]


def test_targets_of_dead_lettering_are_declared_before_those_that_refer_to_them() -> None:
    seen: set[str] = set()
    for queue in TOPOLOGY.queues():
        target = queue.arguments.get("x-dead-letter-routing-key")
        assert target is None or target in seen
        seen.add(queue.name)


def test_the_queue_of_the_history_cannot_fill_the_broker_nor_refuse_a_result() -> None:
    """If a history is away for long, then the oldest results go: a queue that refused new ones would stop letters."""
    arguments = QUEUES[TOPOLOGY.history]
    assert arguments["x-overflow"] == "drop-head"
    assert arguments["x-max-length-bytes"] == 2_000_000_000
    assert "x-dead-letter-exchange" not in arguments
    assert int(arguments["x-delivery-limit"]) > 10**6
    assert TOPOLOGY.kind(TOPOLOGY.history) == "history"
    assert TOPOLOGY.history not in TOPOLOGY.work_queues


def test_results_come_into_the_history_only_where_there_is_one() -> None:
    """If the history is off, then nothing is bound to its queue, and what was bound before is taken away."""
    on, off = Topology(has_history=True), Topology(has_history=False)
    of_history = {binding for binding in on.bindings() if binding.queue == on.history}
    assert {binding.routing_key for binding in of_history} == set(ResultType)
    assert {binding.exchange for binding in of_history} == {on.results_exchange}
    assert not of_history & set(off.bindings())
    assert set(off.unwanted_bindings()) == of_history
    assert not set(on.unwanted_bindings())


def test_requests_for_checks_wait_for_moments_only() -> None:
    """A failed check is not tried again by itself; what waits has not begun, and somebody waits for the answer."""
    assert TOPOLOGY.mailbox_check in QUEUES
    waits_s = [TOPOLOGY.delay_s(name) or 0 for name in QUEUES if name.startswith(f"{TOPOLOGY.mailbox_check}.")]
    assert waits_s == [5, 30, 120]
    bound = {binding.routing_key: binding.queue for binding in TOPOLOGY.bindings()}
    assert bound["mailbox.check.requested"] == TOPOLOGY.mailbox_check
