"""Mailboxes: what holds them up, one mailbox with its limits, resuming it, and checking it."""

from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from worker.console.dead_letters.desk import Refused
from worker.console.mailboxes import MOST_LISTED
from worker.console.visits import Visit, act, page
from worker.console.wording import STEPS
from worker.delivery.mailboxes.state import MailboxKey

_MOST_WHY_CHARS = 1_000
_MOST_ID_CHARS = 1_000


async def _list(visit: Visit) -> Response:
    account_id = visit.query("account", _MOST_ID_CHARS)
    if account_id is not None and visit.query("mailbox", _MOST_ID_CHARS) is not None:
        return await _mailbox(visit)
    mailboxes = None
    if account_id is not None:
        visit.require_account(account_id)
        account = visit.services.snapshots.directory.account(account_id)
        mailboxes = account.mailboxes if account is not None else ()
    held_up = await visit.services.mailboxes.held_up(visit.person)
    return visit.render("mailboxes.html", held_up=held_up, account_id=account_id, mailboxes=mailboxes, most=MOST_LISTED)


async def _mailbox(visit: Visit) -> Response:
    key = _key(visit, visit.query("account", _MOST_ID_CHARS), visit.query("mailbox", _MOST_ID_CHARS))
    desk = visit.services.mailboxes
    standing, settings = await desk.standing(key), desk.settings(key)
    if settings is None and not standing.is_held_up:
        raise HTTPException(404)
    mailbox, limits = settings if settings is not None else (None, None)
    return visit.render("mailbox.html", standing=standing, mailbox=mailbox, limits=limits)


async def _resume(visit: Visit) -> Response:
    key = _key(visit, visit.field("account", _MOST_ID_CHARS), visit.field("mailbox", _MOST_ID_CHARS))
    why = visit.field("why", _MOST_WHY_CHARS)
    if why is None:
        raise Refused("say why: it is recorded")
    if await visit.services.mailboxes.resume(key, visit.person, why) is None:
        raise Refused("this mailbox is not suspended")
    visit.services.record.note("mailbox_resumed", visit.person, **key._asdict(), why=why)
    return visit.see_other(address_of(key))


async def _check(visit: Visit) -> Response:
    key = _key(visit, visit.field("account", _MOST_ID_CHARS), visit.field("mailbox", _MOST_ID_CHARS))
    await visit.services.snapshots.refresh()  # its password may have just been changed
    settings = visit.services.mailboxes.settings(key)
    if settings is None:
        raise HTTPException(404)
    running = visit.services.checks.start(key, settings[0])
    visit.services.record.note("mailbox_checked", visit.person, **key._asdict(), check=running.id)
    return visit.see_other(f"/mailboxes/checks/{running.id}")


async def _checked(visit: Visit) -> Response:
    running = visit.services.checks.find(visit.request.path_params["check"])
    if running is None or not visit.person.may_see(running.key.account_id):
        raise HTTPException(404)
    return visit.render("mailbox_check.html", check=running, titles=STEPS)


def address_of(key: MailboxKey) -> str:
    """The URL of a mailbox's page."""
    return "/mailboxes?" + urlencode({"account": key.account_id, "mailbox": key.mailbox_id})


def _key(visit: Visit, account_id: str | None, mailbox_id: str | None) -> MailboxKey:
    """The mailbox in the URL, if the person may see its account."""
    if account_id is None or mailbox_id is None:
        raise HTTPException(404)
    visit.require_account(account_id)
    return MailboxKey(account_id, mailbox_id)


ROUTES = (
    Route("/mailboxes", page(_list), methods=["GET"]),
    Route("/mailboxes/resume", act(_resume), methods=["POST"]),
    Route("/mailboxes/checks", act(_check), methods=["POST"]),
    Route("/mailboxes/checks/{check}", page(_checked), methods=["GET"]),
)
