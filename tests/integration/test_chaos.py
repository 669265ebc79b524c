"""The short form of `make chaos`: the guarantees hold while everything around the workers breaks."""

import secrets

import pytest

from chaos.plan import short
from chaos.report import as_json, table
from chaos.run import Run, Servers
from stack import Authority, MailServer, PostgreSQL, RabbitMQ, private_directory

SEED = 20261123


@pytest.mark.timeout(240)  # bounded waits inside; on a busy machine starting again takes its time
async def test_if_servers_and_workers_fail_then_every_letter_is_accounted_for(
    rabbitmq: RabbitMQ, postgresql: PostgreSQL, mail: MailServer, authority: Authority
) -> None:
    vhost = f"chaos-{secrets.token_hex(4)}"
    await rabbitmq.first.add_vhost(vhost)
    plan = short(SEED)
    try:
        with private_directory() as directory:
            servers = Servers(
                nodes=rabbitmq.nodes,
                postgresql=postgresql,
                dovecot=mail.dovecot,
                authority=authority,
                directory=directory,
                ledger_url=await postgresql.add_database(),
                vhost=vhost,
            )
            outcome = await Run(plan, servers, print).run()
    finally:
        await rabbitmq.first.delete_vhost(vhost)

    print(
        table(outcome.account, outcome.faults), as_json(plan, outcome.account, outcome.faults, outcome.extra), sep="\n"
    )
    assert outcome.account.problems == {}
    assert outcome.account.accepted > plan.events * 0.9
    assert {"broker.kill", "worker.kill", "network.reset"} <= outcome.faults.keys()
    assert outcome.extra["worker_ends"] == []
