"""`python -m chaos`: the guarantees under faults. Exit code 0 when every one of them held."""

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from chaos.plan import Plan, full, short
from chaos.report import as_json, table
from chaos.run import Run, Servers
from stack import Authority, PostgreSQL, RabbitMQ, private_directory, running
from stack.directory import check_directory
from stack.dovecot import Dovecot


def _plan(arguments: argparse.Namespace) -> Plan:
    sizes = {name: value for name in ("events", "seconds") if (value := getattr(arguments, name)) is not None}
    return (short if arguments.short else full)(arguments.seed, **sizes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: drawn, and printed")
    parser.add_argument("--events", type=int, help="how many events")
    parser.add_argument("--seconds", type=float, help="how long faults happen")
    parser.add_argument("--short", action="store_true", help="one broker node, few events, under a minute")
    parser.add_argument("--directory", type=Path, help="an existing directory in which everything is kept")
    return parser.parse_args()


@asynccontextmanager
async def _servers(plan: Plan, directory: Path) -> AsyncIterator[Servers]:
    authority = Authority(directory / "tls")
    broker = RabbitMQ(directory / "rabbitmq", size=plan.nodes)
    postgresql = PostgreSQL(directory / "postgresql")
    dovecot = Dovecot(directory / "dovecot", authority.issue("dovecot"))
    async with running(broker, postgresql, dovecot):
        yield Servers(broker.nodes, postgresql, dovecot, authority, directory, await postgresql.add_database())


async def _main(plan: Plan, directory: Path) -> int:
    print(f"seed {plan.seed}: {plan.events} events, {plan.nodes} broker nodes, {plan.workers} workers", flush=True)
    async with _servers(plan, directory) as servers:
        outcome = await Run(plan, servers, lambda text: print(text, flush=True)).run()
    print(f"\n{table(outcome.account, outcome.faults)}\n")
    print(as_json(plan, outcome.account, outcome.faults, outcome.extra), flush=True)
    return 1 if outcome.account.problems else 0


def main() -> int:
    """Run, print, and return the exit code."""
    arguments = _arguments()
    for library in ("aiormq", "aio_pika"):  # they tell of every lost connection, and here all are lost on purpose
        logging.getLogger(library).setLevel(logging.CRITICAL)
    with nullcontext(arguments.directory) if arguments.directory else private_directory() as directory:
        check_directory(directory)
        return asyncio.run(_main(_plan(arguments), directory))


if __name__ == "__main__":
    sys.exit(main())
