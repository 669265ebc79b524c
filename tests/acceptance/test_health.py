"""What orchestrators and dashboards are told: alive, ready or not and why, and the metrics."""

import asyncio
import signal

import aiohttp
from yarl import URL

from stack import RabbitMQ
from stack.ports import free_ports
from tests.acceptance.command import PATIENCE_S, running_worker, sendas
from tests.acceptance.gate import Gate
from tests.acceptance.office import Office

_POLL_S = 0.05


class Probes:
    """Asks a worker's health port, as an orchestrator would."""

    def __init__(self, session: aiohttp.ClientSession, port: int | None) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}"

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and text."""
        async with self._session.get(self._url + path) as response:
            return response.status, await response.text()

    async def until(self, path: str, status: int, words: str) -> str:
        """Ask until the answer has this status and words; gives the text."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = await self.ask(path)
                if answer[0] == status and words in answer[1]:
                    return answer[1]
                # The port can only be asked, it tells nothing by itself; an orchestrator asks the same way.
                await asyncio.sleep(_POLL_S)

    async def readiness(self, status: int, words: str) -> str:
        """Ask until readiness has this status and words; gives the text."""
        return await self.until("/readyz", status, words)


async def test_health_endpoints_tell_each_phase_of_a_life(office: Office) -> None:
    """Starting, working, without a broker, working again: always alive, and ready only when it can work."""
    url = URL(office.broker_url)
    [port] = free_ports(1)
    settings = {**office.settings, "SENDAS_BROKER_URL": str(url.with_port(port))}
    async with (
        aiohttp.ClientSession() as session,
        running_worker(settings, until="broker.waiting") as worker,
        Gate(url.port or 0, port) as gate,
    ):
        await gate.shut()
        probes = Probes(session, worker.port)
        assert await probes.ask("/livez") == (200, "ok\n")
        assert "waiting for the broker" in await probes.readiness(503, "worker")

        await gate.open()
        await probes.readiness(200, "ok")

        await gate.shut()
        await probes.readiness(503, "not connected to the broker")
        await probes.readiness(503, "sendas.outbound: not consuming")  # each connection notices by itself
        assert await probes.ask("/livez") == (200, "ok\n")

        await gate.open()
        await probes.readiness(200, "ok")
        await worker.stop()


async def test_a_ledger_that_is_away_is_told_within_seconds(office: Office, database_url: str) -> None:
    """If the ledger does not answer, at the start or later, then the worker is alive and says why it is not ready."""
    migrated = await sendas("ledger", "migrate", settings={"SENDAS_LEDGER_URL": database_url})
    assert migrated.status == 0, migrated.errors
    url = URL(database_url)
    [port] = free_ports(1)
    settings = {**office.settings, "SENDAS_LEDGER_URL": str(url.with_port(port))}
    async with (
        aiohttp.ClientSession() as session,
        running_worker(settings, until="ledger.waiting") as worker,
        Gate(url.port or 0, port) as gate,
    ):
        await gate.shut()
        probes = Probes(session, worker.port)
        assert "waiting for the ledger" in await probes.readiness(503, "worker")
        assert await probes.ask("/livez") == (200, "ok\n")

        await gate.open()
        await probes.readiness(200, "ok")

        await gate.shut()
        await probes.readiness(503, "ledger: ")
        assert (await probes.ask("/readyz"))[1].count("\n") == 1  # nothing else is wrong
        assert 'sendas_readiness_condition{condition="ledger"} 0.0' in (await probes.ask("/metrics"))[1]
        assert await probes.ask("/livez") == (200, "ok\n")

        await gate.open()
        await probes.readiness(200, "ok")
        await worker.stop()


async def test_a_worker_without_any_snapshot_is_not_ready(office: Office) -> None:
    """If no snapshot was ever loaded, then the worker says so; when one comes, it is ready, and stays so without it."""
    office.snapshot.rename(hidden := office.directory / "hidden.json")
    async with (
        aiohttp.ClientSession() as session,
        running_worker(office.settings, until="snapshot.refresh_failed") as worker,
    ):
        probes = Probes(session, worker.port)
        await probes.readiness(503, "worker: waiting for the first configuration snapshot")
        assert "sendas_ready 0.0" in (await probes.ask("/metrics"))[1]
        hidden.rename(office.snapshot)
        await probes.readiness(200, "ok")
        office.snapshot.unlink()
        await probes.until("/metrics", 200, 'sendas_snapshot_refreshes_total{outcome="unavailable"} ')
        assert await probes.ask("/readyz") == (200, "ok\n")
        await worker.stop()


async def test_a_broker_that_takes_nothing_is_told(office: Office, rabbitmq: RabbitMQ) -> None:
    """If an alarm of the broker blocks publishers, then the worker says that its results are not taken."""
    async with (
        aiohttp.ClientSession() as session,
        office.results() as results,
        running_worker(office.settings) as worker,
    ):
        probes = Probes(session, worker.port)
        await probes.readiness(200, "ok")
        office.mail.postfix.suspend()  # so that the alarm comes between the event and its result
        try:
            await office.publish([office.event()])
            await probes.until("/metrics", 200, 'sendas_in_flight{queue="sendas.outbound"} 1.0')
            await rabbitmq.first.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
            office.mail.postfix.resume()
            await probes.readiness(503, "publisher: the broker has not confirmed a message for")
            assert await probes.ask("/livez") == (200, "ok\n")
        finally:
            office.mail.postfix.resume()
            await rabbitmq.first.ctl("set_vm_memory_high_watermark", "0.4")
        await results.of_type("mail.sent")
        await probes.readiness(200, "ok")
        await worker.stop()


async def test_draining_worker_is_alive_and_not_ready(office: Office) -> None:
    """A worker that finishes its last letter says so until its end: nobody sends it traffic or kills it."""
    async with (
        aiohttp.ClientSession() as session,
        office.results() as results,
        running_worker(office.settings) as worker,
    ):
        probes = Probes(session, worker.port)
        await probes.readiness(200, "ok")
        office.mail.postfix.suspend()  # the letter in flight cannot be finished yet
        try:
            await office.publish([office.event()])
            await probes.until("/metrics", 200, 'sendas_in_flight{queue="sendas.outbound"} 1.0')
            worker.send(signal.SIGTERM)
            assert "draining" in await probes.readiness(503, "worker")
            assert await probes.ask("/livez") == (200, "ok\n")
        finally:
            office.mail.postfix.resume()
        assert await worker.ended() == 0
        await results.of_type("mail.sent")
    assert await office.subjects_received() == {"Re: Task 1": 1}


async def test_metrics_tell_of_work_and_name_no_person(office: Office) -> None:
    """Metrics follow a letter, and hold no address and no account."""
    async with (
        aiohttp.ClientSession() as session,
        office.results() as results,
        running_worker(office.settings) as worker,
    ):
        await office.publish([office.event()])
        await results.of_type("sent_copy.skipped")
        status, text = await Probes(session, worker.port).ask("/metrics")
        await worker.stop()
    assert status == 200
    assert "sendas_smtp_connections_opened_total 1.0" in text
    for private in ("acme", "@", "ivan", "mailbox-1"):
        assert private not in text
