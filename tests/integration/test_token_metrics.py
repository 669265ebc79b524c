"""What is told of access tokens: what came of each renewal, and when the next one ends."""

from contextlib import suppress

from aiohttp import web

from tests.integration.test_oauth import P, world
from worker.errors import TokenRefused, Unavailable


async def test_renewals_and_the_nearest_end_are_told() -> None:
    """If tokens are renewed, refused or cannot be had, each is told; and of their ends, the nearest that matters."""
    async with world() as w:
        refreshed: list[str] = []
        w.source._refreshed = refreshed.append
        assert w.source.expiries_s() == {}
        await w.token()
        assert w.source.expiries_s() == {"ok": 3_600}

        w.clock.step(3_400)  # in the last minutes it is renewed without making anybody wait
        w.server.answers = [web.Response(status=503)] * 3
        assert await w.token() == "at-1"
        await w.renewals()
        assert w.source.expiries_s() == {"failing": 200}

        w.environment[P + "OTHER"] = "rt-unknown"
        with suppress(TokenRefused):
            await w.token(w.auth("OTHER"))
        w.clock.step(31)  # the pause after a failure
        await w.token()
        await w.renewals()
        assert w.source.expiries_s() == {"ok": 3_600}
        assert refreshed == ["renewed", "unavailable", "refused", "renewed"]


async def test_a_token_that_is_over_is_not_told_of() -> None:
    """If a mailbox sends nothing any more, then its token ends and nobody is woken for it."""
    async with world() as w:
        await w.token()
        w.clock.step(3_600)
        assert w.source.expiries_s() == {}
        w.server.answers = [web.Response(status=503)] * 3
        with suppress(Unavailable):
            await w.token()
        assert w.source.expiries_s() == {}
