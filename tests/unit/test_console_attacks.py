"""Attacks on the console: none gets through. Each is tried as an attacker would, over HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.builders import NOON, a_mailbox, an_account
from tests.console_setting import PASSWORD, SUPPORT, Browser, ConsoleWorld, browser
from tests.dead_letter_samples import a_dead_letter
from worker.adapters.snapshot.problems import Problem
from worker.adapters.worker_status import WorkerStatus
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Phase
from worker.history.model import Record, key

SCRIPTS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "javascript:alert(1)",
    "</textarea><svg onload=alert(1)>",
    "{{7777*7777}}{% raw %}${7777*7777}",
    "\u202egpj.exe\x1b[2J\x00",
)
ACTS = (
    "/dead-letters/jobs",
    "/dead-letters/body",
    "/dead-letters/export",
    "/mailboxes/resume",
    "/mailboxes/checks",
)
PAGES = (
    "/",
    "/letters",
    "/letters/story?event=evt-1",
    "/dead-letters",
    "/mailboxes",
    "/mailboxes?account=acme&mailbox=mb-support",
    "/explain",
    "/snapshot",
    "/preferences",
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ConsoleWorld]:
    letters = [a_dead_letter("evt-1"), a_dead_letter("evt-secret", account_id="globex")]
    world = ConsoleWorld(tmp_path / "people.toml", letters)
    assert world.history is not None
    mine = Record("r-1", "mail.sent", NOON, "acme", "evt-1")
    theirs = Record("r-2", "mail.sent", NOON, "globex", "evt-secret", body={"detail": "top secret"})
    await world.history.add([mine, theirs])
    yield world
    await world.services.dead_letters.close()
    await world.services.checks.close()


@pytest.fixture
async def olga(world: ConsoleWorld) -> AsyncIterator[Browser]:
    async with browser(world) as opened:
        await opened.sign_in("olga")
        yield opened


@pytest.fixture
async def victor(world: ConsoleWorld) -> AsyncIterator[Browser]:
    async with browser(world) as opened:
        await opened.sign_in("victor")
        yield opened


@pytest.fixture
async def ann(world: ConsoleWorld) -> AsyncIterator[Browser]:
    async with browser(world) as opened:
        await opened.sign_in("ann")
        yield opened


def assert_harmless(text: str) -> None:
    """Nothing of a page runs but its own script: what is foreign is text, or in quoted attributes."""
    assert "<script>" not in text
    assert not re.search(r"<(img|svg)[^>]*\bon\w+\s*=", text)
    assert not re.search(r"<[^>\"]*(?:\"[^\"]*\"[^>\"]*)*\bon(mouseover|error|load)\s*=", text)
    assert not re.search(r'(href|src|action|formaction)="\s*javascript:', text, re.IGNORECASE)
    assert "60481729" not in text
    assert not set(text) & set("\u202e\x1b\x00")
    assert re.findall(r"<script[^>]*>", text) == ['<script src="/static/console.js" defer>']
    assert " style=" not in text


class TestStoredScripts:
    """Seven texts in every place where somebody else's words are shown."""

    @pytest.mark.parametrize("script", SCRIPTS)
    async def test_in_dead_letters(self, tmp_path: Path, script: str) -> None:
        headers = {"sendas-dead-detail": script, "sendas-dead-reason": script, "sendas-dead-queue": script}
        recipients = [{"address": f"{script}@example.net", "name": script}]
        hostile = a_dead_letter(
            script, headers, account_id=script, mailbox_id=script, task={"id": script}, recipients=recipients
        )
        world = ConsoleWorld(tmp_path / "people.toml", [hostile])
        async with browser(world) as olga:
            await olga.sign_in("olga", next_="/dead-letters")
            assert_harmless(olga.page.text)
            digest = re.findall(r"[0-9a-f]{32}", olga.page.text.split("<table>")[1])[0]
            await olga.get(f"/dead-letters/letter?digest={digest}")
            assert_harmless(olga.page.text)
            await olga.post("/dead-letters/body", {"digest": digest})
            assert_harmless(olga.page.text)
            await olga.post("/dead-letters/jobs", {"kind": "discard", "scope": "all", "text": script})
            job = world.services.dead_letters.jobs.latest()[0]
            assert job.task is not None
            await asyncio.wait({job.task})
            await olga.get(olga.path)
            assert_harmless(olga.page.text)
            await olga.get("/dead-letters", params={"account": script, "text": script, "reason": script})
            assert_harmless(olga.page.text)

    @pytest.mark.parametrize("script", SCRIPTS)
    async def test_in_the_history(self, world: ConsoleWorld, olga: Browser, script: str) -> None:
        assert world.history is not None
        reply = {"code": script, "enhanced": script, "text": script}
        body = {
            "detail": script, "reply": reply, "hint": {"en": script, "ru": script}, "folder": script,
            "operator": script,
            "recipients": [{"address": script, "outcome": script, "reply": reply}], "timings": {script: 1.0},
            "sender": {"address": script, "tier": script, "explanation": [
                {"tier": script, "mailbox_id": script, "verdict": script, "why": script}]},
        }  # fmt: skip
        named = key(script)  # as the history keeps identifiers
        ids = dict.fromkeys(
            ("account_id", "event_id", "event_type", "task_id", "comment_id", "mailbox_id", "message_id"), named
        )
        record = Record(named, named, NOON, **ids, addresses=(script,), reason=named, body=body)
        await world.history.add([record])
        for address in ("/letters/story", "/explain"):
            await olga.get(address, params={"event": named})
            assert olga.page.status_code == 200
            assert_harmless(olga.page.text)
        await olga.get("/letters", params={"by": "account_id", "q": script})
        assert "/letters/story" in olga.page.text
        assert_harmless(olga.page.text)

    @pytest.mark.parametrize("script", SCRIPTS)
    async def test_in_mailboxes_the_snapshot_and_workers(self, tmp_path: Path, script: str) -> None:
        plain = re.sub(r"[\x00-\x1f]", "", script)
        account = an_account(id=plain, mailboxes=[a_mailbox(id=plain)])
        world = ConsoleWorld(tmp_path / "people.toml", accounts=[account])
        world.snapshots.left_out_ = (Problem(script, script, script),)
        world.workers.looks = (WorkerStatus(script, [script]),)
        await world.suspend(SUPPORT._replace(account_id=plain, mailbox_id=plain), words=script)
        world.visitors.troubles["smtp.sign_in"] = DeliveryFailure(
            Phase.AUTH, FailureKind.REPLY, Reply(535, script, script), script
        )
        async with browser(world) as olga:
            await olga.sign_in("olga")
            assert_harmless(olga.page.text)
            for address, query in (
                ("/mailboxes", {"account": plain}),
                ("/snapshot", {"account": plain}),
                ("/mailboxes", {"account": plain, "mailbox": plain}),
            ):
                await olga.get(address, params=query)
                assert olga.page.status_code == 200
                assert_harmless(olga.page.text)
            await olga.post("/mailboxes/checks", {"account": plain, "mailbox": plain})
            check = world.services.checks.find(olga.path.rsplit("/", 1)[1])
            assert check is not None
            assert check.task is not None
            await check.task
            await olga.get(olga.path)
            assert "Sign-in failed" in olga.text
            assert_harmless(olga.page.text)

    @pytest.mark.parametrize("script", SCRIPTS)
    async def test_in_what_a_person_sends_themselves(self, olga: Browser, script: str) -> None:
        await olga.get("/explain")
        await olga.post("/explain", {"event": script})
        assert_harmless(olga.page.text)
        for address in ("/letters", "/dead-letters", "/mailboxes", "/snapshot", "/preferences", "/sign-in/"):
            names = ("q", "by", "type", "since", "account", "mailbox", "next", "text", "before", "event")
            await olga.get(address, params=dict.fromkeys(names, script))
            assert_harmless(olga.page.text)

    async def test_a_page_shows_nothing_of_an_error_of_the_providers(self, world: ConsoleWorld) -> None:
        async with browser(world) as somebody:
            await somebody.sign_in("<script>alert(1)</script>", "x")
            assert_harmless(somebody.page.text)


class TestForgedRequests:
    @pytest.mark.parametrize("path", ACTS)
    async def test_an_act_without_the_sessions_token(self, world: ConsoleWorld, olga: Browser, path: str) -> None:
        await world.suspend()
        fields = {"kind": "discard", "scope": "all", "account": "acme", "mailbox": "mb-support", "why": "x"}
        for token in ({}, {"csrf": ""}, {"csrf": "x" * 43}):
            assert (await olga.client.post(path, data=fields | token)).status_code == 403
        assert world.broker.published == []
        assert world.services.dead_letters.jobs.latest() == []
        assert world.visitors.steps == []

    @pytest.mark.parametrize("path", ACTS)
    async def test_an_act_with_another_persons_token(
        self, world: ConsoleWorld, olga: Browser, victor: Browser, path: str
    ) -> None:
        await victor.get("/explain")
        answer = await olga.client.post(path, data={"csrf": victor.token, "kind": "replay", "scope": "all"})
        assert answer.status_code == 403
        assert world.services.dead_letters.jobs.latest() == []

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:8091"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ],
    )
    async def test_an_act_from_another_site_even_with_the_token(
        self, world: ConsoleWorld, olga: Browser, headers: dict[str, str]
    ) -> None:
        await olga.get("/dead-letters")
        await olga.post("/dead-letters/jobs", {"kind": "discard", "scope": "all"}, headers=headers)
        assert olga.page.status_code == 403
        assert world.services.dead_letters.jobs.latest() == []

    @pytest.mark.parametrize("path", [*ACTS, "/sign-out", "/preferences"])
    async def test_a_link_does_nothing(self, world: ConsoleWorld, olga: Browser, path: str) -> None:
        answer = await olga.client.get(path, params={"kind": "replay", "scope": "all", "csrf": olga.token})
        assert answer.status_code in (200, 404, 405)
        assert world.services.dead_letters.jobs.latest() == []
        assert (await olga.get("/")).url.path == "/"

    async def test_a_sign_in_that_another_site_prepared(self, world: ConsoleWorld) -> None:
        async with browser(world) as victim:
            fields = {"name": "olga", "password": PASSWORD, "csrf": "x" * 43}
            assert (await victim.client.post("/sign-in/password", data=fields)).status_code == 403
            assert (await victim.get("/")).url.path == "/sign-in/"

    async def test_a_sign_in_form_of_another_browser(self, world: ConsoleWorld) -> None:
        async with browser(world) as attacker, browser(world) as victim:
            await attacker.get("/sign-in/")
            await victim.get("/sign-in/")
            fields = {"name": "olga", "password": PASSWORD, "csrf": attacker.token}
            assert (await victim.client.post("/sign-in/password", data=fields)).status_code == 403


class TestRights:
    @pytest.mark.parametrize("path", ACTS)
    async def test_a_viewers_own_token_on_an_operators_act(
        self, world: ConsoleWorld, victor: Browser, path: str
    ) -> None:
        await world.suspend()
        await victor.get("/explain")
        assert victor.token
        fields = {"kind": "discard", "scope": "all", "account": "acme", "mailbox": "mb-support", "why": "x"}
        await victor.post(path, fields)
        assert victor.page.status_code == 403
        assert (await world.queue.size(), world.broker.published, world.visitors.steps) == (2, [], [])

    @pytest.mark.parametrize("step", ["start", "again", "pause", "continue", "stop"])
    async def test_a_viewer_on_an_operators_job(
        self, world: ConsoleWorld, olga: Browser, victor: Browser, step: str
    ) -> None:
        await olga.get("/dead-letters")
        await olga.post("/dead-letters/jobs", {"kind": "discard", "scope": "all"})
        job = world.services.dead_letters.jobs.latest()[0]
        assert job.task is not None
        await asyncio.wait({job.task})
        await victor.get("/explain")
        await victor.post(f"/dead-letters/jobs/{job.id}/{step}", {"why": "x", "rate": "1"})
        assert victor.page.status_code == 403
        assert await world.queue.size() == 2

    @pytest.mark.parametrize("step", ["", "/start", "/again", "/stop"])
    async def test_an_operator_of_one_account_on_a_job_over_all(
        self, world: ConsoleWorld, olga: Browser, ann: Browser, step: str
    ) -> None:
        await olga.get("/dead-letters")
        await olga.post("/dead-letters/jobs", {"kind": "discard", "scope": "all"})
        job = world.services.dead_letters.jobs.latest()[0]
        assert job.task is not None
        await asyncio.wait({job.task})
        await ann.get("/dead-letters")
        assert job.id not in ann.page.text
        address = f"/dead-letters/jobs/{job.id}{step}"
        if step:
            await ann.post(address, {"why": "x", "rate": "1"})
        else:
            await ann.get(address)
        assert ann.page.status_code == 404
        assert await world.queue.size() == 2

    async def test_another_accounts_letter_picked_by_its_digest(
        self, world: ConsoleWorld, olga: Browser, ann: Browser
    ) -> None:
        await olga.get("/dead-letters?account=globex")
        digest = re.findall(r"[0-9a-f]{32}", olga.page.text.split("<table>")[1])[0]
        assert (await ann.get(f"/dead-letters/letter?digest={digest}")).status_code == 404
        await ann.get("/dead-letters")
        await ann.post("/dead-letters/body", {"digest": digest})
        assert ann.page.status_code == 404
        await ann.get("/dead-letters")
        await ann.post(
            "/dead-letters/jobs", {"kind": "discard", "scope": "picked", "digest": digest, "accounts": "globex"}
        )
        job = world.services.dead_letters.jobs.latest()[0]
        assert job.task is not None
        await asyncio.wait({job.task})
        assert job.counted.done == 0
        await ann.get("/dead-letters")
        await ann.post("/dead-letters/export", {"account": "globex", "accounts": "globex"})
        assert ann.page.text == ""

    @pytest.mark.parametrize(
        "address",
        [
            "/letters/story?event=evt-secret",
            "/explain?event=evt-secret",
            "/letters?by=account_id&q=globex",
            "/letters?by=event_id&q=evt-secret&accounts=globex",
            "/letters?type=mail.sent",
            "/dead-letters?account=globex&accounts=globex",
            "/mailboxes?account=globex",
            "/snapshot?account=globex",
        ],
    )
    async def test_another_accounts_letters_and_settings(self, ann: Browser, address: str) -> None:
        await ann.get(address)
        for secret in ("evt-secret", "top secret", "mb-support@globex"):
            assert secret not in re.sub(r'value="[^"]*"|href="[^"]*"', "", ann.page.text)

    @pytest.mark.parametrize("address", [*PAGES, "/dead-letters/jobs/x", "/mailboxes/checks/x", "/dead-letters/letter"])
    async def test_nothing_without_a_session(self, world: ConsoleWorld, address: str) -> None:
        async with browser(world) as nobody:
            answer = await nobody.get(address, follow_redirects=False)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/sign-in/")
            assert answer.text == ""

    @pytest.mark.parametrize("path", ACTS)
    async def test_no_act_without_a_session(self, world: ConsoleWorld, path: str) -> None:
        async with browser(world) as nobody:
            assert (await nobody.client.post(path, data={"kind": "replay"}, follow_redirects=False)).status_code == 303

    @pytest.mark.parametrize("cookie", ["", "x", "x.y", "admin.AAAA", "a" * 10_000, "..", "=;="])
    async def test_a_made_up_session(self, world: ConsoleWorld, cookie: str) -> None:
        async with browser(world) as nobody:
            answer = await nobody.get("/", headers={"cookie": f"sendas_session={cookie}"}, follow_redirects=False)
            assert answer.status_code == 303


class TestTricks:
    TRICKS = (
        "' OR '1'='1",
        "'; DROP TABLE history; --",
        "%' OR 1=1 --",
        "%",
        "_" * 5,
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "\x00",
        "\ud83d\ude00" * 500,
        "(((((((((((((((a+)+)+)+)+)+)+",
        "a" * 30_000,
    )

    @pytest.mark.parametrize("trick", TRICKS)
    async def test_in_searches(self, ann: Browser, trick: str) -> None:
        trick = trick.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for name in ("event_id", "address", "account_id", "message_id", "__class__", "limit"):
            answer = await ann.get("/letters", params={"by": name, "q": trick, "before": trick[:50]})
            assert answer.status_code in (200, 400)
            assert "evt-secret" not in ann.page.text
        for name in ("text", "reason", "account", "since", "page"):
            answer = await ann.get("/dead-letters", params={name: trick})
            assert answer.status_code in (200, 400)
            assert "evt-secret" not in ann.page.text

    @pytest.mark.parametrize(
        "path",
        [
            "/static/../app.py",
            "/static/..%2fapp.py",
            "/static/%2e%2e/%2e%2e/settings.py",
            "/static/....//app.py",
            "/static//etc/passwd",
            "/static/",
            "/dead-letters/jobs/..%2f..%2fsnapshot",
            "/letters/../../etc/passwd",
        ],
    )
    async def test_in_paths(self, olga: Browser, path: str) -> None:
        request = httpx2.Request("GET", httpx2.URL(f"http://127.0.0.1:8090{path}"))
        answer = await olga.client.send(request)
        assert answer.status_code == 404
        assert "import" not in answer.text

    @pytest.mark.parametrize(
        "next_", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t//evil.example"]
    )
    async def test_a_place_elsewhere_after_the_sign_in_or_a_choice(self, world: ConsoleWorld, next_: str) -> None:
        async with browser(world) as somebody:
            await somebody.get("/sign-in/", params={"next": next_})
            fields = {"csrf": somebody.token, "name": "olga", "password": PASSWORD, "next": next_}
            answer = await somebody.client.post("/sign-in/password", data=fields, follow_redirects=False)
            assert answer.headers["location"] == "/"
            await somebody.get("/preferences", params={"next": next_})
            fields = {"csrf": somebody.token, "language": "en", "next": next_}
            answer = await somebody.client.post("/preferences", data=fields, follow_redirects=False)
            assert answer.headers["location"] == "/"

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example", "", "evil.example:8090", "127.0.0.1@evil"]
    )
    async def test_another_host_name_that_leads_here(self, olga: Browser, host: str) -> None:
        assert (await olga.get("/", headers={"host": host})).status_code == 421

    async def test_a_body_without_end(self, world: ConsoleWorld, olga: Browser) -> None:
        await olga.get("/explain")
        await olga.post("/explain", {"event": "x" * 1_100_000})
        assert olga.page.status_code == 413

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"a=" + b"x" * 65_536

        kind = {"content-type": "application/x-www-form-urlencoded"}
        answer = await olga.client.post("/explain", content=endless(), headers=kind)
        assert answer.status_code == 413

    async def test_very_many_fields_and_a_file(self, olga: Browser) -> None:
        await olga.get("/explain")
        fields = {"csrf": olga.token} | {f"f{number}": "x" for number in range(5_000)}
        assert (await olga.client.post("/explain", data=fields)).status_code in (400, 403)
        files = {"event": ("a.json", b"{}", "application/json")}
        assert (await olga.client.post("/explain", data={"csrf": olga.token}, files=files)).status_code in (400, 403)

    @pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1e9", "x", ""])
    async def test_a_rate_that_is_none(self, world: ConsoleWorld, olga: Browser, rate: str) -> None:
        await olga.get("/dead-letters")
        await olga.post("/dead-letters/jobs", {"kind": "discard", "scope": "all"})
        job = world.services.dead_letters.jobs.latest()[0]
        assert job.task is not None
        await asyncio.wait({job.task})
        await olga.get(olga.path)
        await olga.post(f"/dead-letters/jobs/{job.id}/start", {"why": "x", "rate": rate})
        assert olga.page.status_code == 400
        assert await world.queue.size() == 2


class TestHeaders:
    @pytest.mark.parametrize("address", [*PAGES, "/nowhere", "/static/console.js", "/sign-in/"])
    async def test_every_answer_has_them(self, olga: Browser, address: str) -> None:
        headers = (await olga.get(address)).headers
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'",
                     "base-uri 'none'", "form-action 'self'"):  # fmt: skip
            assert part in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        if not address.startswith("/static"):
            assert headers["cache-control"] == "no-store"

    async def test_pages_have_no_script_nor_style_of_their_own(self, world: ConsoleWorld, olga: Browser) -> None:
        await world.suspend()
        for address in PAGES:
            assert_harmless((await olga.get(address)).text)
