"""The console as a process: what it does when it is told to stop, and when what it needs is away."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from tests.acceptance.command import running_worker
from tests.acceptance.office import Office
from tests.console.desk import PASSWORD, TOPOLOGY, Console, settings_of
from tests.console_setting import Browser

pytestmark = pytest.mark.timeout(300)

_STARTED = "console.started"


@asynccontextmanager
async def an_operator(origin: str) -> AsyncIterator[Browser]:
    """An operator's browser, over the network."""
    async with httpx2.AsyncClient(base_url=origin, follow_redirects=True, timeout=60, trust_env=False) as client:
        browser = Browser(client)
        await browser.sign_in("olga", PASSWORD)
        yield browser


async def shown(browser: Browser, pattern: str) -> re.Match[str]:
    """Load the page again and again until it shows that."""
    async with asyncio.timeout(60):
        while (found := re.search(pattern, browser.text)) is None:
            await browser.get(browser.path)
    return found


async def test_told_to_stop_it_ends_an_act_in_good_order(office: Office) -> None:
    """What went is published with its number, the rest is where it was, and the process ends well."""
    process = running_worker(settings_of(office), command=("console",), starting=_STARTED, until=_STARTED)
    async with office.results() as results:
        async with process as running:
            console = Console(f"http://127.0.0.1:{(await running.says(_STARTED))['port']}", office)
            await console.bury(f"event-{number}" for number in range(100))
            async with an_operator(console.origin) as olga:
                await olga.get("/dead-letters")
                await olga.post("/dead-letters/jobs", {"kind": "replay", "scope": "all"})
                await shown(olga, "Can be replayed: 100")
                await olga.post(f"{olga.path}/start", {"why": "stopped on the way", "rate": "20"})
                await shown(olga, r"(\d\d) of 100 done")
            running.send(signal.SIGTERM)
            assert await running.ended() == 0
        [told] = await results.of_type("dead_letter.replayed")
    count = told["data"]["count"]
    assert 10 <= count < 100
    assert (await console.depth(TOPOLOGY.outbound), await console.depth(TOPOLOGY.dead)) == (count, 100 - count)
    assert told["data"]["operator"] == "olga"


async def test_its_health_and_metrics_have_a_port_of_their_own(office: Office) -> None:
    async with running_worker(settings_of(office), command=("console",), starting=_STARTED, until=_STARTED) as running:
        pages = f"http://127.0.0.1:{(await running.says(_STARTED))['port']}"
        async with an_operator(pages) as olga, httpx2.AsyncClient(trust_env=False) as scraper:
            health = f"http://127.0.0.1:{running.port}"
            assert (await scraper.get(f"{health}/readyz")).text == "ok\n"
            metrics = (await scraper.get(f"{health}/metrics")).text
            assert "sendas_console_sessions 1.0" in metrics
            assert 'sendas_console_sign_ins_total{outcome="good"} 1.0' in metrics
            assert (await olga.get("/metrics")).status_code == 404
        await running.stop()


async def test_a_broker_that_is_away_leaves_the_other_pages(office: Office) -> None:
    """If the broker does not answer, then letters and mailboxes can be seen, and dead letters say why not."""
    settings = settings_of(office, {"SENDAS_BROKER_URL": "amqp://guest:guest@127.0.0.1:1/"})
    async with running_worker(settings, command=("console",), starting=_STARTED, until=_STARTED) as running:
        async with an_operator(f"http://127.0.0.1:{(await running.says(_STARTED))['port']}") as olga:
            for path in ("/", "/letters?q=1", "/mailboxes"):
                assert (await olga.get(path)).status_code == 200
            await olga.get("/snapshot")
            await shown(olga, "Accounts 1")  # a moment later, when it has been compiled
            await olga.get("/dead-letters")
            await shown(olga, "the broker does not answer")
        await running.stop()


async def test_logs_have_no_secret(office: Office) -> None:
    """If somebody signs in and acts, then neither their password nor a token of theirs is in the log."""
    async with running_worker(settings_of(office), command=("console",), starting=_STARTED, until=_STARTED) as running:
        async with an_operator(f"http://127.0.0.1:{(await running.says(_STARTED))['port']}") as olga:
            await olga.get("/dead-letters")
            token, cookie = olga.token, olga.client.cookies["sendas_session"]
            await olga.post("/dead-letters/export")
        await running.stop()
        log = "\n".join(running.lines)
    for secret in (PASSWORD, token, cookie, *(mailbox.password for mailbox in office.mailboxes)):
        assert secret not in log
    acts = [json.loads(line) for line in running.lines if '"console.act"' in line]
    assert [(act["act"], act["person"]) for act in acts] == [("dead_letters_exported", "olga")]
