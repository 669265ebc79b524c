"""`sendas dead-letters`: inspect, replay and discard messages that could not be read or handled."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from worker.adapters.clock import SystemClock
from worker.cli.common import print_json, print_line, say
from worker.cli.configured import configured
from worker.cli.dead_letters_options import ALL, Filters, order_of
from worker.cli.dead_letters_session import Outcome, Spool, act, look_through, put_back, show_outcome, trust
from worker.errors import ConfigurationError
from worker.operations.dead_letters.actions import Discard, Replay
from worker.operations.dead_letters.export import to_line
from worker.operations.dead_letters.filter import FacetCounts
from worker.operations.dead_letters.format import (
    census_document,
    census_text,
    row,
    row_document,
    whole_document,
    whole_text,
)
from worker.operations.dead_letters.importing import read_filed
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.queue import DeadMessage, Publish
from worker.operations.dead_letters.replay_rules import MAX_REPLAYS, ReplayRules
from worker.operations.dead_letters.terminal import json_line

group = App(name="dead-letters", help="Messages that nobody could read or handle.")

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
# A single hyphen means standard input or output here, not an option.
File = Annotated[str, Parameter(allow_leading_hyphen=True)]
Flag = Annotated[bool, Parameter(negative="")]


@group.command(name="list")
def list_(*, filters: Filters = ALL, as_json: AsJson = False) -> int:
    """List dead letters, one a line, the oldest first; with --json one object a line. Nothing is taken away."""
    with Spool() as spool:

        def show(_: DeadMessage, letter: DeadLetter) -> None:
            spool.write(json_line(row_document(letter)) if as_json else row(letter))

        look_through(filters, show)
        spool.print_all()
    return 0


@group.command
def stats(*, filters: Filters = ALL, as_json: AsJson = False) -> int:
    """Count dead letters by reason, account, type, mailbox, queue and worker's error."""
    census = FacetCounts()
    look_through(filters, lambda _, letter: census.add(letter))
    if as_json:
        print_json(census_document(census))
    else:
        print_line(census_text(census))
    return 0


@group.command
def show(event_id: str | None = None, /, *, filters: Filters = ALL, as_json: AsJson = False) -> int:
    """Show everything of dead letters. That includes the body: a customer's own words.

    Parameters
    ----------
    event_id
        The event's id. A letter without a readable one is found by the other filters, such as --position or --digest.
    as_json
        Print JSON alone, one object a line.
    """
    if event_id is not None:
        if filters.event_id not in (None, event_id):
            raise ConfigurationError("two event ids are given")
        filters = replace(filters, event_id=event_id)
    if filters == ALL:
        raise ConfigurationError("which? give an event's id, or filters such as --position, --digest or --reason")
    with Spool() as spool:

        def show_one(message: DeadMessage, letter: DeadLetter) -> None:
            if as_json:
                spool.write(json_line(whole_document(message, letter)))
            else:
                spool.write(whole_text(message, letter) + "\n")

        count = look_through(filters, show_one)
        spool.print_all()
    return 0 if count else 1


@group.command
def replay(
    *,
    filters: Filters = ALL,
    why: str | None = None,
    operator: str | None = None,
    rate: float = 100.0,
    resend_uncertain: Flag = False,
    force_loop: Flag = False,
    resend_forgotten: Flag = False,
    yes: Flag = False,
    dry_run: Flag = False,
    as_json: AsJson = False,
) -> int:
    """Send dead letters back to the queue they died in, to be tried again.

    Without --yes this only says how many can go, and how many cannot and why.

    Parameters
    ----------
    why
        Why, for the audit event; needed with --yes.
    operator
        Who, for the audit event; the user of the operating system when it is left out.
    rate
        At most so many a second; 0: as fast as the broker takes them.
    resend_uncertain
        Also replay letters that were handed over without an answer: whoever got them already gets them twice.
    force_loop
        Also replay what was replayed three times already.
    resend_forgotten
        Also replay what is older than the ledger's memory: whoever got it already gets it again.
    yes
        Do it.
    dry_run
        Only say what would be done, even with --yes.
    as_json
        Print JSON alone.
    """
    if not 0 <= rate <= 1_000_000:
        raise ConfigurationError("--rate: messages per second, or 0 for no limit")
    settings = configured(is_quiet=True)
    rules = ReplayRules(
        resend_uncertain=resend_uncertain,
        force_loop=force_loop,
        resend_forgotten=resend_forgotten,
        max_replays=MAX_REPLAYS,
        remembered_since=SystemClock().now() - timedelta(days=settings.ledger_retention_days),
    )
    order = order_of(filters, why, operator, rules.consents(), is_meant=yes and not dry_run)

    async def run() -> Outcome:
        async with trust(settings) as (signatures, consents):

            def deed(publish: Publish) -> Replay:
                return Replay(publish, settings.topology, rules, order.id, SystemClock(), signatures, consents)

            return await act(settings, deed, Replay.event, order, rate, is_rehearsal=not yes or dry_run)

    return show_outcome(asyncio.run(run()), "replayed", as_json=as_json)


@group.command
def discard(
    *,
    filters: Filters = ALL,
    why: str | None = None,
    operator: str | None = None,
    yes: Flag = False,
    dry_run: Flag = False,
    as_json: AsJson = False,
) -> int:
    """Drop dead letters for good. Without --yes this only says how many. Consider `export` first.

    Parameters
    ----------
    why
        Why, for the audit event; needed with --yes.
    operator
        Who, for the audit event; the user of the operating system when it is left out.
    yes
        Do it.
    dry_run
        Only say what would be done, even with --yes.
    as_json
        Print JSON alone.
    """
    order = order_of(filters, why, operator, (), is_meant=yes and not dry_run)
    deed = Discard()
    is_rehearsal = not yes or dry_run
    outcome = asyncio.run(
        act(configured(is_quiet=True), lambda _: deed, Discard.event, order, 0.0, is_rehearsal=is_rehearsal)
    )
    return show_outcome(outcome, "discarded", as_json=as_json)


@group.command
def export(file: File, *, filters: Filters = ALL, as_json: AsJson = False) -> int:
    """Write dead letters, complete, into a file of JSON lines. They stay in the queue.

    Parameters
    ----------
    file
        Where to; - is standard output. It holds customers' words and addresses.
    as_json
        Print JSON alone.
    """
    with Spool(None if file == "-" else Path(file)) as spool:
        count = look_through(filters, lambda message, _: spool.write(to_line(message)))
        spool.print_all()
    if as_json and file != "-":
        print_json({"exported": count, "file": file})
    else:
        say(f"exported {count} dead letters")
    return 0


@group.command(name="import")
def import_(file: File, *, as_json: AsJson = False) -> int:
    """Put exported dead letters back into the dead queue, each as often as the file has it and the queue does not.

    Parameters
    ----------
    file
        A file that `export` wrote; - is standard input.
    as_json
        Print JSON alone.
    """
    settings = configured(is_quiet=True)
    with read_filed(file) as filed:
        imported, problem = asyncio.run(put_back(settings, filed))
    if as_json:
        print_json({"read": imported.read, "imported": imported.new, "already_there": imported.already_there})
    else:
        there = f"; {imported.already_there} are in the queue already" if imported.already_there else ""
        say(f"imported {imported.new} of {imported.read} dead letters{there}")
    if problem:
        say(f"sendas: {problem}; the same import can be repeated")
    return 1 if problem else 0
