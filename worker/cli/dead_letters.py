"""`sendas dead-letters`: what nobody could read or handle, and what an operator does about it."""

import asyncio
import getpass
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from cyclopts import App, Parameter
from prometheus_client import CollectorRegistry

from worker.adapters.broker.dead_queue import AmqpDeadQueue, open_dead_queue
from worker.adapters.broker.publisher import Publisher
from worker.adapters.clock import SystemClock
from worker.cli.dead_letters_output import Outcome, Spool, progress_bar, show_outcome
from worker.cli.output import print_json, print_line, say
from worker.errors import ConfigurationError, SendasError
from worker.operations.dead_letters import DeadLetter
from worker.operations.dead_letters_acting import Campaign, Deed, Tally
from worker.operations.dead_letters_deeds import ActEvent, Auditor, Discard, Order, Replay
from worker.operations.dead_letters_file import to_line
from worker.operations.dead_letters_importing import Filed, Imported, put_all_back, read_filed
from worker.operations.dead_letters_looking import look
from worker.operations.dead_letters_queue import DeadMessage, Publish
from worker.operations.dead_letters_replay import MAX_REPLAYS, ReplayRules
from worker.operations.dead_letters_selection import Census, Selection, moment
from worker.operations.dead_letters_shown import (
    census_document,
    census_text,
    row,
    row_document,
    whole_document,
    whole_text,
)
from worker.running import background
from worker.settings import Settings, load_settings
from worker.telemetry.logging import configure_logging
from worker.telemetry.metrics import Metrics

group = App(name="dead-letters", help="Messages that nobody could read or handle.")

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
# A single hyphen is standard input or output here, not an option.
File = Annotated[str, Parameter(allow_leading_hyphen=True)]
Flag = Annotated[bool, Parameter(negative="")]


def register(app: App) -> None:
    """Add the commands."""
    app.command(group)


@Parameter(name="*")
@dataclass(frozen=True)
class Filters:
    """Which letters; all filters that are given must match.

    Parameters
    ----------
    type
        Type of the event, such as comment.created.
    reason
        Why it died, such as invalid_event, or the broker's word, such as delivery_limit.
    account
        Id of the account.
    mailbox
        Id of the mailbox that the event or the copy names.
    since
        Died at this time or later: a time (UTC), or how long ago, such as 2h.
    until
        Died before this time.
    text
        Found in the event's id, the task's id, the detail or an address.
    event_id
        Id of the event.
    replay_id
        Was replayed in the replay of this id, and died again.
    limit
        At most so many.
    """

    type: str | None = None
    reason: str | None = None
    account: str | None = None
    mailbox: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None
    event_id: str | None = None
    replay_id: str | None = None
    limit: int | None = None

    def selection(self) -> Selection:
        """The filters, checked. Raises `ConfigurationError`."""
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError("--limit: at least 1")
        return Selection(
            type=self.type,
            reason=self.reason,
            account=self.account,
            mailbox=self.mailbox,
            since=_moment("--since", self.since),
            until=_moment("--until", self.until),
            text=self.text,
            event_id=self.event_id,
            replay_id=self.replay_id,
        )


_ALL = Filters()


@group.command(name="list")
def list_(*, filters: Filters = _ALL, as_json: AsJson = False) -> int:
    """List dead letters, one a line, the oldest first; with --json one object a line. Nothing is taken away."""
    with Spool() as spool:

        def show(_: DeadMessage, letter: DeadLetter) -> None:
            spool.write(json.dumps(row_document(letter), ensure_ascii=False) if as_json else row(letter))

        count = _look(filters, show)
        spool.print_all()
    return 0 if count else 1


@group.command
def stats(*, filters: Filters = _ALL, as_json: AsJson = False) -> int:
    """Count dead letters by reason, account and type."""
    census = Census()
    _look(filters, lambda _, letter: census.add(letter))
    if as_json:
        print_json(census_document(census))
    else:
        print_line(census_text(census))
    return 0 if census.total else 1


@group.command
def show(event_id: str, *, as_json: AsJson = False) -> int:
    """Show everything of an event's dead letters. That includes the body: a customer's own words.

    Parameters
    ----------
    event_id
        The event's id.
    as_json
        Print JSON alone, one object a line.
    """
    with Spool() as spool:

        def show_one(message: DeadMessage, letter: DeadLetter) -> None:
            if as_json:
                spool.write(json.dumps(whole_document(message, letter), ensure_ascii=False))
            else:
                spool.write(whole_text(message, letter) + "\n")

        count = _look(Filters(event_id=event_id), show_one)
        spool.print_all()
    return 0 if count else 1


@group.command
def replay(
    *,
    filters: Filters = _ALL,
    why: str | None = None,
    operator: str | None = None,
    rate: float = 100.0,
    resend_uncertain: Flag = False,
    force_loop: Flag = False,
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
        Also send again what may have been accepted already: THE RECIPIENT MAY GET IT TWICE.
    force_loop
        Also replay what was replayed three times already.
    yes
        Do it.
    dry_run
        Only say what would be done, even with --yes.
    as_json
        Print JSON alone.
    """
    if not 0 <= rate <= 1_000_000:
        raise ConfigurationError("--rate: messages per second, or 0 for no limit")
    order = _order(filters, why, operator, is_meant=yes and not dry_run)
    settings = _settings()
    rules = ReplayRules(resend_uncertain=resend_uncertain, force_loop=force_loop, max_replays=MAX_REPLAYS)

    def deed(publish: Publish) -> Replay:
        return Replay(publish, settings.topology, rules, order.id, SystemClock())

    outcome = asyncio.run(_act(settings, deed, Replay.event, order, rate, is_rehearsal=not yes or dry_run))
    return show_outcome(outcome, "replayed", as_json=as_json)


@group.command
def discard(
    *,
    filters: Filters = _ALL,
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
    order = _order(filters, why, operator, is_meant=yes and not dry_run)
    deed = Discard()
    is_rehearsal = not yes or dry_run
    outcome = asyncio.run(_act(_settings(), lambda _: deed, Discard.event, order, 0.0, is_rehearsal=is_rehearsal))
    return show_outcome(outcome, "discarded", as_json=as_json)


@group.command
def export(file: File, *, filters: Filters = _ALL, as_json: AsJson = False) -> int:
    """Write dead letters, complete, into a file of JSON lines. They stay in the queue.

    Parameters
    ----------
    file
        Where to; - is standard output. It holds customers' words and addresses.
    as_json
        Print JSON alone.
    """
    with Spool(None if file == "-" else Path(file)) as spool:
        count = _look(filters, lambda message, _: spool.write(to_line(message)))
        spool.print_all()
    if as_json and file != "-":
        print_json({"exported": count, "file": file})
    else:
        say(f"exported {count} dead letters")
    return 0 if count else 1


@group.command(name="import")
def import_(file: File, *, as_json: AsJson = False) -> int:
    """Put exported dead letters back into the dead queue. Those that are there already are left out.

    Parameters
    ----------
    file
        A file that `export` wrote; - is standard input.
    as_json
        Print JSON alone.
    """
    settings = _settings()
    with read_filed(file) as filed:
        imported = asyncio.run(_put_back(settings, filed))
    if as_json:
        print_json({"read": imported.read, "imported": imported.new, "already_there": imported.read - imported.new})
    else:
        say(f"imported {imported.new} of {imported.read} dead letters; the others are in the queue already")
    return 0


def _settings() -> Settings:
    settings = load_settings()
    configure_logging("WARNING" if settings.log_level == "INFO" else settings.log_level)
    return settings


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else moment(text, datetime.now(UTC))
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None


def _order(filters: Filters, why: str | None, operator: str | None, *, is_meant: bool) -> Order:
    selection = filters.selection()
    if is_meant and not (why and why.strip()):
        raise ConfigurationError("--why: say why, for those who ask later")
    return Order(str(uuid4()), operator or _user(), why or "", selection, filters.limit)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"


def _look(filters: Filters, see: Callable[[DeadMessage, DeadLetter], None]) -> int:
    selection = filters.selection()
    settings = _settings()

    async def run() -> int:
        async with _queue(settings) as queue:
            return await look(queue, selection, filters.limit, see)

    return asyncio.run(run())


@asynccontextmanager
async def _queue(settings: Settings) -> AsyncIterator[AmqpDeadQueue]:
    async with open_dead_queue(settings.broker_url.get_secret_value(), settings.topology.dead) as queue:
        yield queue


@asynccontextmanager
async def _publisher(settings: Settings) -> AsyncIterator[Publish]:
    url, metrics = settings.broker_url.get_secret_value(), Metrics(CollectorRegistry())
    publisher = Publisher(url, metrics, max_bytes=settings.max_message_bytes, name="sendas-dead-letters-publisher")
    async with background(publisher.run()):
        yield publisher.publish


async def _act(
    settings: Settings,
    deed: Callable[[Publish], Deed],
    event: ActEvent,
    order: Order,
    rate: float,
    *,
    is_rehearsal: bool,
) -> Outcome:
    clock = SystemClock()
    async with _queue(settings) as queue, _publisher(settings) as publish:
        with progress_bar(await queue.size()) as on_progress:
            campaign = Campaign(
                queue,
                deed(publish),
                order.selection,
                clock,
                limit=order.limit,
                per_s=rate,
                on_progress=on_progress,
            )
            auditor = Auditor(publish, settings.topology, settings.source, clock)
            job = campaign.rehearse() if is_rehearsal else auditor.carry_out(campaign, event, order)
            problem = await _unless_told_to_stop(job)
    return Outcome(order.id, campaign.tally, problem, is_rehearsal)


async def _unless_told_to_stop(job: Awaitable[Tally]) -> str | None:
    """Run a job; None, or what ended it before its end. The first signal ends it in good order."""
    task = asyncio.ensure_future(job)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return "interrupted"
    except SendasError as error:
        return str(error)
    return None


async def _put_back(settings: Settings, filed: Filed) -> Imported:
    async with _queue(settings) as queue, _publisher(settings) as publish:
        return await put_all_back(queue, publish, settings.topology.dead, filed)
