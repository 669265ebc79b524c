"""A new version takes over from the old one under load: no letter twice, none missing, and no gap."""

import asyncio
import json
import signal
from collections import Counter

from stack.scripted_smtp import ScriptedSmtpServer
from tests.acceptance.command import running_worker, sendas
from tests.acceptance.office import Json, Office
from tests.integration.test_ledger_upgrade import migrate_as_a_later_version_would
from worker.adapters.ledger import migrate

WAVE = 60  # more than a worker holds at a time, so that each one finds and leaves letters
COPIES = ("sent_copy.saved", "sent_copy.skipped", "sent_copy.failed")
FEW_AT_A_TIME = {"SENDAS_CONCURRENCY": "8"}
# The last letter of the old worker is answered when the test says so; the others are finished or given back before.
SLOW = "once dot: accept, hold, 250 2.0.0 ok"
SLOW_LETTER = 3 + 4 * 1_000  # of the mailbox whose server is the slow one


def with_a_slow_server(office: Office, port: int) -> None:
    """The last mailbox has a server that does as its script says; all others save copies to Sent."""
    office.write_snapshot(copies="always")
    document = json.loads(office.snapshot.read_text())
    slow = document["accounts"][0]["mailboxes"][3]
    slow["smtp"] = {"host": "localhost", "port": port, "security": "none", "auth": {"method": "none"}}
    slow["sent_copy"] = {"mode": "never", "imap": None}
    office.snapshot.write_text(json.dumps(document))


def numbers(first: int) -> list[int]:
    """A wave of events, none of the slow server's."""
    return [number for number in range(first, first + WAVE) if number % 4 != 3]


def of_events(results: list[Json], *types: str) -> Counter[str]:
    """How many different results of these types each event has."""
    distinct = {result["id"]: result["data"]["event_id"] for result in results if result["type"] in types}
    return Counter(distinct.values())


async def test_a_new_version_takes_over_under_load(office: Office, database_url: str) -> None:
    """Migrated, applied, rolled: the old worker may take minutes for its last letter, and nobody waits for it.

    While it still waits for its server's answer, everything else is sent by the new one, also what the old one had
    taken and gave back; what it waited for then leaves no doubt.
    """
    settings = {
        **office.settings,
        **FEW_AT_A_TIME,
        "SENDAS_LEDGER_URL": database_url,
        "SENDAS_DRAIN_S": "0.2",
        "SENDAS_DRAIN_ANSWERS_S": "600",
    }
    await migrate(database_url)
    async with ScriptedSmtpServer(SLOW, extensions=()) as slow, office.results() as results:
        with_a_slow_server(office, slow.port)
        async with running_worker(settings) as old:
            await office.publish([office.event(SLOW_LETTER)])
            await slow.until(lambda: bool(slow.letters))
            await office.publish(map(office.event, numbers(0)))

            await migrate_as_a_later_version_would(database_url)
            assert (await sendas("topology", "apply", settings=settings)).status == 0
            async with running_worker(settings) as new:
                await office.publish(map(office.event, numbers(100)))
                old.send(signal.SIGTERM)
                await old.says("worker.draining")
                await office.publish(map(office.event, numbers(200)))
                events = {f"event-{number}" for first in (0, 100, 200) for number in numbers(first)}
                await results.wait(lambda found: of_events(found, "mail.sent").keys() >= events)
                await results.wait(lambda found: of_events(found, *COPIES).keys() >= events)
                assert not old.has_ended
                slow.release.set()
                assert await old.ended() == 0
                await results.wait(lambda found: f"event-{SLOW_LETTER}" in of_events(found, "mail.sent"))
                await new.stop()

    everything = events | {f"event-{SLOW_LETTER}"}
    assert of_events(results.all, "mail.sent") == dict.fromkeys(everything, 1)
    assert of_events(results.all, *COPIES) == dict.fromkeys(everything, 1)
    others = [each for each in results.all if each["type"] not in ("mail.sent", *COPIES)]
    assert others == []
    assert len(slow.letters) == 1
    received = await office.subjects_received()
    assert received == {f"Re: Task {number}": 1 for first in (0, 100, 200) for number in numbers(first)}
    for worker in (old, new):
        assert any(said["event"] == "mail.sent" for said in worker.said())


async def test_the_old_version_goes_on_beside_a_new_ledger_and_can_be_started_again(
    office: Office, database_url: str
) -> None:
    """While a version rolls out, pods of the one before are started too: to scale, after a crash, after a rollback."""
    settings = {**office.settings, "SENDAS_LEDGER_URL": database_url}
    await migrate(database_url)
    async with office.results() as results:
        async with running_worker(settings) as running:
            await migrate_as_a_later_version_would(database_url)
            async with running_worker(settings) as started:
                await office.publish(map(office.event, range(WAVE)))
                await results.wait(lambda found: len(of_events(found, "mail.sent")) == WAVE)
                await asyncio.gather(running.stop(), started.stop())
        migrated = await sendas("ledger", "migrate", settings=settings)
        assert (migrated.status, migrated.errors) == (0, "")
    assert await office.subjects_received() == {f"Re: Task {number}": 1 for number in range(WAVE)}
