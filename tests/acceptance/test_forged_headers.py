"""Headers that only workers write, written by a producer: over the product's exchange, and into queues by name."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import aio_pika

from tests.acceptance.command import running_worker
from tests.acceptance.office import Json, Office
from tests.integration.mail_client import imap
from worker.domain import work
from worker.domain.identity import lane_token
from worker.domain.topology import Topology

TOPOLOGY = Topology()
LONG_AGO = (datetime.now(UTC) - timedelta(days=300)).isoformat()
FORGED: Mapping[str, str | int] = {
    work.ATTEMPT: 999_998,
    work.FIRST_SEEN: LONG_AGO,
    work.MODE: "each",
    work.RECIPIENTS: "7",
    work.LAST_REASON: "mailbox_blocked",
    work.LAST_REPLY: "550 5.7.1 forged",
    work.TURN: (datetime.now(UTC) + timedelta(days=300)).isoformat(),
    work.LANE: lane_token("acme", "mailbox-0"),
    work.SENDER_MISSING_SINCE: LONG_AGO,
    work.REPLAYED_DOUBT: 1,
}
ROUTES = ((TOPOLOGY.events_exchange, "comment.created"), ("", TOPOLOGY.outbound), ("", TOPOLOGY.backlog))


async def publish(
    office: Office, exchange: str, routing_key: str, body: bytes, headers: Mapping[str, str | int], content_type: str
) -> None:
    async with await aio_pika.connect(office.broker_url) as connection:
        channel = await connection.channel()
        source = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        message = aio_pika.Message(body, headers=dict(headers), content_type=content_type, delivery_mode=2)
        await source.publish(message, routing_key)


def test_every_header_of_the_work_is_forged_here() -> None:
    names = {value for name, value in vars(work).items() if name.isupper() and str(value).startswith("sendas-")}
    assert names == FORGED.keys()


async def test_no_header_of_a_producers_own_changes_what_becomes_of_its_event(office: Office) -> None:
    """If it did, then a letter would expire at once, leave somebody out, or wait for ever, at a producer's word."""
    forgeries = [{name: value} for name, value in FORGED.items()]
    forgeries += [{work.FIRST_SEEN: LONG_AGO, name: value} for name, value in FORGED.items()]
    forgeries += [{**FORGED, "sendas-signature": "0" * 64}]
    events: list[Json] = []
    async with office.results() as results, running_worker(office.settings):
        for exchange, routing_key in ROUTES:
            for headers in forgeries:
                event = office.event(len(events))
                event["data"]["subject"] = f"Letter {len(events)}"
                events.append(event)
                body = json.dumps(event).encode()
                await publish(office, exchange, routing_key, body, headers, "application/cloudevents+json")
        sent = await results.of_type("mail.sent", len(events))
    assert {result["data"]["event_id"] for result in sent} == {event["id"] for event in events}
    assert {result["data"]["attempt"] for result in sent} == {1}
    assert {result["type"] for result in results.all} == {"mail.sent", "sent_copy.skipped"}
    received = await office.subjects_received()
    assert set(received.values()) == {1}
    assert len(received) == len(events)


async def test_a_forged_copy_puts_nothing_into_anybodys_sent_folder(office: Office) -> None:
    """If a copy job were believed, then whoever reaches the queue could write into every mailbox's Sent."""
    office.write_snapshot(copies="always", version=2)
    job = {
        "account_id": "acme",
        "mailbox_id": "mailbox-1",
        "event_key": "0" * 32,
        "event_id": "forged",
        "event_source": "/product/comments",
        "event_type": "comment.created",
        "task_id": "t-1",
        "comment_id": "c-1",
        "message_id": "<forged@acme.example>",
        "recipients": [0],
        "date": "2026-11-23T10:00:00Z",
        "sent_at": datetime.now(UTC).isoformat(),
    }
    letter = b"From: support@acme.example\r\nMessage-ID: <forged@acme.example>\r\nSubject: forged\r\n\r\nforged\r\n"
    headers: dict[str, str | int] = {
        "sendas-copy": json.dumps(job),
        work.ATTEMPT: 0,
        work.FIRST_SEEN: datetime.now(UTC).isoformat(),
    }
    async with office.results() as results, running_worker(office.settings):
        await publish(office, "", TOPOLOGY.sent_copy, letter, headers, "message/rfc822")
        await office.publish([office.event(1)])  # from the same mailbox, after it
        [saved] = await results.of_type("sent_copy.saved")
        assert saved["data"]["event_id"] == "event-1"
    assert await office.waiting_in(TOPOLOGY.dead) == [letter]
    assert not [result for result in results.all if result["data"]["event_id"] == "forged"]
    assert await asyncio.to_thread(_subjects_in_sent, office) == [b"Subject: Re: Task 1"]


def _subjects_in_sent(office: Office) -> list[bytes]:
    with imap(office.mail, office.mailboxes[1]) as client:
        client.select("Sent", readonly=True)
        _, parts = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].strip() for part in parts if isinstance(part, tuple)]
