"""Actions on dead letters: dry run, then the action with a reason and a rate, its progress, pause and stop."""

from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from worker.console.dead_letters.desk import MAX_RATE, Refused
from worker.console.dead_letters.jobs import Job, Kind
from worker.console.pages.dead_letters import FILTERS, covers, selection_of
from worker.console.visits import Visit, act, page
from worker.console.wording import PHASES, REFUSALS

_MOST_PICKED = 1_000
_MOST_WHY_CHARS = 1_000
_DIGITS = frozenset("0123456789abcdef")


async def _plan(visit: Visit) -> Response:
    """Start a dry run on the letters picked by hand, or else on all that match the filters."""
    try:
        kind = Kind(visit.field("kind") or "")
    except ValueError:
        raise HTTPException(400, "Replay or discard?") from None
    selection = selection_of(visit, {name: visit.field(name) for name in FILTERS})
    if visit.field("scope") == "picked":
        picked = {value for value in visit.form.getlist("digest") if isinstance(value, str) and set(value) <= _DIGITS}
        if not picked or len(picked) > _MOST_PICKED:
            raise Refused("no letter is selected" if not picked else f"at most {_MOST_PICKED} letters are picked")
        selection = replace(selection, digests=frozenset(picked))
    desk = visit.services.dead_letters
    rules = desk.rules(
        resend_uncertain=visit.field("resend_uncertain") is not None,
        force_loop=visit.field("force_loop") is not None,
        resend_forgotten=visit.field("resend_forgotten") is not None,
    )
    job = desk.plan(kind, visit.person.name, selection, rules)
    visit.services.record.note("dead_letters_counted", visit.person, job=job.id, kind=kind.value)
    return visit.see_other(f"/dead-letters/jobs/{job.id}")


async def _show(visit: Visit) -> Response:
    job = _job(visit)
    return visit.render(
        "dead_letter_job.html", job=job, refusals=REFUSALS, phases=PHASES, max_rate=MAX_RATE, filters=_filters(job)
    )


async def _again(visit: Visit) -> Response:
    """Repeat the dry run with other consents."""
    job = _job(visit)
    desk = visit.services.dead_letters
    rules = desk.rules(
        resend_uncertain=visit.field("resend_uncertain") is not None,
        force_loop=visit.field("force_loop") is not None,
        resend_forgotten=visit.field("resend_forgotten") is not None,
    )
    again = desk.plan(job.kind, visit.person.name, job.selection, rules)
    return visit.see_other(f"/dead-letters/jobs/{again.id}")


async def _start(visit: Visit) -> Response:
    job = _job(visit)
    try:
        rate = float(visit.field("rate", 20) or "0")
    except ValueError:
        rate = 0.0
    why = visit.field("why", _MOST_WHY_CHARS) or ""
    visit.services.dead_letters.start(job, visit.person.name, why, rate)
    done = "dead_letters_replayed" if job.kind is Kind.REPLAY else "dead_letters_discarded"
    visit.services.record.note(done, visit.person, job=job.id, why=why, selection=dict(job.words))
    return visit.see_other(f"/dead-letters/jobs/{job.id}")


async def _pause(visit: Visit) -> Response:
    job = _job(visit)
    job.gate.pause()
    return visit.see_other(f"/dead-letters/jobs/{job.id}")


async def _go_on(visit: Visit) -> Response:
    job = _job(visit)
    job.gate.go_on()
    return visit.see_other(f"/dead-letters/jobs/{job.id}")


async def _stop(visit: Visit) -> Response:
    job = _job(visit)
    visit.services.dead_letters.stop(job)
    return visit.see_other(f"/dead-letters/jobs/{job.id}")


def _job(visit: Visit) -> Job:
    """The job in the URL, if the person may see everything it concerns."""
    job = visit.services.dead_letters.jobs.find(visit.request.path_params["job"])
    if job is None or not covers(visit, job.selection.accounts):
        raise HTTPException(404)
    return job


def _filters(job: Job) -> dict[str, str]:
    words = dict(job.words)
    words.pop("accounts", None)
    return words


ROUTES = (
    Route("/dead-letters/jobs", act(_plan), methods=["POST"]),
    Route("/dead-letters/jobs/{job}", page(_show), methods=["GET"]),
    Route("/dead-letters/jobs/{job}/again", act(_again), methods=["POST"]),
    Route("/dead-letters/jobs/{job}/start", act(_start), methods=["POST"]),
    Route("/dead-letters/jobs/{job}/pause", act(_pause), methods=["POST"]),
    Route("/dead-letters/jobs/{job}/continue", act(_go_on), methods=["POST"]),
    Route("/dead-letters/jobs/{job}/stop", act(_stop), methods=["POST"]),
)
