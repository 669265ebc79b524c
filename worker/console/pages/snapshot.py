"""The current configuration snapshot: version, age, accounts left out, and advice on one account."""

from starlette.responses import Response
from starlette.routing import Route

from worker.console.visits import Visit, page
from worker.domain.snapshot.lint import advice

_MOST_PROBLEMS = 1_000
_MOST_ID_CHARS = 1_000


async def _snapshot(visit: Visit) -> Response:
    directory = visit.services.snapshots.directory
    problems = [each for each in directory.problems(_MOST_PROBLEMS) if visit.person.may_see(each.account_id)]
    account_id = visit.query("account", _MOST_ID_CHARS)
    account = None
    if account_id is not None:
        visit.require_account(account_id)
        account = directory.account(account_id)
    return visit.render(
        "snapshot.html",
        directory=directory,
        age_s=visit.services.snapshots.age_s,
        is_whole=visit.person.accounts is None,
        problems=problems,
        most=_MOST_PROBLEMS,
        account_id=account_id,
        account=account,
        is_left_out=account_id is not None and directory.is_left_out(account_id),
        advice=list(advice(account, visit.services.mailboxes.most_connections)) if account is not None else (),
    )


ROUTES = (Route("/snapshot", page(_snapshot), methods=["GET"]),)
