"""Language and time zone, stored in the browser."""

from starlette.responses import Response
from starlette.routing import Route

from worker.console.languages import COOKIE as LANGUAGE
from worker.console.languages import NAMES
from worker.console.security import own_path
from worker.console.times import COOKIE as ZONE
from worker.console.times import zone_named, zones
from worker.console.visits import Visit, page, set_preference, signed_form


async def _form(visit: Visit) -> Response:
    return visit.render("preferences.html", zones=zones(), next=own_path(visit.query("next", 2_000)))


async def _choose(visit: Visit) -> Response:
    response = visit.see_other(own_path(visit.field("next", 2_000)))
    language, zone = visit.field("language"), visit.field("zone")
    if language is not None and language in NAMES:
        set_preference(visit.request, response, LANGUAGE, language)
    if zone is not None and zone_named(zone).name == zone:
        set_preference(visit.request, response, ZONE, zone)
    return response


ROUTES = (
    Route("/preferences", page(_form), methods=["GET"]),
    Route("/preferences", signed_form(_choose), methods=["POST"]),
)
