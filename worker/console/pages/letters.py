"""Letters: search in the history, and the story of one event."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from worker.console.stories import chapters, what_next
from worker.console.visits import Visit, page
from worker.console.wording import TONES
from worker.domain.vocabulary import Reason, ResultType
from worker.history.model import Page, Search
from worker.history.port import History

KEYS: Mapping[str, str] = {
    "event_id": "Event",
    "task_id": "Task",
    "comment_id": "Comment",
    "address": "Address",
    "mailbox_id": "Mailbox",
    "account_id": "Account",
    "message_id": "Message-ID",
}
"""What letters can be searched by: fields of `Search`, with their names for people."""

_PAGE = 50


async def _search(visit: Visit) -> Response:
    history = visit.services.history
    if history is None:
        return visit.render("history_off.html")
    key, value = visit.query("by") or "event_id", visit.query("q")
    filters = {name: visit.query(name) for name in ("type", "reason", "since", "until")}
    search = _asked(visit, key if key in KEYS else "event_id", value, filters)
    found = await _found(history, search) if value or any(filters.values()) else None
    return visit.render(
        "letters.html",
        keys=KEYS,
        key=key,
        value=value or "",
        filters=filters,
        types=[each.value for each in ResultType],
        reasons=[each.value for each in Reason],
        found=found,
        tones=TONES,
    )


def _asked(visit: Visit, key: str, value: str | None, filters: Mapping[str, str | None]) -> Search:
    search = Search(
        type=filters["type"],
        reason=filters["reason"],
        since=_moment(visit, filters["since"]),
        until=_moment(visit, filters["until"]),
        accounts=visit.person.accounts,
        limit=_PAGE,
        before=visit.query("before"),
    )
    return replace(search, **{key: value})  # type: ignore[arg-type]  # a string, for one of the fields in KEYS


async def _found(history: History, search: Search) -> Page:
    return await history.search(search)


def _moment(visit: Visit, text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = visit.zone.read(text)
    if moment is None:
        raise HTTPException(400, "A time is written like 2026-11-23 10:00.")
    return moment


async def _story(visit: Visit) -> Response:
    history, event_id = visit.services.history, visit.query("event", 5_000)
    if history is None:
        return visit.render("history_off.html")
    if event_id is None:
        raise HTTPException(404)
    records = await history.story(event_id, visit.person.accounts)
    if not records:
        raise HTTPException(404)
    return visit.render(
        "story.html",
        event_id=event_id,
        first=records[0],
        mailbox_id=next((record.mailbox_id for record in reversed(records) if record.mailbox_id), None),
        chapters=chapters(records, visit.language.code),
        next=what_next(records),
    )


ROUTES = (
    Route("/letters", page(_search), methods=["GET"]),
    Route("/letters/story", page(_story), methods=["GET"]),
)
