"""Which sender an event's letter would get under the current snapshot, and why. Sends nothing and opens no secret."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from worker.console.stories import Chapter, chapters
from worker.console.visits import Visit, page, signed_form
from worker.domain.events.cloudevents import STRUCTURED, parse
from worker.domain.events.models import CommentCreated, TaskCreated
from worker.domain.snapshot.resolution import resolve
from worker.errors import InvalidEvent

_MOST_CHARS = 256 * 1024


async def _form(visit: Visit) -> Response:
    """The form; with an event id, also the sender chosen when its letter was sent."""
    event_id = visit.query("event", 5_000)
    decided = await _decided(visit, event_id) if event_id is not None else None
    return visit.render(
        "explain.html", text="", problem=None, resolution=None, decided=decided, now=_now(visit, decided)
    )


async def _decided(visit: Visit, event_id: str) -> Chapter | None:
    """The last decision about an event in the history."""
    if visit.services.history is None:
        return None
    records = await visit.services.history.story(event_id, visit.person.accounts)
    found = [chapter for chapter in chapters(records, visit.language.code) if chapter.explanation]
    if not records:
        raise HTTPException(404)
    return found[-1] if found else None


def _now(visit: Visit, decided: Chapter | None) -> dict[str, str]:
    """What the current snapshot says about the mailboxes that were considered."""
    account_id = decided.record.account_id if decided is not None else None
    if decided is None or account_id is None:
        return {}
    account = visit.services.snapshots.directory.account(account_id)
    known = {mailbox.id: mailbox.active for mailbox in account.mailboxes} if account is not None else {}
    words = {True: "active", False: "switched off", None: "not in the snapshot"}
    asked = [seen.mailbox_id for seen in decided.explanation if seen.mailbox_id is not None]
    return {mailbox_id: words[known.get(mailbox_id)] for mailbox_id in asked}


async def _explain(visit: Visit) -> Response:
    text = visit.field("event", _MOST_CHARS) or ""
    try:
        event = await asyncio.to_thread(parse, {}, STRUCTURED, text.encode("utf-8", "surrogatepass"))
    except InvalidEvent as error:
        return _answer(visit, text, str(error))
    data = event.data
    if not isinstance(data, CommentCreated | TaskCreated):
        return _answer(visit, text, "the event asks for no letter")
    if not visit.person.may_see(data.account_id):
        return _answer(visit, text, "you have no access to this account")
    directory = visit.services.snapshots.directory
    resolution = resolve(directory.account(data.account_id), data, visit.services.clock.now())
    return visit.render(
        "explain.html", text=text, problem=None, resolution=resolution, version=directory.version, data=data,
        decided=None, now={},
    )  # fmt: skip


def _answer(visit: Visit, text: str, problem: str) -> Response:
    return visit.render("explain.html", status=400, text=text, problem=problem, resolution=None, decided=None, now={})


ROUTES = (
    Route("/explain", page(_form), methods=["GET"]),
    Route("/explain", signed_form(_explain), methods=["POST"]),
)
