"""`sendas history`: published results about letters."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from worker.adapters.history import migrate
from worker.addresses import history_of
from worker.app import make_state_dir
from worker.cli.common import print_line, say
from worker.cli.configured import configured
from worker.cli.history_output import as_document, row, timeline
from worker.errors import ConfigurationError
from worker.history.model import InvalidSearch, Page, Record, Search
from worker.history_access import history_from
from worker.operations.dead_letters.filter import moment
from worker.operations.dead_letters.terminal import json_text
from worker.settings import Settings

group = App(name="history", help="What became of letters: keep every published result, show one event's, search.")
# By name: read-only commands do not need the broker's library.
group.command(
    "worker.cli.history_consume:consume",
    name="consume",
    help="Keep published results until SIGTERM: take them from their queue, write them to the history's database.\n\n"
    "Needs SENDAS_HISTORY and a broker with the topology applied; waits for a broker and a database that are away, and "
    "brings the tables up to date. Several may run at a time. No letter waits for it.",
)

AsJson = Annotated[bool, Parameter(name="--json", negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Conditions:
    """What to look for; all conditions that are given must hold.

    Parameters
    ----------
    event_id
        Id of the event that asked for the letter.
    task
        Id of the task.
    comment
        Id of the comment.
    address
        A recipient's, sender's or mailbox's address, whole, however addresses are kept.
    mailbox
        Id of the mailbox.
    account
        Id of the account.
    message_id
        The letter's Message-ID, with its angle brackets.
    type
        Type of the result, such as mail.failed.
    reason
        Why something did not succeed, such as auth_failed.
    since
        Published at this time or later: a time (UTC), or how long ago, such as 2h.
    until
        Published before this time.
    limit
        At most so many, up to 500.
    before
        Go on after a page: what its end says.
    """

    event_id: str | None = None
    task: str | None = None
    comment: str | None = None
    address: str | None = None
    mailbox: str | None = None
    account: str | None = None
    message_id: str | None = None
    type: str | None = None
    reason: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int = 100
    before: str | None = None

    def search(self) -> Search:
        """The conditions, validated. Raises `ConfigurationError` or `InvalidSearch`."""
        return Search(
            event_id=self.event_id,
            task_id=self.task,
            comment_id=self.comment,
            address=self.address,
            mailbox_id=self.mailbox,
            account_id=self.account,
            message_id=self.message_id,
            type=self.type,
            reason=self.reason,
            since=_moment("--since", self.since),
            until=_moment("--until", self.until),
            limit=self.limit,
            before=self.before,
        )


ALL = Conditions()


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else moment(text, datetime.now(UTC))
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None


@group.command(name="migrate")
def migrate_() -> int:
    """Create the history's tables, or bring them up to date; `consume` does so by itself where it may."""
    settings = configured(is_quiet=True)
    make_state_dir(settings)
    asyncio.run(migrate(history_of(settings)))
    print_line("the history is up to date")
    return 0


@group.command
def show(event_id: str, *, as_json: AsJson = False) -> int:
    """Show everything that was published about one event's letters and their copies, the oldest first.

    Exit status 1: the history has nothing about it.

    Parameters
    ----------
    event_id
        The event's `id`.
    as_json
        Print JSON alone.
    """
    story = asyncio.run(_story(configured(is_quiet=True), event_id))
    if as_json:
        print_line(json_text([as_document(record) for record in story]))
    elif not story:
        say("the history has nothing about this event")
    else:
        for line in timeline(story):
            print_line(line)
    return 0 if story else 1


@group.command
def search(conditions: Conditions = ALL, *, as_json: AsJson = False) -> int:
    """List published results that meet all conditions, the newest first.

    Exit status 1: none does.

    Parameters
    ----------
    as_json
        Print JSON alone.
    """
    try:
        page = asyncio.run(_page(configured(is_quiet=True), conditions.search()))
    except InvalidSearch as error:
        raise ConfigurationError(str(error)) from None
    if as_json:
        print_line(json_text({"results": [as_document(record) for record in page.records], "next": page.next}))
    for record in () if as_json else page.records:
        print_line(row(record))
    if page.next is not None and not as_json:
        say(f"there are more: --before {page.next}")
    return 0 if page.records else 1


async def _story(settings: Settings, event_id: str) -> Sequence[Record]:
    async with history_from(settings) as history:
        return await history.story(event_id)


async def _page(settings: Settings, wanted: Search) -> Page:
    async with history_from(settings) as history:
        return await history.search(wanted)
