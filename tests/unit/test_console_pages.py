"""The console's pages over doubles: what they show, what they do, and to whom."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import NOON, a_comment_event
from tests.console_setting import SUPPORT, Browser, ConsoleWorld, browser, letters
from tests.dead_letter_samples import a_dead_letter
from tests.doubles.dead_queue import MemoryDeadQueue
from worker.adapters.snapshot.problems import Problem
from worker.console.app import TITLES
from worker.console.dead_letters.jobs import Job, Kind, Phase
from worker.console.dead_letters.patience import ConsiderateQueue
from worker.console.languages import catalogue
from worker.console.stories import fact_names
from worker.console.wording import CATALOGUES
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Phase as SmtpPhase
from worker.domain.vocabulary import Reason
from worker.history.model import Record
from worker.operations.dead_letters.bulk import look
from worker.operations.dead_letters.filter import Selection

TEMPLATES = Path("worker/console/templates")


def a_world(tmp_path: Path, **fields: object) -> ConsoleWorld:
    return ConsoleWorld(tmp_path / "people.toml", **fields)  # type: ignore[arg-type]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ConsoleWorld]:
    world = a_world(tmp_path, letters=[*letters(3), a_dead_letter("evt-other", account_id="globex")])
    yield world
    await world.services.dead_letters.close()
    await world.services.checks.close()


@pytest.fixture
async def olga(world: ConsoleWorld) -> AsyncIterator[Browser]:
    """An operator of all accounts."""
    async with browser(world) as opened:
        await opened.sign_in("olga")
        yield opened


@pytest.fixture
async def ann(world: ConsoleWorld) -> AsyncIterator[Browser]:
    """An operator of the account acme."""
    async with browser(world) as opened:
        await opened.sign_in("ann")
        yield opened


@pytest.fixture
async def victor(world: ConsoleWorld) -> AsyncIterator[Browser]:
    """A viewer."""
    async with browser(world) as opened:
        await opened.sign_in("victor")
        yield opened


def a_record(number: int = 1, type_: str = "mail.sent", **fields: object) -> Record:
    values = {"account_id": "acme", "event_id": "evt-1", "mailbox_id": "mb-support", "task_id": "4711"} | fields
    return Record(f"r-{number}", type_, NOON + timedelta(seconds=number), **values)  # type: ignore[arg-type]


async def add(world: ConsoleWorld, *records: Record) -> None:
    assert world.history is not None
    await world.history.add(records)


async def ended(world: ConsoleWorld, browser_: Browser) -> None:
    """Wait for the act whose page the browser shows, and show its end."""
    job = world.services.dead_letters.jobs.find(browser_.path.rsplit("/", 1)[1])
    assert job is not None
    assert job.task is not None
    await asyncio.wait({job.task})
    await browser_.get(browser_.path)


class TestOverview:
    async def test_what_leaves_what_fails_and_what_stands(self, world: ConsoleWorld, olga: Browser) -> None:
        now = world.clock.now()
        await add(world, Record("r", "mail.failed", now, "acme", "evt-1", reason="recipient_unknown"))
        world.clock.step(60)
        await world.suspend()
        await olga.get("/")
        for text in (
            "recipient_unknown",
            "mb-support",
            "auth_failed",
            "worker-0:8080 ready",
            "worker-1:8080 no answer",
        ):
            assert text in olga.text
        assert "Oldest unfinished event 12 s" in olga.text
        assert '<svg class="sparkline" role="img" aria-label="1 in the last hour"' in olga.page.text

    async def test_those_of_one_account_see_nothing_of_others_nor_of_the_platform(
        self, world: ConsoleWorld, ann: Browser
    ) -> None:
        await add(world, Record("r", "mail.failed", world.clock.now(), "globex", "e", reason="message_rejected"))
        world.clock.step(60)
        await world.suspend(SUPPORT._replace(account_id="globex"))
        await ann.get("/")
        for text in ("message_rejected", "globex", "worker-0", "sendas.outbound"):
            assert text not in ann.text

    async def test_what_is_away_is_said_to_be(self, world: ConsoleWorld, olga: Browser) -> None:
        assert world.history is not None
        world.history.is_away = True
        await olga.get("/")
        assert "failures are not known" in olga.text
        await olga.get("/letters?q=1")
        assert olga.page.status_code == 503


class TestLetters:
    async def test_a_search_leads_to_the_story(self, world: ConsoleWorld, olga: Browser) -> None:
        reply = {"code": 550, "enhanced": "5.1.1", "text": "no such user"}
        body = {
            "recipients": [{"address": "client@example.net", "outcome": "failed", "reply": reply}],
            "sender": {
                "address": "support@acme.example",
                "tier": "company",
                "snapshot_version": 1842,
                "explanation": [
                    {"tier": "employee", "mailbox_id": "mb-ivan", "verdict": "rejected", "why": "inactive"},
                    {"tier": "company", "mailbox_id": "mb-support", "verdict": "selected", "why": "usable"},
                ],
            },
            "hint": {"en": "Check the address.", "ru": "Проверьте адрес."},
            "attempt": 2,
            "timings": {"queue": 0.25},
        }
        await add(world, a_record(1, "mail.failed", reason="recipient_unknown", body=body))
        await add(world, a_record(2, "sent_copy.saved", body={"folder": "Sent", "uid": 77}))
        await olga.get("/letters?by=task_id&q=4711")
        assert 'href="/letters/story?event=evt-1"' in olga.page.text
        await olga.get("/letters/story?event=evt-1")
        for text in ("550 5.1.1 no such user", "Check the address.", "switched off", "queue 0.250 s", "UID 77"):
            assert text in olga.text
        assert "send the letter again from the product" in olga.text
        await olga.get("/explain?event=evt-1")
        assert "not in the snapshot" in olga.text
        assert "active" in olga.text

    async def test_pages_of_results_follow_each_other(self, world: ConsoleWorld, olga: Browser) -> None:
        await add(world, *(a_record(number) for number in range(60)))
        await olga.get("/letters?by=account_id&q=acme")
        onward = re.search(r'href="(/letters\?[^"]*before[^"]*)"', olga.page.text)
        assert onward is not None
        await olga.get(onward[1].replace("&amp;", "&"))
        assert olga.page.text.count("/letters/story") == 10

    async def test_another_accounts_story_is_not_there(self, world: ConsoleWorld, ann: Browser) -> None:
        await add(world, a_record(1, account_id="globex"))
        await ann.get("/letters/story?event=evt-1")
        assert ann.page.status_code == 404
        await ann.get("/letters?by=event_id&q=evt-1")
        assert "Nothing found" in ann.text

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"next_attempt_at": "2026-11-23T12:30:00+00:00"}, "retried automatically. Next attempt: 2026-11-23 12:30"),
            ({}, "waiting for an operator"),
        ],
    )
    async def test_a_letter_put_off_says_until_when(
        self, world: ConsoleWorld, olga: Browser, body: dict[str, object], text: str
    ) -> None:
        await add(world, a_record(1, "mail.deferred", reason="greylisted", body=body))
        await olga.get("/letters/story?event=evt-1")
        assert text in olga.text

    async def test_without_a_history_the_page_says_so(self, tmp_path: Path) -> None:
        world = a_world(tmp_path, history=None)
        async with browser(world) as opened:
            await opened.sign_in("olga", next_="/letters")
            assert "turned off" in opened.text

    async def test_records_of_any_form_are_no_obstacle(self, world: ConsoleWorld, olga: Browser) -> None:
        strange: dict[str, object] = {
            "recipients": "all", "sender": [1], "hint": 5, "timings": {"a": "b"}, "reply": {"code": {}, "text": []},
            "next_attempt_at": "soon", "attempt": [[]],
        }  # fmt: skip
        await add(world, a_record(1, "mail.deferred", body=strange))
        assert (await olga.get("/letters/story?event=evt-1")).status_code == 200


class TestDeadLetters:
    async def test_facets_filters_and_one_letter(self, world: ConsoleWorld, olga: Browser) -> None:
        await olga.get("/dead-letters")
        assert "invalid_event 4" in olga.text
        assert "acme 3" in olga.text
        await olga.get("/dead-letters?account=globex")
        assert "evt-other" in olga.text
        assert "evt-1 " not in olga.text
        link = re.search(r"/dead-letters/letter\?digest=[0-9a-f]{32}", olga.page.text)
        assert link is not None
        await olga.get(link[0])
        assert "data.subject: not a string" in olga.text
        assert "second@example.net" not in olga.page.text

    async def test_only_ones_own_accounts_letters_are_there(self, ann: Browser) -> None:
        await ann.get("/dead-letters")
        assert "acme 3" in ann.text
        assert "globex" not in ann.page.text
        await ann.get("/dead-letters?account=globex")
        assert "evt-other" not in ann.page.text

    async def test_a_replay_is_counted_first_and_then_done_with_a_why(self, world: ConsoleWorld, olga: Browser) -> None:
        await olga.get("/dead-letters?account=acme")
        await olga.post("/dead-letters/jobs", {"kind": "replay", "scope": "all", "account": "acme"})
        await ended(world, olga)
        assert "Can be replayed: 3" in olga.text
        assert world.broker.published == []
        path = olga.path
        await olga.post(f"{path}/start", {"why": " ", "rate": "100"})
        assert "say why" in olga.text
        await olga.get(path)
        await olga.post(f"{path}/start", {"why": "fixed <the> template", "rate": "1000"})
        await ended(world, olga)
        assert "3 of 3 done" in olga.text
        assert (len(world.broker.letters), await world.queue.size()) == (3, 1)
        [told] = world.broker.results
        assert json.loads(told)["data"]["operator"] == "olga"
        assert json.loads(told)["data"]["why"] == "fixed <the> template"

    async def test_picked_by_hand(self, world: ConsoleWorld, olga: Browser) -> None:
        await olga.get("/dead-letters")
        digests = re.findall(r'name="digest" value="([0-9a-f]{32})"', olga.page.text)
        await olga.post("/dead-letters/jobs", {"kind": "discard", "scope": "picked", "digest": digests[:2]})
        await ended(world, olga)
        assert "Can be discarded: 2" in olga.text
        await olga.post(f"{olga.path}/start", {"why": "spam", "rate": "100"})
        await ended(world, olga)
        assert await world.queue.size() == 2
        await olga.get("/dead-letters")
        await olga.post("/dead-letters/jobs", {"kind": "discard", "scope": "picked"})
        assert "no letter is selected" in olga.text

    async def test_what_the_command_line_refuses_the_page_refuses(self, tmp_path: Path) -> None:
        uncertain = {"sendas-dead-reason": Reason.OUTCOME_UNKNOWN.value, "sendas-attempt": 4}
        world = a_world(tmp_path, letters=letters(2, **uncertain))
        async with browser(world) as olga:
            await olga.sign_in("olga", next_="/dead-letters")
            await olga.post("/dead-letters/jobs", {"kind": "replay", "scope": "all"})
            await ended(world, olga)
            assert "Can be replayed: 0" in olga.text
            assert "may have been accepted already" in olga.text
            await olga.post(f"{olga.path}/start", {"why": "anyway", "rate": "100"})
            assert "nothing to do" in olga.text
            job = world.services.dead_letters.jobs.latest()[0]
            await olga.get(f"/dead-letters/jobs/{job.id}")
            await olga.post(f"/dead-letters/jobs/{job.id}/again", {"resend_uncertain": "on"})
            await ended(world, olga)
            assert "Can be replayed: 2" in olga.text

    async def test_an_unknown_value_is_told_with_those_that_there_are(self, world: ConsoleWorld, olga: Browser) -> None:
        await olga.get("/dead-letters")
        await olga.post("/dead-letters/jobs", {"kind": "replay", "scope": "all", "account": "acmee"})
        await ended(world, olga)
        assert "no dead letter has 'acmee'; there are: acme (3), globex (1)" in olga.text

    async def test_that_list_has_no_other_accounts(self, world: ConsoleWorld, ann: Browser) -> None:
        await ann.get("/dead-letters")
        await ann.post("/dead-letters/jobs", {"kind": "replay", "scope": "all", "account": "globe"})
        await ended(world, ann)
        assert "acme (3)" in ann.text
        assert "globex" not in ann.page.text

    async def test_pause_go_on_and_stop(self, tmp_path: Path) -> None:
        world = a_world(tmp_path, letters=letters(5))
        job = await self._paused(world)
        assert job.is_paused
        assert (len(world.broker.letters), await world.queue.size()) == (1, 4)
        async with browser(world) as olga:
            await olga.sign_in("olga", next_=f"/dead-letters/jobs/{job.id}")
            assert "Paused" in olga.text
            await olga.get("/dead-letters")
            assert "4" in olga.text  # a paused act leaves the queue to others
            await olga.get(f"/dead-letters/jobs/{job.id}")
            await olga.post(f"/dead-letters/jobs/{job.id}/stop")
            await ended(world, olga)
            assert "Stopped 1 of 5 done" in olga.text
        assert json.loads(world.broker.results[0])["data"]["count"] == 1
        assert await world.queue.size() == 4

    async def _paused(self, world: ConsoleWorld) -> Job:
        """An act that was paused after its first letter."""
        desk = world.services.dead_letters
        rules = desk.rules(resend_uncertain=False, force_loop=False, resend_forgotten=False)
        job = desk.plan(Kind.REPLAY, "olga", Selection(), rules)
        assert job.task is not None
        await job.task
        world.broker.on_publish = job.gate.pause
        world.queue.has_returned.clear()
        desk.start(job, "olga", "slowly", 1)
        async with asyncio.timeout(10):
            await world.queue.has_returned.wait()
        assert job.phase is Phase.ACTING
        return job

    async def test_of_very_many_letters_some_are_listed_and_all_are_acted_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("worker.console.dead_letters.board._MOST_BYTES", 60_000)
        world = a_world(tmp_path, letters=letters(200))
        async with browser(world) as olga:
            await olga.sign_in("olga", next_="/dead-letters")
            kept = re.search(r"(\d+) of 200 letters are listed here", olga.text)
            assert kept is not None
            assert 10 < int(kept[1]) < 60
            await olga.post("/dead-letters/jobs", {"kind": "discard", "scope": "all"})
            await ended(world, olga)
            assert "Can be discarded: 200" in olga.text

    async def test_pages_follow_each_other_and_come_of_one_look(self, tmp_path: Path) -> None:
        world = a_world(tmp_path, letters=letters(120))
        async with browser(world) as olga:
            await olga.sign_in("olga", next_="/dead-letters")
            seen: list[str] = []
            for page in ("1", "2", "3"):
                await olga.get(f"/dead-letters?page={page}")
                assert f"Page {page} of 3" in olga.text
                seen += re.findall(r'name="digest" value="([0-9a-f]{32})"', olga.page.text)
            assert len(set(seen)) == len(seen) == 120
            for page in ("0", "-1", "x", "9" * 50, "4"):
                assert (await olga.get(f"/dead-letters?page={page}")).status_code == 200

    async def test_reading_a_long_queue_leaves_time_for_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("worker.console.dead_letters.patience._STRETCH_S", 0.0)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        queue = ConsiderateQueue(MemoryDeadQueue(letters(50)))
        assert await look(queue, Selection(), None, lambda *_: None) == 50
        task.cancel()
        assert turns >= 50

    async def test_the_body_is_shown_to_operators_and_it_is_noted(self, world: ConsoleWorld, olga: Browser) -> None:
        await olga.get("/dead-letters?account=globex")
        digest = re.findall(r"[0-9a-f]{32}", olga.page.text.split("<table>")[1])[0]
        await olga.post("/dead-letters/body", {"digest": digest})
        assert "second@example.net" in olga.text
        assert 'name="body_shown"' not in olga.page.text
        assert world.metrics.acts.labels("body_shown")._value.get() == 1
        await olga.post("/dead-letters/body", {"digest": "0" * 32})
        assert olga.page.status_code == 404

    async def test_an_export_has_all_that_match(self, world: ConsoleWorld, olga: Browser) -> None:
        await olga.get("/dead-letters")
        await olga.post("/dead-letters/export", {"account": "acme"})
        lines = olga.page.text.splitlines()
        assert len(lines) == 3
        assert json.loads(lines[0])["schema"] == "sendas.dead-letter/v1"
        assert world.metrics.acts.labels("dead_letters_exported")._value.get() == 1

    async def test_a_broker_that_is_away_is_said_to_be(self, world: ConsoleWorld, olga: Browser) -> None:
        world.opened.is_away = True
        await olga.get("/dead-letters")
        assert "the broker does not answer" in olga.text
        await olga.post("/dead-letters/jobs", {"kind": "replay", "scope": "all"})
        await ended(world, olga)
        assert "Failed" in olga.text


class TestMailboxes:
    async def test_a_suspended_mailbox_is_resumed_with_a_why(self, world: ConsoleWorld, olga: Browser) -> None:
        await world.suspend()
        await olga.get("/mailboxes")
        assert "suspended auth_failed" in olga.text
        await olga.get("/mailboxes?account=acme&mailbox=mb-support")
        assert "535 5.7.8 authentication failed" in olga.text
        fields = {"account": "acme", "mailbox": "mb-support"}
        await olga.post("/mailboxes/resume", fields)
        assert "say why" in olga.text
        await olga.get("/mailboxes?account=acme&mailbox=mb-support")
        await olga.post("/mailboxes/resume", {**fields, "why": "password put right"})
        assert "nothing holds it up" in olga.text
        told = json.loads(world.broker.results[0])["data"]
        assert (told["operator"], told["why"], told["resumed_by"]) == ("olga", "password put right", "operator")
        await olga.post("/mailboxes/resume", {**fields, "why": "again"})
        assert "not suspended" in olga.text

    async def test_what_cools_down_or_is_limited(self, world: ConsoleWorld, olga: Browser) -> None:
        until = world.clock.now() + timedelta(minutes=5)
        await world.ledger.mailboxes.rest(SUPPORT, until, Reason.RATE_LIMITED)
        await olga.get("/mailboxes")
        assert "cooling down rate_limited 2026-11-23 10:05:00" in olga.text
        await olga.get("/mailboxes?account=acme")
        assert "mb-sales" in olga.text

    async def test_a_check_shows_its_steps_in_the_servers_words(self, world: ConsoleWorld, olga: Browser) -> None:
        refused = DeliveryFailure(SmtpPhase.AUTH, FailureKind.REPLY, Reply(535, "5.7.8", "wrong password"))
        world.visitors.troubles["smtp.sign_in"] = refused
        await olga.get("/mailboxes?account=acme&mailbox=mb-support")
        await olga.post("/mailboxes/checks", {"account": "acme", "mailbox": "mb-support"})
        check = world.services.checks.find(olga.path.rsplit("/", 1)[1])
        assert check is not None
        assert check.task is not None
        await check.task
        await olga.get(olga.path)
        assert "The mailbox cannot be used as it is." in olga.text
        assert "Sign-in failed" in olga.text
        assert "535 5.7.8 wrong password" in olga.text
        assert world.snapshots.refreshed == 1
        assert world.visitors.letters == []

    async def test_another_accounts_mailboxes_are_not_there(self, world: ConsoleWorld, ann: Browser) -> None:
        await world.suspend(SUPPORT._replace(account_id="globex"))
        await ann.get("/mailboxes")
        assert "globex" not in ann.page.text
        for address in ("/mailboxes?account=globex", "/mailboxes?account=globex&mailbox=mb-support"):
            assert (await ann.get(address)).status_code == 404
        await ann.get("/mailboxes")
        await ann.get("/mailboxes?account=acme&mailbox=mb-support")
        for path in ("/mailboxes/resume", "/mailboxes/checks"):
            token = ann.token
            fields = {"csrf": token, "account": "globex", "mailbox": "mb-support", "why": "x"}
            assert (await ann.client.post(path, data=fields)).status_code == 404


class TestExplainAndSnapshot:
    async def test_an_event_is_explained_by_the_snapshot_in_use(self, olga: Browser) -> None:
        comment = a_comment_event()
        document = {
            "specversion": "1.0", "id": comment.id, "source": comment.source, "type": "comment.created",
            "time": "2026-11-23T12:00:00Z", "data": comment.data.model_dump(mode="json"),
        }  # fmt: skip
        await olga.get("/explain")
        await olga.post("/explain", {"event": json.dumps(document)})
        assert olga.page.status_code == 200, olga.text
        assert "By snapshot 1842" in olga.text

    @pytest.mark.parametrize("text", ["", "{", "[" * 50_000, '{"specversion": "1.0"}', "\x00"])
    async def test_what_is_no_event_is_said_to_be(self, olga: Browser, text: str) -> None:
        await olga.get("/explain")
        await olga.post("/explain", {"event": text})
        assert olga.page.status_code == 400

    async def test_a_snapshot_and_what_it_leaves_out(self, world: ConsoleWorld, olga: Browser) -> None:
        world.snapshots.left_out_ = (Problem("initech", "mailboxes[0].address", "not an address"),)
        await olga.get("/snapshot")
        for text in ("1842", "12 s ago", "initech", "not an address"):
            assert text in olga.text
        await olga.get("/snapshot?account=acme")
        assert "2 mailboxes" in olga.text

    async def test_no_page_has_a_secret_of_the_snapshot(self, world: ConsoleWorld, olga: Browser) -> None:
        await world.suspend()
        for address in ("/", "/mailboxes", "/mailboxes?account=acme", "/mailboxes?account=acme&mailbox=mb-support",
                        "/snapshot?account=acme", "/explain"):  # fmt: skip
            await olga.get(address)
            assert "c2VjcmV0LW9mLWEtc25hcHNob3Q" not in olga.page.text
            assert "sealed" not in olga.page.text


class TestPreferences:
    async def test_language_and_zone_are_kept(self, world: ConsoleWorld, olga: Browser) -> None:
        await world.suspend()
        await olga.get("/preferences?next=/mailboxes")
        await olga.post("/preferences", {"language": "ru", "zone": "Europe/Moscow", "next": "/mailboxes"})
        assert "Почтовые ящики" in olga.text
        assert "2026-11-23 13:00:00" in olga.text
        await olga.get("/preferences")
        await olga.post("/preferences", {"language": "xx", "zone": "../../etc/passwd", "next": "//evil.example"})
        assert olga.path == "/"
        assert "Обзор" in olga.text

    @pytest.mark.parametrize(
        ("accepts", "lang"),
        [("ru-RU,ru;q=0.9,en;q=0.8", "ru"), ("de,en;q=0.7,ru;q=0.3", "en"), ("", "en"), ("ru;q=x", "en")],
    )
    async def test_the_browser_says_what_it_prefers(self, olga: Browser, accepts: str, lang: str) -> None:
        await olga.get("/", headers={"accept-language": accepts})
        assert f'<html lang="{lang}">' in olga.page.text

    def test_every_text_has_a_russian_one(self) -> None:
        sources = [*TEMPLATES.glob("*.html"), *Path("worker/console").rglob("*.py")]
        wanted = {text for each in CATALOGUES for text in each.values()} | set(fact_names())
        for source in sources:
            text = source.read_text()
            wanted |= set(re.findall(r'\bt\(\s*"([^"]+)"', text))
            wanted |= set(
                re.findall(r'(?:HTTPException\(\d+, |Next\(\s*|_page\(request, |language\.text\()"([^"]+)"', text)
            )
        wanted |= set(TITLES.values())
        navigation = {"Overview", "Letters", "Dead letters", "Mailboxes", "Explain", "Snapshot"}
        missing = sorted((wanted | navigation) - catalogue().keys())
        assert missing == []

    def test_texts_keep_their_values(self) -> None:
        for english, russian in catalogue().items():
            assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", russian)), english

    async def test_viewers_see_no_buttons_that_act(self, world: ConsoleWorld, victor: Browser) -> None:
        await world.suspend()
        for address in ("/dead-letters", "/mailboxes?account=acme&mailbox=mb-support"):
            await victor.get(address)
            assert victor.page.status_code == 200
            for word in ("Replay…", "Discard…", "Export", "Resume", "Check now", "Select"):
                assert word not in victor.text


async def test_an_error_of_ours_is_a_page_without_its_words(world: ConsoleWorld, olga: Browser) -> None:
    world.snapshots.accounts_ = None  # type: ignore[assignment]
    await olga.get("/snapshot")
    assert olga.page.status_code == 500
    assert "Something went wrong here" in olga.text
    assert "NoneType" not in olga.page.text
