"""Dead letters: the list with its facets, a single letter with its body, and the export."""

import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import IO

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from worker.console.visits import Visit, act, page, signed_form
from worker.console.wording import FACETS
from worker.domain.addresses import masked
from worker.operations.dead_letters.digest import DIGEST_CHARS
from worker.operations.dead_letters.export import to_line
from worker.operations.dead_letters.filter import Selection, moment
from worker.operations.dead_letters.format import whole_text

_PAGE = 50
_MOST_PAGES = 100_000
_CHUNK_BYTES = 256 * 1024
_SHOWN_CHARS = 200_000

FILTERS = (*FACETS, "since", "until", "text", "event_id", "replay_id")
"""Names of filters in URLs and forms; these are fields of `Selection`."""


def selection_of(visit: Visit, given: Mapping[str, str | None]) -> Selection:
    """Convert filters to a selection within the person's accounts. Raises `HTTPException`."""
    values: dict[str, str | None] = {name: given.get(name) for name in FILTERS if name not in ("since", "until")}
    since, until = (_moment(visit, given.get(name)) for name in ("since", "until"))
    return Selection(**values, since=since, until=until, accounts=visit.person.accounts)  # type: ignore[arg-type]


def _moment(visit: Visit, text: str | None) -> datetime | None:
    """As on the command line, except that a time without a zone is in the viewer's."""
    if text is None:
        return None
    try:
        return visit.zone.read(text) or moment(text, datetime.now(UTC))
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


async def _list(visit: Visit) -> Response:
    filters = {name: visit.query(name) for name in FILTERS}
    number = visit.query("page", 10) or "1"
    number_ = min(int(number), _MOST_PAGES) if number.isdecimal() and int(number) > 0 else 1
    desk = visit.services.dead_letters
    shown = await desk.board.show(selection_of(visit, filters), (number_ - 1) * _PAGE, _PAGE)
    return visit.render(
        "dead_letters.html",
        shown=shown,
        filters=filters,
        given={name: value for name, value in filters.items() if value},
        facets=FACETS,
        page=number_,
        pages=-(-shown.census.total // _PAGE),
        jobs=[job for job in desk.jobs.latest() if covers(visit, job.selection.accounts)][:5],
        masked=masked,
        is_seen=shown.look.at is not None,
    )


def covers(visit: Visit, accounts: frozenset[str] | None) -> bool:
    """Whether the person may see everything that an action on these accounts concerns."""
    own = visit.person.accounts
    return own is None or (accounts is not None and accounts <= own)


async def _look_again(visit: Visit) -> Response:
    visit.services.dead_letters.board.forget()
    return visit.see_other("/dead-letters")


async def _letter(visit: Visit) -> Response:
    digest = _digest(visit.query("digest"))
    selection = Selection(digest=digest, accounts=visit.person.accounts)
    shown = await visit.services.dead_letters.board.show(selection, 0, 1)
    if not shown.letters:
        raise HTTPException(404)
    return visit.render("dead_letter.html", letter=shown.letters[0], masked=masked, body=None)


async def _body(visit: Visit) -> Response:
    """The complete letter with its body: a customer's own words, so the record notes who saw them."""
    digest = _digest(visit.field("digest"))
    found = await visit.services.dead_letters.find(Selection(digest=digest, accounts=visit.person.accounts))
    if found is None:
        raise HTTPException(404)
    message, letter = found
    about = {"digest": letter.digest, "event_id": letter.event_id, "account_id": letter.account_id}
    visit.services.record.note("body_shown", visit.person, **about)
    text = whole_text(message, letter)
    return visit.render("dead_letter.html", letter=letter, masked=masked, body=text[:_SHOWN_CHARS])


def _digest(text: str | None) -> str:
    if text is None or len(text) != DIGEST_CHARS or not set(text) <= set("0123456789abcdef"):
        raise HTTPException(404)
    return text


async def _export(visit: Visit) -> Response:
    filters = {name: visit.field(name) for name in FILTERS}
    selection = selection_of(visit, filters)
    file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed once it has been sent
    try:
        count = await visit.services.dead_letters.look(
            selection, None, lambda message, _: _write(file, to_line(message))
        )
    except BaseException:
        file.close()
        raise
    visit.services.record.note("dead_letters_exported", visit.person, count=count, selection=selection.words())
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    headers = {
        "content-disposition": 'attachment; filename="dead-letters.jsonl"',
        "content-length": str(size),
    }
    return StreamingResponse(_read(file), 200, headers, "application/jsonl", BackgroundTask(file.close))


def _write(file: IO[bytes], line: str) -> None:
    file.write(line.encode() + b"\n")


async def _read(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


ROUTES = (
    Route("/dead-letters", page(_list), methods=["GET"]),
    Route("/dead-letters/look", signed_form(_look_again), methods=["POST"]),
    Route("/dead-letters/letter", page(_letter), methods=["GET"]),
    Route("/dead-letters/body", act(_body), methods=["POST"]),
    Route("/dead-letters/export", act(_export), methods=["POST"]),
)
