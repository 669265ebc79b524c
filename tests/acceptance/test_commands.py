"""The commands that people and scripts use, as processes: what they print where, and how they end."""

import asyncio
import json

from tests.acceptance.command import sendas
from tests.acceptance.office import Office

_QUOTA = "550 5.4.5 Daily user sending quota exceeded."


async def test_classify_prints_json_alone() -> None:
    """A script can read standard output as it is; standard error is silent."""
    ended = await sendas("classify", "--phase", "data", "--host", "smtp.gmail.com", _QUOTA, "--json")
    judged = json.loads(ended.output)
    assert (ended.status, ended.errors) == (0, "")
    assert (judged["reason"], judged["scope"], judged["action"]) == ("quota_exceeded", "mailbox", "pause")
    assert judged["hint"]["en"] != judged["hint"]["ru"]


async def test_explain_prints_json_alone_and_needs_no_secret(office: Office) -> None:
    """No broker, no settings, no password: who would send, and why."""
    event = office.event_file(office.event())
    ended = await sendas("explain", "--snapshot", office.snapshot, "--event", event, "--json")
    explained = json.loads(ended.output)
    assert (ended.status, ended.errors) == (0, "")
    assert explained["address"] == office.mailboxes[1].address
    assert (explained["tier"], explained["mailbox_id"], explained["reason"]) == ("chosen", "mailbox-1", None)


async def test_deliver_sends_and_prints_its_results(office: Office) -> None:
    """Without a broker: the letter arrives, its copy is saved, and each result is one line of JSON."""
    office.write_snapshot(copies="always")
    settings = {name: value for name, value in office.settings.items() if name != "SENDAS_BROKER_URL"}
    ended = await sendas(
        "deliver", "--snapshot", office.snapshot, "--event", office.event_file(office.event()), settings=settings
    )
    assert (ended.status, ended.errors) == (0, "")
    results = [json.loads(line) for line in ended.output.splitlines()]
    assert [result["type"] for result in results] == ["mail.sent", "sent_copy.saved"]
    assert await office.subjects_received() == {"Re: Task 1": 1}


async def test_deliver_ends_with_1_when_a_letter_did_not_leave(office: Office) -> None:
    """The result says why."""
    nobody = office.event(recipients=[{"address": f"nobody@{office.customer.domain}"}])
    ended = await sendas(
        "deliver", "--snapshot", office.snapshot, "--event", office.event_file(nobody), settings=office.settings
    )
    assert ended.status == 1
    assert json.loads(ended.output)["data"]["reason"] == "recipient_unknown"


async def test_publish_refuses_an_invalid_event_with_one_line(office: Office) -> None:
    """The line names the file and the field; nothing is published, not even the valid event before it."""
    valid, invalid = office.event(1), office.event(2)
    del invalid["data"]["recipients"]
    path = office.directory / "events.jsonl"
    path.write_text(json.dumps(valid) + "\n" + json.dumps(invalid) + "\n")
    ended = await sendas("publish", path, settings=office.settings)
    assert ended.status == 2
    assert ended.output == ""
    assert ended.errors.count("\n") == 1
    assert "events.jsonl, event 2" in ended.errors
    assert "recipients" in ended.errors
    assert await office.waiting_in("sendas.outbound") == []


async def test_publish_hands_events_to_the_broker(bare_office: Office) -> None:
    """After `topology apply`, which can be repeated; both say in one line what they did."""
    for _ in range(2):
        assert (await sendas("topology", "apply", settings=bare_office.settings)).status == 0
    event = bare_office.event()
    published = await sendas("publish", bare_office.event_file(event), settings=bare_office.settings)
    assert (published.status, published.errors) == (0, "published 1 events to product.events\n")
    [body] = await bare_office.waiting_in("sendas.outbound")
    assert json.loads(body) == event


async def test_wrong_usage_ends_with_2_and_one_line(office: Office) -> None:
    """Unknown commands, missing files, files that are something else."""
    other = office.directory / "other.json"
    other.write_text("[]")
    event = office.event_file(office.event())
    for ended in await asyncio.gather(
        sendas("send"),
        sendas("explain", "--snapshot", "/nowhere.json", "--event", event),
        sendas("explain", "--snapshot", other, "--event", event),
        sendas("explain", "--snapshot", office.snapshot, "--event", other),
        sendas("classify", "--phase", "data", "--host", "h", "no reply at all"),
        sendas("publish"),
    ):
        assert ended.status == 2, ended
        assert ended.errors.startswith("sendas: "), ended
        assert ended.errors.count("\n") == 1, ended
        assert ended.output == "", ended
