"""Nothing is lost and nothing is sent twice when the worker is told to stop, or killed, in the middle of its work."""

import asyncio
import signal
from collections import Counter

from tests.acceptance.command import RunningWorker, running_worker
from tests.acceptance.office import Json, Office, Results

EVENTS = 100
# So that most events still wait when the signal comes, and that one worker cannot take all before another is there.
FEW_AT_A_TIME = {"SENDAS_CONCURRENCY": "8"}


def _final(results: list[Json]) -> Counter[str]:
    """How many different final results each event has."""
    distinct = {result["id"]: result for result in results if result["type"] in ("mail.sent", "mail.failed")}
    return Counter(result["data"]["event_id"] for result in distinct.values())


async def _in_the_middle(results: Results) -> None:
    await results.of_type("mail.sent", 10)
    assert len(_final(results.all)) < EVENTS, "all was done before the signal came"


def _asked_for() -> dict[str, int]:
    return {f"event-{number}": 1 for number in range(EVENTS)}


async def _finish(office: Office, results: Results) -> RunningWorker:
    """Let another worker do the rest."""
    async with running_worker(office.settings) as worker:
        await results.wait(lambda found: len(_final(found)) == EVENTS)
        await worker.stop()
    return worker


async def test_worker_told_to_stop_under_load_loses_nothing_and_sends_nothing_twice(office: Office) -> None:
    """SIGTERM: what is in flight is finished or given back, the exit status is 0, another worker does the rest."""
    async with office.results() as results:
        async with running_worker({**office.settings, **FEW_AT_A_TIME}) as worker:
            await office.publish(office.event(number) for number in range(EVENTS))
            await _in_the_middle(results)
            await worker.stop()
            await worker.says("worker.stopped")
        done_by_first = len(_final(results.all))
        await _finish(office, results)

    assert 10 <= done_by_first < EVENTS
    assert _final(results.all) == _asked_for()
    assert not [result for result in results.all if result["type"] == "mail.uncertain"]
    assert await office.subjects_received() == {f"Re: Task {number}": 1 for number in range(EVENTS)}


async def test_worker_killed_under_load_loses_nothing_and_hides_no_doubt(office: Office) -> None:
    """SIGKILL: every letter arrives; one that arrives twice was in the window that SMTP leaves open, and is told of."""
    # What a dead worker had claimed is free after its lease.
    settings = {**office.settings, **FEW_AT_A_TIME, "SENDAS_LEDGER_LEASE_S": "1"}
    async with office.results() as results:
        async with running_worker(settings) as worker:
            await office.publish(office.event(number) for number in range(EVENTS))
            await _in_the_middle(results)
            worker.send(signal.SIGKILL)
            assert await worker.ended() == -signal.SIGKILL
        await _finish(office, results)

    assert _final(results.all) == _asked_for()
    uncertain = Counter(result["data"]["event_id"] for result in results.all if result["type"] == "mail.uncertain")
    received = await office.subjects_received()
    for number in range(EVENTS):
        copies = received[f"Re: Task {number}"]
        assert copies == 1 or (copies == 2 and uncertain[f"event-{number}"]), f"letter {number} arrived {copies} times"
    assert set(received) == {f"Re: Task {number}" for number in range(EVENTS)}


async def test_repeated_event_gives_the_same_result_and_one_letter(office: Office) -> None:
    """An event published twice, in one worker's life and in the next one's: one letter, one result id."""
    event = office.event()
    async with office.results() as results:
        async with running_worker(office.settings) as worker:
            for repetition in (1, 2):
                await office.publish([event])
                await results.of_type("mail.sent", repetition)
            await worker.stop()
        async with running_worker(office.settings) as worker:
            await office.publish([event])
            await results.of_type("mail.sent", 3)
            await worker.stop()
    sent = [result for result in results.all if result["type"] == "mail.sent"]
    assert len(sent) == 3
    assert sent[0] == sent[1] == sent[2]
    assert await office.subjects_received() == {"Re: Task 1": 1}


async def test_two_workers_with_one_queue_share_it(office: Office) -> None:
    """Two workers on one host share broker and ledger; each letter leaves once, whoever sends it."""
    async with (
        office.results() as results,
        running_worker({**office.settings, **FEW_AT_A_TIME}) as first,
        running_worker({**office.settings, **FEW_AT_A_TIME}) as second,
    ):
        await office.publish(office.event(number) for number in range(EVENTS))
        await results.wait(lambda found: len(_final(found)) == EVENTS)
        await asyncio.gather(first.stop(), second.stop())
    assert await office.subjects_received() == {f"Re: Task {number}": 1 for number in range(EVENTS)}
    for worker in (first, second):
        assert any(said["event"] == "mail.sent" for said in worker.said())
