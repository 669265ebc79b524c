"""The console in a real browser, over a real broker, ledger, history and mail server."""

import asyncio
import json
import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance.command import running_worker
from tests.acceptance.office import Office
from tests.console.browser import Window, window
from tests.console.desk import PASSWORD, TOPOLOGY, Console, settings_of, worker_settings

# Chromium, a worker and two more processes start for a test, on a machine that may be busy.
pytestmark = pytest.mark.timeout(400)

PAGES = ("/", "/letters", "/dead-letters", "/mailboxes", "/mailboxes?account=acme&mailbox=mailbox-1", "/explain",
         "/snapshot?account=acme", "/preferences")  # fmt: skip


async def test_a_search_leads_to_a_timeline(office: Office, console: Console, olga: Window) -> None:
    """A letter that really left is found by its task, with who sent it and why, and its copy in Sent."""
    office.write_snapshot(copies="always", version=2)
    settings = settings_of(office)
    page = olga.page
    consumer = running_worker(
        settings, command=("history", "consume"), starting="history.starting", until="history.consuming"
    )
    async with running_worker(worker_settings(office)), consumer, office.results() as results:
        await office.publish([office.event(1)])
        await results.of_type("mail.sent")
        await results.of_type("sent_copy.saved")
        await olga.go("/letters?by=task_id&q=t-1")
        found = page.get_by_role("link", name="event-1").first
        await _until_there(page, found.count)
    await found.click()
    await expect(page.get_by_role("heading", name="A letter's story")).to_be_visible()
    await expect(page.get_by_role("heading", name="Accepted by the mail server")).to_be_visible()
    await expect(page.get_by_role("heading", name="Copy saved to Sent")).to_be_visible()
    await expect(page.get_by_text(office.mailboxes[1].address).first).to_be_visible()
    await page.get_by_text("Why this sender").click()
    await expect(page.get_by_role("cell", name="The author's choice")).to_be_visible()
    assert await olga.violations() == []
    await page.get_by_role("link", name="Compare with the snapshot in use").click()
    await expect(page.get_by_role("cell", name="active")).to_be_visible()
    assert await olga.violations() == []


async def _until_there(page: Page, count: object) -> None:
    """Look again and again until something is on the page: the history is written a moment later."""
    async with asyncio.timeout(60):
        while not await count():  # type: ignore[operator]
            await page.reload()


async def test_a_replay_of_200_letters_is_watched_and_stopped_half_way(console: Console, olga: Window) -> None:
    """What went is in the work queue, what did not go is where it was, and nothing is in both or in none."""
    await console.bury([f"event-{number}" for number in range(200)])
    page = olga.page
    await olga.go("/dead-letters")
    await expect(page.get_by_text("all 200 matching letters")).to_be_visible()
    assert await olga.violations() == []
    await page.get_by_role("button", name="Replay…").click()
    await expect(page.get_by_text("Can be replayed: 200")).to_be_visible()
    assert await olga.violations() == []
    await page.get_by_label("Why").fill("the template is repaired")
    await page.get_by_label("Letters a second").fill("10")
    await page.get_by_role("button", name="Replay now").click()
    state = page.locator(".state")
    await expect(state).to_have_text(re.compile(r"([4-9]\d|1\d\d) of 200 done"))
    assert await olga.violations() == []
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_text("Paused")).to_be_visible()
    await page.get_by_role("button", name="Continue").click()
    await expect(state).to_have_text(re.compile(r"In progress\s+([6-9]\d|1\d\d) of 200 done"))
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator(".state .badge")).to_have_text("Stopped")
    said = re.search(r"(\d+) of 200 done", await state.inner_text())
    assert said is not None
    done = int(said[1])
    assert 60 <= done < 200
    assert (await console.depth(TOPOLOGY.outbound), await console.depth(TOPOLOGY.dead)) == (done, 200 - done)
    bodies = await console.office.waiting_in(TOPOLOGY.outbound) + await console.office.waiting_in(TOPOLOGY.dead)
    assert len({json.loads(body)["id"] for body in bodies}) == 200


async def test_a_suspended_mailbox_is_checked_put_right_and_resumed(
    office: Office, console: Console, olga: Window
) -> None:
    """A wrong password stops the mailbox; the check says so live; with the right one it passes, and sends again."""
    office.write_snapshot(secret={"env": "SENDAS_SECRET_WRONG"}, version=2)
    settings = worker_settings(office, {"SENDAS_SECRET_WRONG": "wrong"})
    page = olga.page
    async with running_worker(settings), office.results() as results:
        await office.publish([office.event(1)])
        await results.of_type("mailbox.suspended")
    await olga.go("/mailboxes")
    await page.get_by_role("link", name="mailbox-1").click()
    await expect(page.get_by_role("heading", name="Suspended auth_failed")).to_be_visible()
    await expect(page.get_by_text("535 5.7.8").first).to_be_visible()
    assert await olga.violations() == []

    await page.get_by_role("button", name="Check now").click()
    await expect(page.get_by_text("The mailbox cannot be used as it is.")).to_be_visible()
    assert await olga.violations() == []

    # Each of the two has its own password.
    office.write_snapshot(secret={"env": "SENDAS_SECRET_1"}, version=3)
    await olga.go("/mailboxes?account=acme&mailbox=mailbox-1")
    await page.get_by_role("button", name="Check now").click()
    await expect(page.get_by_text("The mailbox can send.")).to_be_visible()

    async with office.results() as results:
        await olga.go("/mailboxes?account=acme&mailbox=mailbox-1")
        await page.get_by_label("Why").fill("the password is right now")
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_text("nothing holds it up")).to_be_visible()
        [resumed] = await results.of_type("mailbox.resumed")
    assert (resumed["data"]["operator"], resumed["data"]["why"]) == ("olga", "the password is right now")


async def test_a_viewer_sees_and_may_not_act(browser: Browser, console: Console) -> None:
    await console.bury(["event-1"])
    async with window(browser, console.origin) as victor:
        await victor.sign_in("victor", PASSWORD)
        page = victor.page
        await victor.go("/dead-letters")
        await expect(page.get_by_role("cell", name="event-1")).to_be_visible()
        await expect(page.get_by_role("button", name="Replay…")).to_have_count(0)
        assert await victor.violations() == []
        # As if the buttons were there: with the token of the own session.
        await page.evaluate(
            "const form = document.getElementById('act'); const kind = document.createElement('input');"
            "kind.name = 'kind'; kind.value = 'discard'; form.append(kind); form.submit()"
        )
        await expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    assert await console.depth(TOPOLOGY.dead) == 1


async def test_a_page_of_another_site_cannot_act_in_ones_name(console: Console, olga: Window) -> None:
    """A form that another site has the browser send is refused, with the session's cookies and without its token."""
    await console.bury(["event-1"])
    page = olga.page
    await olga.go("/dead-letters")
    token = await page.locator("input[name=csrf]").first.input_value()
    form = (
        f'<form method="post" action="{console.origin}/dead-letters/jobs"><input name="kind" value="discard">'
        f'<input name="scope" value="all"><input name="csrf" value="{token}"></form>'
        "<script>document.forms[0].submit()</script>"
    )
    await page.route("http://evil.example/", lambda route: route.fulfill(body=form, content_type="text/html"))
    async with page.expect_response(lambda answer: answer.url.endswith("/dead-letters/jobs")) as refused:
        await page.goto("http://evil.example/")
    assert (await refused.value).status == 403
    # Nor can it show the console within itself.
    framed = f'<iframe src="{console.origin}/dead-letters" title="x"></iframe>'
    await page.route("http://frame.example/", lambda route: route.fulfill(body=framed, content_type="text/html"))
    await page.goto("http://frame.example/")
    await expect(page.frame_locator("iframe").get_by_role("heading")).to_have_count(0)
    assert await console.depth(TOPOLOGY.dead) == 1
    olga.faults.clear()  # the browser complains of both


async def test_by_keyboard_alone(browser: Browser, console: Console) -> None:
    """From the sign-in to a letter that is discarded, without a mouse."""
    await console.bury(["event-1"])
    async with window(browser, console.origin) as olga:
        page = olga.page
        await olga.go("/dead-letters")
        await expect(page.get_by_label("Name")).to_be_focused()
        await page.keyboard.type("olga")
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await _tab_to(page, "Discard…")
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Can be discarded: 1")).to_be_visible()
        await expect(page.get_by_label("Why")).to_be_visible()
        while await page.evaluate("document.activeElement.id") != "why":
            await page.keyboard.press("Tab")
        await page.keyboard.type("spam")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("1 of 1 done")).to_be_visible()
    assert await console.depth(TOPOLOGY.dead) == 0


async def _tab_to(page: Page, text: str) -> None:
    for _ in range(100):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent.trim()") == text:
            return
    raise AssertionError(f"the keyboard does not come to {text}")


@pytest.mark.parametrize("width", [375, 1280])
async def test_no_page_is_wider_than_its_window_nor_keeps_anybody_out(
    browser: Browser, console: Console, width: int
) -> None:
    await console.bury([f"an-event-with-quite-a-long-identifier-{number:032}" for number in range(3)])
    async with window(browser, console.origin, viewport={"width": width, "height": 700}) as olga:
        await olga.go("/sign-in/")
        assert (await olga.violations(), await olga.overhang_px() <= 0) == ([], True)
        await olga.sign_in("olga", PASSWORD)
        for path in PAGES:
            await olga.go(path)
            await expect(olga.page.locator("h1")).to_be_visible()
            assert (path, await olga.violations(), await olga.overhang_px() <= 0) == (path, [], True)
        await olga.go("/dead-letters")
        await olga.page.locator("td.time a").first.click()
        assert (await olga.violations(), await olga.overhang_px() <= 0) == ([], True)
        await olga.page.get_by_role("button", name="Show the body").click()
        await expect(olga.page.get_by_role("heading", name="The whole letter")).to_be_visible()
        assert (await olga.violations(), await olga.overhang_px() <= 0) == ([], True)
        assert olga.faults == []


async def test_in_russian_and_in_the_browsers_zone(browser: Browser, console: Console) -> None:
    await console.bury(["event-1"])
    async with window(browser, console.origin, locale="ru-RU", timezone_id="Asia/Novosibirsk") as olga:
        page = olga.page
        await olga.go("/sign-in/?next=/dead-letters")
        await expect(page.get_by_text("Время указано в зоне Asia/Novosibirsk.")).to_be_visible()
        await page.get_by_label("Имя").fill("olga")
        await page.get_by_label("Пароль").fill(PASSWORD)
        await page.get_by_role("button", name="Вход").click()
        await expect(page.get_by_role("heading", name="Недоставленные")).to_be_visible()
        await expect(page.get_by_role("cell", name="2026-11-23 17:00:00")).to_be_visible()
        for path in PAGES:
            await olga.go(path)
            assert await page.evaluate("document.documentElement.lang") == "ru"
            assert await olga.violations() == []
        await olga.go("/preferences?next=/letters")
        await page.get_by_label("Язык").select_option("en")
        await page.get_by_role("button", name="Сохранить").click()
        await expect(page.get_by_role("heading", name="Letters")).to_be_visible()
        assert olga.faults == []


async def test_without_scripts_all_but_live_progress_works(browser: Browser, console: Console) -> None:
    await console.bury(["event-1", "event-2"])
    async with window(browser, console.origin, java_script_enabled=False) as olga:
        page = olga.page
        await olga.sign_in("olga", PASSWORD)
        await olga.go("/dead-letters")
        await page.get_by_role("checkbox").first.check()
        await page.get_by_label("letters selected below").check()
        await page.get_by_role("button", name="Replay…").click()
        await expect(page.get_by_text("Can be replayed: 1")).to_be_visible()
        await page.get_by_label("Why").fill("one of them")
        await page.get_by_role("button", name="Replay now").click()
        await expect(page.get_by_text("1 of 1 done")).to_be_visible()
    assert (await console.depth(TOPOLOGY.outbound), await console.depth(TOPOLOGY.dead)) == (1, 1)
