"""`python -m tests.console.picture`: draws the console's main pages into docs/images, over letters made up for it."""

import asyncio
import random
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn

from stack.ports import free_ports
from tests.console.browser import Window, chromium, window
from tests.console_setting import PASSWORD, ConsoleWorld, company
from tests.dead_letter_samples import a_dead_letter
from tests.doubles.dead_queue import KeptMessage
from worker.adapters.worker_status import WorkerStatus
from worker.delivery.mailboxes.state import MailboxKey, OutboxMessage, Revision, Suspension
from worker.domain.failure.hints import HINTS
from worker.domain.vocabulary import Reason
from worker.history.model import Record

IMAGES = Path(__file__).parents[2] / "docs/images"
_WIDTH, _SCALE = 1280, 1.5
_EVENT = "c-20871"
_FAILURES = {
    "recipient_unknown": 41, "greylisted": 23, "message_rejected_spam": 12, "recipient_mailbox_full": 7,
    "auth_failed": 3,
}  # fmt: skip
_DEATHS = (("invalid_event", "data.recipients: empty", 128), ("internal_error", "KeyError", 17),
           ("outcome_unknown", "disconnected after the final dot", 9))  # fmt: skip


async def draw() -> None:
    """Draw all of them."""
    dice = random.Random(7)
    with tempfile.TemporaryDirectory() as directory:
        [port] = free_ports(1)
        world = ConsoleWorld(
            Path(directory) / "people.toml",
            _dead_letters(dice),
            [company(name) for name in ("acme", "globex", "initech", "umbrella")],
            origin=f"http://127.0.0.1:{port}",
        )
        world.workers.looks = tuple(
            WorkerStatus(f"worker-{number}:8080", [], in_flight, oldest_s)
            for number, (in_flight, oldest_s) in enumerate(((14, 3.0), (11, 252.0), (17, 41.0)))
        )
        world.depths.depths = {
            ("sendas.outbound", "work"): 212.0, ("sendas.sent-copy", "work"): 31.0,
            ("sendas.mailbox-check", "work"): 0.0, ("sendas.outbound.delay.60s", "delay"): 23.0,
            ("sendas.dead", "dead"): 154.0,
        }  # fmt: skip
        await _fill(world, dice)
        config = uvicorn.Config(world.app, port=port, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        async with chromium() as browser, window(browser, world.origin, device_scale_factor=_SCALE) as olga:
            await olga.sign_in("olga", PASSWORD)
            await _shoot(olga, "overview", "/", 860)
            await _shoot(olga, "story", f"/letters/story?event={_EVENT}", 1_020)
            await _shoot(olga, "dead-letters", "/dead-letters", 860)
            await _shoot(olga, "mailbox", "/mailboxes?account=acme&mailbox=mb-support", 900)
        server.should_exit = True
        await serving
        await world.services.dead_letters.close()


async def _shoot(olga: Window, name: str, path: str, height: int) -> None:
    await olga.page.set_viewport_size({"width": _WIDTH, "height": height})
    await olga.go(path)
    file = IMAGES / f"console-{name}.png"
    await olga.page.screenshot(path=file)
    print(file)


def _dead_letters(dice: random.Random) -> list[KeptMessage]:
    letters: list[KeptMessage] = []
    for reason, detail, count in _DEATHS:
        for number in range(count):
            headers = {"sendas-dead-reason": reason, "sendas-dead-detail": detail}
            account = dice.choices(("acme", "globex", "initech", "umbrella"), (6, 3, 2, 1))[0]
            person = dice.choice(("anna", "boris", "vera", "ivan"))
            letters.append(
                a_dead_letter(
                    f"c-{20_000 + 7 * len(letters)}",
                    headers,
                    account_id=account,
                    task={"id": str(4_000 + number)},
                    recipients=[{"address": f"{person}@customer.example", "role": "to"}],
                )
            )
    dice.shuffle(letters)
    return letters


async def _fill(world: ConsoleWorld, dice: random.Random) -> None:
    """An hour of failures, one letter's story, and two mailboxes that are stopped."""
    assert world.history is not None
    began = world.clock.now()
    records = []
    for reason, count in _FAILURES.items():
        for number in range(count):
            at = began + timedelta(seconds=dice.triangular(0, 3_590, 2_400))
            records.append(Record(f"{reason}-{number}", "mail.failed", at, "globex", f"c-{number}", reason=reason))
    await world.history.add([*records, *_story(world)])
    world.clock.step(3_600)
    for key, reason, words in (
        (MailboxKey("acme", "mb-support"), Reason.AUTH_FAILED, "Authentication failed: wrong user name or password"),
        (
            MailboxKey("initech", "mb-sales"),
            Reason.AUTH_APP_PASSWORD_REQUIRED,
            "Application-specific password required",
        ),
    ):
        since = world.clock.now() - timedelta(minutes=dice.randint(20, 90))
        address = f"{key.mailbox_id.removeprefix('mb-')}@{key.account_id}.example"
        suspension = Suspension(
            key, Revision("0" * 32, 1842), reason, since, address, 535, "5.7.8", words, event_id="c-20866"
        )
        await world.ledger.mailboxes.suspend(suspension, OutboxMessage(key.account_id, b"{}"))


def _story(world: ConsoleWorld) -> list[Record]:
    began = world.clock.now() + timedelta(minutes=12)
    sender = {
        "address": "support@acme.example",
        "mailbox_id": "mb-support",
        "tier": "company",
        "snapshot_version": 1842,
        "explanation": [{"tier": "company", "mailbox_id": "mb-support", "verdict": "selected", "why": "usable"}],
    }

    def recipient(outcome: str, code: int, enhanced: str, text: str) -> dict[str, Any]:
        reply = {"code": code, "enhanced": enhanced, "text": text}
        return {"address": "anna@customer.example", "outcome": outcome, "reply": reply}

    hint = HINTS[Reason.GREYLISTED].model_dump()
    message_id = "<c-20871.0@acme.example>"
    put_off = {
        "sender": sender, "hint": hint, "attempt": 1, "scope": "recipient", "action": "retry", "message_id": message_id,
        "recipients": [recipient("deferred", 451, "4.7.1", "Greylisted, please try again in five minutes")],
        "next_attempt_at": (began + timedelta(minutes=5)).isoformat(),
        "timings": {"queue": 0.012, "connect": 0.043, "auth": 0.087, "rcpt": 0.031},
    }  # fmt: skip
    sent = {
        "sender": sender, "attempt": 2, "message_id": message_id,
        "recipients": [recipient("sent", 250, "2.0.0", "Ok: queued as 4bXz1T2pQkz9rV")],
        "timings": {"queue": 0.008, "connect": 0.0, "mail": 0.021, "data": 0.164},
    }  # fmt: skip
    copy = {"outcome": "saved", "folder": "Sent", "uid": 4_711, "uid_validity": 1_700_000_000, "message_id": message_id}
    common: dict[str, Any] = {
        "account_id": "acme", "event_id": _EVENT, "event_type": "comment.created", "task_id": "4711",
        "comment_id": "20871", "mailbox_id": "mb-support", "message_id": message_id,
        "addresses": ("anna@customer.example", "support@acme.example"),
    }  # fmt: skip
    return [
        Record("s-1", "mail.deferred", began, reason="greylisted", body=put_off, **common),
        Record("s-2", "mail.sent", began + timedelta(minutes=5, seconds=2), body=sent, **common),
        Record("s-3", "sent_copy.saved", began + timedelta(minutes=5, seconds=4), body=copy, **common),
    ]


if __name__ == "__main__":
    asyncio.run(draw())
