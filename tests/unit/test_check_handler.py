"""Requests for checks: read, looked up, answered once; what cannot be read is told and kept."""

import json
from typing import Any

import pytest

from tests.builders import a_mailbox, an_account
from tests.delivery_world import FixedSnapshot
from tests.doubles.clock import SteppedClock
from tests.doubles.directory import a_directory
from tests.doubles.name_server import TableNameServer
from tests.doubles.observer import RecordingObserver
from tests.doubles.visitors import FakeVisitors
from worker.adapters.dkim import DkimSignatures
from worker.delivery.mailboxes.in_hand import InHand
from worker.delivery.messages import Arrival, Publication
from worker.delivery.places import Places
from worker.delivery.requeue import DEAD_REASON
from worker.delivery.results import Reporter
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.topology import MAX_RETURNS, Topology
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Phase
from worker.operations.dead_letters.export import FiledMessage
from worker.operations.dead_letters.letter import read_dead_letter
from worker.operations.dead_letters.replay_rules import destination
from worker.operations.mailbox_check.check import CheckLimits, MailboxCheck
from worker.operations.mailbox_check.handler import CheckHandler

TOPOLOGY = Topology()
WRONG_PASSWORD = DeliveryFailure(Phase.AUTH, FailureKind.REPLY, Reply(535, "5.7.8", "authentication failed"))


class CheckWorld:
    """The handler over doubles."""

    def __init__(self) -> None:
        self.visitors = FakeVisitors()
        self.snapshot = FixedSnapshot(a_directory([an_account(mailboxes=[a_mailbox()])], left_out=["broken"]))
        self.observer = RecordingObserver()
        clock = SteppedClock()
        limits = CheckLimits(read_back_s=0.05, read_again_s=0.01)
        self.handler = CheckHandler(
            MailboxCheck(self.visitors, TableNameServer(), DkimSignatures(), clock, limits),
            snapshot=self.snapshot,
            reporter=Reporter("/sendas", TOPOLOGY.results_exchange),
            topology=TOPOLOGY,
            clock=clock,
            observer=self.observer,
            in_hand=InHand(Places(4), clock),
        )

    async def handle(self, *, is_redelivered: bool = False, returns: int = 0, **data: Any) -> list[Publication]:
        """What comes of a request with this data."""
        event = {
            "specversion": "1.0",
            "id": "check-1",
            "source": "/product/settings",
            "type": "mailbox.check.requested",
            "time": "2026-11-23T10:00:00Z",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "data": {"account_id": "acme", **data},
        }
        arrival = Arrival(TOPOLOGY.mailbox_check, json.dumps(event).encode(), {}, STRUCTURED, is_redelivered, returns)
        return list(await self.handler.handle(arrival))

    async def answer(self, **options: Any) -> dict[str, Any]:
        """The one result, opened."""
        [publication] = await self.handle(**options)
        assert (publication.exchange, publication.routing_key) == ("sendas.results", "mailbox.checked")
        event: dict[str, Any] = json.loads(publication.body)
        return event


@pytest.fixture
def world() -> CheckWorld:
    return CheckWorld()


def steps(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in event["data"]["steps"]}


async def test_a_saved_mailbox_is_checked_and_answered(world: CheckWorld) -> None:
    event = await world.answer(mailbox_id="mb-support")
    data = event["data"]
    assert (data["mailbox_id"], data["address"], data["ok"]) == ("mb-support", "support@acme.example", True)
    assert (data["event_id"], data["event_source"], event["subject"]) == ("check-1", "/product/settings", "mb-support")
    assert event["traceparent"].endswith("-01")
    assert world.visitors.trusted == [True]
    assert world.observer.counts == {"settled done": 1, "checked good": 1}


async def test_the_same_request_has_the_same_result_id(world: CheckWorld) -> None:
    """If a request comes again, then consumers can drop the second answer."""
    first, second = await world.answer(mailbox_id="mb-support"), await world.answer(mailbox_id="mb-support")
    assert first["id"] == second["id"]


async def test_a_mailbox_that_is_not_saved_is_checked_as_given(world: CheckWorld) -> None:
    mailbox = a_mailbox(address="new@acme.example").model_dump(mode="json")
    mailbox["smtp"]["auth"]["secret"] = {"sealed": "main.abc"}
    data = (await world.answer(mailbox=mailbox))["data"]
    assert (data["mailbox_id"], data["address"], data["ok"]) == (None, "new@acme.example", True)
    assert world.visitors.trusted == [False]


@pytest.mark.parametrize("secret", [{"env": "SENDAS_SECRET_RELAY"}, {"file": "relay"}])
async def test_a_mailbox_that_is_not_saved_cannot_name_the_operators_secrets(
    world: CheckWorld, secret: dict[str, str]
) -> None:
    """If somebody asks for a check of a mailbox at a host of their own, then no variable or file is sent there."""
    mailbox = a_mailbox().model_dump(mode="json")
    mailbox["smtp"]["auth"]["secret"] = secret
    event = await world.answer(mailbox=mailbox)
    assert event["data"]["ok"] is False
    assert steps(event)["settings"]["reason"] == "sender_not_permitted"
    assert world.visitors.steps == []


async def test_a_secret_of_imap_alone_is_looked_at_too(world: CheckWorld) -> None:
    mailbox = a_mailbox().model_dump(mode="json")
    mailbox["smtp"]["auth"]["secret"] = {"sealed": "main.abc"}
    auth = {"method": "password", "username": "u", "secret": {"env": "SENDAS_SECRET_RELAY"}}
    mailbox["sent_copy"] = {"imap": {"host": "imap.evil.example", "port": 993, "security": "tls", "auth": auth}}
    assert (await world.answer(mailbox=mailbox))["data"]["ok"] is False
    assert world.visitors.steps == []


@pytest.mark.parametrize(
    ("account_id", "mailbox_id", "words"),
    [
        ("nobody", "mb-support", "no such account"),
        ("acme", "mb-nothing", "no such mailbox"),
        ("broken", "mb-support", "not valid"),
    ],
)
async def test_what_the_snapshot_does_not_know_is_answered_after_a_look_for_a_newer_one(
    world: CheckWorld, account_id: str, mailbox_id: str, words: str
) -> None:
    event = await world.answer(account_id=account_id, mailbox_id=mailbox_id)
    assert event["data"]["ok"] is False
    [step] = event["data"]["steps"]
    assert (step["name"], step["reason"]) == ("settings", "sender_unavailable")
    assert words in step["detail"]
    assert world.snapshot.refreshes == 1


async def test_a_newer_snapshot_may_have_the_mailbox(world: CheckWorld) -> None:
    world.snapshot.next = a_directory([an_account(mailboxes=[a_mailbox(id="mb-new")])])
    assert (await world.answer(mailbox_id="mb-new"))["data"]["ok"] is True


async def test_a_redelivered_request_sends_no_second_test_letter(world: CheckWorld) -> None:
    """If a worker died in the middle of a check, then the next one tells so instead of sending again."""
    first = await world.answer(mailbox_id="mb-support", send_test_to="client@example.net")
    assert steps(first)["test_letter"]["ok"] is True
    assert len(world.visitors.letters) == 1
    again = await world.answer(mailbox_id="mb-support", send_test_to="client@example.net", is_redelivered=True)
    assert steps(again)["test_letter"]["ok"] is None
    assert "begun before" in steps(again)["test_letter"]["detail"]
    assert again["data"]["ok"] is True
    assert len(world.visitors.letters) == 1


async def test_a_failed_step_is_in_the_answer_and_not_in_the_dead_queue(world: CheckWorld) -> None:
    world.visitors.troubles["smtp.sign_in"] = WRONG_PASSWORD
    event = await world.answer(mailbox_id="mb-support")
    assert event["data"]["ok"] is False
    assert steps(event)["auth"]["reply"]["code"] == 535
    assert world.visitors.steps.count("smtp.sign_in") == 1
    assert "imap.sign_in" not in world.visitors.steps


async def test_a_request_that_cannot_be_read_is_kept_and_whoever_waits_is_told(world: CheckWorld) -> None:
    answer, buried = await world.handle()
    event = json.loads(answer.body)
    assert event["type"] == "mailbox.checked"
    assert (event["data"]["account_id"], event["data"]["ok"]) == ("acme", False)
    assert steps(event)["settings"]["reason"] == "invalid_event"
    assert (buried.routing_key, buried.headers[DEAD_REASON]) == ("sendas.dead", "invalid_event")
    assert world.observer.counts == {"settled invalid": 1, "buried invalid_event": 1}


async def test_a_message_that_is_no_event_at_all_is_kept(world: CheckWorld) -> None:
    [buried] = await world.handler.handle(Arrival(TOPOLOGY.mailbox_check, b"\xff", {}, STRUCTURED))
    assert buried.headers[DEAD_REASON] == "invalid_event"


async def test_an_event_of_another_type_is_no_request(world: CheckWorld) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/p", "type": "configuration.changed"}
    body = json.dumps(event | {"time": "2026-11-23T10:00:00Z", "data": {"version": 1}}).encode()
    told, buried = await world.handler.handle(Arrival(TOPOLOGY.mailbox_check, body, {}, STRUCTURED))
    assert told.routing_key == "mail.failed"
    assert buried.routing_key == "sendas.dead"


async def test_a_mistake_of_ours_is_kept_for_an_operator(world: CheckWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """If something unforeseen happens outside of the check's parts, then the message does not go round for ever."""

    def broken(*_: Any) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(world.snapshot.directory.__class__, "account", broken)
    told, buried = await world.handle(mailbox_id="mb-support")
    assert steps(json.loads(told.body))["settings"]["reason"] == "internal_error"
    assert (buried.routing_key, buried.headers[DEAD_REASON]) == ("sendas.dead", "internal_error")


async def test_a_request_that_workers_die_of_is_kept_before_the_broker_gives_it_up(world: CheckWorld) -> None:
    """If a request comes back again and again, then nobody is connected to any more, and it is told."""
    told, buried = await world.handle(mailbox_id="mb-support", is_redelivered=True, returns=MAX_RETURNS)
    assert json.loads(told.body)["data"]["ok"] is False
    assert buried.headers[DEAD_REASON] == "internal_error"
    assert world.visitors.steps == []


async def test_a_kept_request_can_be_replayed(world: CheckWorld) -> None:
    """If an operator replays a dead request, then it goes back to the queue of checks."""
    world.snapshot.directory.accounts.clear()
    _, buried = await world.handle()
    message = FiledMessage(place=0, body=buried.body, headers=dict(buried.headers), properties={})
    assert destination(read_dead_letter(message), TOPOLOGY) == TOPOLOGY.mailbox_check
