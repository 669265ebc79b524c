"""`sendas config`: is the configuration as it should be?"""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from worker.cli.inputs import read_snapshot
from worker.cli.output import print_json, print_line
from worker.domain.advice import advice

group = App(name="config", help="Is the configuration as it should be?")


@group.command
def check(snapshot: Path, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """Say what is wrong with a configuration snapshot, account by account, and what would be better.

    Accounts with problems are left out by the worker, and their letters wait; advice changes nothing.

    Parameters
    ----------
    snapshot
        A configuration snapshot (JSON).
    as_json
        Print JSON alone.
    """
    directory = read_snapshot(snapshot)
    problems = directory.problems(limit=100_000)
    advised = [
        (account.id, text)
        for account_id in directory.account_ids()
        if (account := directory.account(account_id)) is not None
        for text in advice(account)
    ]
    if as_json:
        print_json(
            {
                "version": directory.version,
                "accounts": directory.accounts,
                "left_out": directory.left_out,
                "problems": [{"account_id": p.account_id, "path": p.path, "message": p.message} for p in problems],
                "advice": [{"account_id": account_id, "message": text} for account_id, text in advised],
            }
        )
    else:
        for problem in problems:
            print_line(f"problem: {problem}")
        for account_id, text in advised:
            print_line(f"advice: account {account_id}: {text}")
        print_line(f"version {directory.version}: {directory.accounts} accounts, {directory.left_out} left out")
    return 1 if problems else 0
