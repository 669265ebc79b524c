"""The worker's start: it waits for what may come, and ends with one clear line for what only a person can mend."""

import asyncio
from collections.abc import Mapping

import aio_pika
from yarl import URL

from stack.ports import free_ports
from tests.acceptance.command import running_worker, sendas
from tests.acceptance.gate import Gate
from tests.acceptance.office import Office
from worker.domain.topology import Topology


async def test_worker_waits_for_a_broker_that_is_not_there_yet(office: Office) -> None:
    """It says where it looks and that it waits, and works when the broker has come."""
    url = URL(office.broker_url)
    [port] = free_ports(1)
    settings = {**office.settings, "SENDAS_BROKER_URL": str(url.with_port(port))}
    async with office.results() as results, running_worker(settings, until="broker.waiting") as worker:
        said = await worker.says("broker.waiting")
        assert said["broker"] == f"127.0.0.1:{port}{url.path}"
        async with Gate(url.port or 0, port):
            await worker.says("worker.started")
            await office.publish([office.event()])
            await results.of_type("mail.sent")
            await worker.stop()


async def test_worker_can_be_stopped_while_it_waits_for_the_broker(office: Office) -> None:
    """An orchestrator that changes its mind need not wait, nor kill."""
    [port] = free_ports(1)
    settings = {**office.settings, "SENDAS_BROKER_URL": f"amqp://127.0.0.1:{port}/"}
    async with running_worker(settings, until="broker.waiting") as worker:
        await worker.stop()


async def test_worker_waits_for_a_snapshot_that_is_not_there_yet(office: Office) -> None:
    """It works as soon as the file appears; meanwhile the letters wait in the queue."""
    office.snapshot.unlink()
    async with office.results() as results, running_worker(office.settings, until="snapshot.refresh_failed") as worker:
        await office.publish([office.event()])
        office.write_snapshot()
        await results.of_type("mail.sent")
        await worker.stop()


async def test_wrong_setting_ends_the_start_with_one_line_that_names_it(office: Office) -> None:
    """Exit status 2, one line, no traceback; whether the model finds out, a file, the broker or the system."""
    taken = URL(office.broker_url).port
    wrong = {
        "SENDAS_BROKER_URL": f"amqp://nobody:wrong@127.0.0.1:{taken}/",
        "SENDAS_CONCURRENCY": "0",
        "SENDAS_EGRESS_ALLOW": "everything",
        "SENDAS_DNS_SERVER": "ns.example",
        "SENDAS_SEALING_KEYS_FILE": "/nowhere/keys",
        "SENDAS_TLS_CA_FILE": "/nowhere/ca.pem",
        "SENDAS_STATE_DIR": "/proc/nowhere",
        "SENDAS_HTTP_PORT": str(taken),
    }
    await asyncio.gather(*(_refuses({**office.settings, name: value}, name) for name, value in wrong.items()))


async def test_missing_topology_ends_the_start_with_one_line(bare_office: Office) -> None:
    """The line says which command makes it."""
    assert "sendas topology apply" in await _refuses(bare_office.settings, "product.events")


async def test_queue_with_other_arguments_ends_the_start_with_one_line(bare_office: Office) -> None:
    """Nobody's queue is deleted or declared anew in silence, neither by the worker nor by `topology apply`."""
    queue = Topology().outbound
    async with await aio_pika.connect(bare_office.broker_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True)
    applied = await sendas("topology", "apply", settings=bare_office.settings)
    assert applied.status == 2
    assert queue in applied.errors
    await _refuses(bare_office.settings, f"queue {queue}")


async def _refuses(settings: Mapping[str, str], named: str) -> str:
    """The one line with which `sendas run` ends at once."""
    ended = await sendas("run", settings=settings)
    lines = [line for line in ended.errors.splitlines() if not line.startswith("{")]  # but for its log
    assert ended.status == 2, ended.errors
    assert len(lines) == 1, ended.errors
    assert lines[0].startswith("sendas: ")
    assert named in lines[0]
    assert "Traceback" not in ended.errors
    assert "wrong@" not in ended.errors
    return lines[0]


async def test_a_name_that_servers_may_refuse_in_ehlo_is_warned_of_at_the_start(office: Office) -> None:
    """A container's own name is no domain: the operator learns it before a server refuses it."""
    settings = {**office.settings, "SENDAS_LOCAL_HOSTNAME": "25aea30808b2"}
    async with running_worker(settings) as worker:
        warning = await worker.says("settings.local_hostname_no_domain")
        assert (warning["level"], warning["name"]) == ("warning", "25aea30808b2")
        assert "SENDAS_LOCAL_HOSTNAME" in warning["problem"]
        await worker.stop()


async def test_a_public_name_is_not_warned_of(office: Office) -> None:
    async with running_worker(office.settings) as worker:
        await worker.says("worker.started")
        assert not [line for line in worker.said() if line.get("event") == "settings.local_hostname_no_domain"]
        await worker.stop()
