"""Checks of mailboxes through a real worker and broker, and by the command."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stack.dnsmasq import Dnsmasq, Record
from stack.stack import running
from tests.acceptance.command import running_worker, sendas
from tests.acceptance.office import Office
from tests.conftest import COMPANY_DOMAIN

Json = dict[str, Any]


@pytest.fixture
async def checked_office(office: Office, tmp_path: Path) -> AsyncIterator[Office]:
    """An office whose domain has all records, in a DNS server that its worker asks."""
    records = (
        Record(COMPANY_DOMAIN, "MX", f"10 mx.{COMPANY_DOMAIN}"),
        Record(COMPANY_DOMAIN, "TXT", "v=spf1 ip4:127.0.0.1 ip6:::1 -all"),
        Record(f"default._domainkey.{COMPANY_DOMAIN}", "TXT", "v=DKIM1; p=TUlJQg=="),
        Record(f"_dmarc.{COMPANY_DOMAIN}", "TXT", "v=DMARC1; p=none"),
    )
    server = Dnsmasq(tmp_path / "dns", records)
    office.write_snapshot(copies="always")
    async with running(server):
        yield replace(office, settings={**office.settings, "SENDAS_DNS_SERVER": server.address})


def request(number: int, **data: Any) -> Json:
    """A request for a check, as the product publishes it."""
    return {
        "specversion": "1.0",
        "id": f"check-{number}",
        "source": "/product/settings",
        "type": "mailbox.check.requested",
        "time": "2026-11-23T10:00:00Z",
        "datacontenttype": "application/json",
        "data": {"account_id": "acme", **data},
    }


def steps(data: Json) -> Json:
    return {step["name"]: step for step in data["steps"]}


async def test_requests_in_and_answers_out(checked_office: Office) -> None:
    """If the product asks for checks, then each is answered: the good, the unknown, the unsaved, the unreadable."""
    office = checked_office
    unsaved = office._mailbox(1, office.mailboxes[1], "never", {"env": "SENDAS_SECRET_1"})
    async with office.results() as results, running_worker(office.settings) as worker:
        await office.publish(
            [
                request(1, mailbox_id="mailbox-0", send_test_to=office.customer.address),
                request(2, mailbox_id="no-such-mailbox"),
                request(3, mailbox=unsaved),
                request(4),
            ]
        )
        answers = {each["data"]["event_id"]: each["data"] for each in await results.of_type("mailbox.checked", 4)}
        good = answers["check-1"]
        assert good["ok"], good
        assert {name for name, step in steps(good).items() if step["ok"] is not True} == set()
        assert steps(answers["check-2"])["settings"]["reason"] == "sender_unavailable"
        assert steps(answers["check-3"])["settings"]["reason"] == "sender_not_permitted"
        assert steps(answers["check-4"])["settings"]["reason"] == "invalid_event"
        await worker.stop()
    assert len(await office.waiting_in("sendas.dead")) == 1
    assert await office.waiting_in("sendas.mailbox-check") == []
    assert (await office.subjects_received()).total() == 1
    said = "\n".join(worker.lines)
    assert all(mailbox.password not in said for mailbox in office.mailboxes)


async def test_a_suspended_mailbox_is_checked_all_the_same(checked_office: Office) -> None:
    """If a mailbox is suspended for its password, then a check of it is still made, with one sign-in."""
    office = replace(checked_office, settings={**checked_office.settings, "SENDAS_SECRET_0": "wrong"})
    async with office.results() as results, running_worker(office.settings) as worker:
        await office.publish([office.event(4)])  # leaves from the first mailbox
        await results.of_type("mailbox.suspended")
        await office.publish([request(1, mailbox_id="mailbox-0")])
        [answer] = await results.of_type("mailbox.checked")
        assert steps(answer["data"])["auth"]["reason"] == "auth_failed"
        await worker.stop()


async def test_the_command_prints_the_same_object(checked_office: Office) -> None:
    ended = await sendas(
        "mailbox", "check", "--snapshot", checked_office.snapshot, "acme", "mailbox-0", "--json",
        settings=checked_office.settings,
    )  # fmt: skip
    assert ended.status == 0, ended.errors
    data = json.loads(ended.output)
    assert (data["account_id"], data["mailbox_id"], data["ok"]) == ("acme", "mailbox-0", True)
    assert steps(data)["dmarc"]["ok"] is True
    assert ended.errors == ""


async def test_the_command_is_readable_and_says_what_to_do(checked_office: Office, tmp_path: Path) -> None:
    mailbox = checked_office._mailbox(0, checked_office.mailboxes[0], "always", {"env": "SENDAS_SECRET_1"})
    file = tmp_path / "mailbox.json"
    file.write_text(json.dumps(mailbox))
    ended = await sendas("mailbox", "check", "--file", file, "--lang", "ru", settings=checked_office.settings)
    assert ended.status == 1
    assert "✗ Вход" in ended.output
    assert "сервер: 535 5.7.8" in ended.output
    assert "что делать: " in ended.output
    assert "– Отправитель принят" in ended.output
    assert "✓ DMARC" in ended.output
    assert "\x1b[" not in ended.output  # no terminal, no colours


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["acme", "nothing"], "has no mailbox nothing"),
        (["nobody", "mailbox-0"], "is not there"),
        (["acme"], "--snapshot"),
        (["acme", "mailbox-0", "--send-test-to", "nobody"], "--send-test-to"),
        (["acme", "mailbox-0", "--file", "x.json"], "--file"),
    ],
)
async def test_wrong_usage_is_one_line(checked_office: Office, arguments: list[str], words: str) -> None:
    ended = await sendas(
        "mailbox", "check", "--snapshot", checked_office.snapshot, *arguments, settings=checked_office.settings
    )
    assert ended.status == 2
    assert words in ended.errors
    assert ended.errors.count("\n") == 1
    assert ended.output == ""
