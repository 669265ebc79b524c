"""Journeys of events through the delivery: what goes in, what the servers do, what is published in the end."""

import asyncio
from dataclasses import replace

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import (
    BUSY,
    GREYLISTED,
    IMAP,
    TOO_FAST,
    TOPOLOGY,
    UNKNOWN_RECIPIENT,
    UNREACHABLE,
    WRONG_PASSWORD,
    DeliveryWorld,
    addresses,
    an_arrival,
)
from tests.doubles.directory import MemoryDirectory, a_directory
from worker.delivery.results import Reporter
from worker.domain.failure.hints import REMEDIES
from worker.domain.failure.judgements import Remedy
from worker.domain.failure.replies import parse_reply
from worker.domain.results.events import (
    MailboxResumedEvent,
    MailboxSuspendedEvent,
    MailDeferredEvent,
    MailFailedEvent,
    MailSentEvent,
)
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Action, Phase, Reason, Scope
from worker.errors import Unavailable

TWO = [a_recipient("one@example.net"), a_recipient("two@example.net")]
THREE = [*TWO, a_recipient("three@example.net")]


def many(number: int) -> list[dict[str, object]]:
    return [a_recipient(f"client{n}@example.net") for n in range(number)]


async def test_if_the_server_defers_twice_and_then_accepts_each_attempt_is_told_of() -> None:
    world = DeliveryWorld()
    world.transport.refuse(BUSY, times=2)

    await world.deliver(a_comment_event())

    assert world.types == ["mail.deferred", "mail.deferred", "mail.sent", "sent_copy.saved"]
    first, second = world.results(MailDeferredEvent)
    assert (first.data.attempt, second.data.attempt) == (1, 2)
    assert world.results(MailSentEvent)[0].data.attempt == 3
    assert world.broker.waits[TOPOLOGY.outbound] == [30, 120]
    assert len({result.id for result in world.broker.results}) == 4


async def test_a_letter_that_is_deferred_ten_times_comes_back_each_time() -> None:
    """Headers of the broker's must not go round: it drops what seems to go in circles."""
    world = DeliveryWorld()
    world.transport.refuse(BUSY, times=10)

    await world.deliver(a_comment_event())

    assert world.broker.dropped == []
    assert len(world.results(MailDeferredEvent)) == 10
    assert world.delivered_to == ["client@example.net"]


async def test_a_letter_too_old_fails_with_the_last_real_reason() -> None:
    world = DeliveryWorld()
    world.transport.refuse(GREYLISTED)

    await world.deliver(a_comment_event())

    [failed] = world.results(MailFailedEvent)
    assert failed.data.reason is Reason.EXPIRED
    assert failed.data.detail == "last: greylisted: 450 4.7.1 greylisted, come back later"
    assert world.clock.monotonic() >= 24 * 3600
    assert world.delivered_to == []


async def test_of_a_common_letter_only_the_deferred_recipient_is_tried_again() -> None:
    """If one is refused for good, one deferred and one accepted, the retry is for the deferred one alone."""
    account = an_account(mailboxes=[a_mailbox()], settings={"name_all_recipients": True})
    world = DeliveryWorld([account])
    world.transport.refuse(UNKNOWN_RECIPIENT, recipient="one@example.net")
    world.transport.refuse(GREYLISTED, recipient="two@example.net", times=1)

    await world.deliver(a_comment_event(recipients=THREE))

    (_, first), (_, second) = world.transport.attempts
    assert first.envelope_to == ("one@example.net", "two@example.net", "three@example.net")
    assert second.envelope_to == ("two@example.net",)
    assert (first.wire, first.message_id) == (second.wire, second.message_id)
    assert [addresses(sent) for sent in world.results(MailSentEvent)] == [["three@example.net"], ["two@example.net"]]
    assert [addresses(failed) for failed in world.results(MailFailedEvent)] == [["one@example.net"]]
    assert [addresses(deferred) for deferred in world.results(MailDeferredEvent)] == [["two@example.net"]]
    assert len({result.id for result in world.broker.results}) == len(world.broker.results)


async def test_an_account_that_changes_its_mode_between_two_attempts_keeps_the_mode_of_the_event() -> None:
    account = an_account(mailboxes=[a_mailbox()], settings={"name_all_recipients": True})
    world = DeliveryWorld([account])
    world.transport.refuse(GREYLISTED, recipient="two@example.net", times=1)
    world.publish(a_comment_event(recipients=TWO))
    await world.run(until_s=0)

    world.serve(an_account(mailboxes=[a_mailbox()]))
    await world.run()

    assert sorted(world.delivered_to) == ["one@example.net", "two@example.net"]
    (_, first), (_, second) = world.transport.attempts
    assert first.wire == second.wire


async def test_a_sender_that_changes_between_two_attempts_keeps_the_message_id() -> None:
    world = DeliveryWorld()
    world.transport.refuse(BUSY, times=1)
    world.publish(a_comment_event())
    await world.run(until_s=0)

    world.serve(an_account(mailboxes=[a_mailbox(id="mb-other", address="other@acme.example")]))
    await world.run()

    (_, first), (_, second) = world.transport.attempts
    assert first.message_id == second.message_id
    assert second.envelope_from == "other@acme.example"
    assert world.results(MailSentEvent)[0].data.sender.mailbox_id == "mb-other"


async def test_what_one_letter_came_to_is_published_although_another_met_an_outage() -> None:
    """If the ledger is away for one letter of an event, the others' results and their waiting are not lost."""
    world = DeliveryWorld()
    world.transport.refuse(BUSY, times=1)
    world.ledger.failures_of_recipients.add(1)
    world.publish(a_comment_event(recipients=TWO))
    await world.broker.step()

    assert [addresses(deferred) for deferred in world.results(MailDeferredEvent)] == [["one@example.net"]]
    assert world.broker.waits[TOPOLOGY.outbound] == [30, 5]

    world.ledger.failures_of_recipients.clear()
    await world.run()
    assert sorted(world.delivered_to) == ["one@example.net", "two@example.net"]


async def test_if_the_ledger_is_away_for_all_of_an_event_the_message_itself_waits() -> None:
    world = DeliveryWorld()
    world.ledger.failures["claim"] = 2
    world.publish(a_comment_event(recipients=TWO))

    with pytest.raises(Unavailable):
        await world.run()
    assert world.broker.results == []

    await world.run()
    assert sorted(world.delivered_to) == ["one@example.net", "two@example.net"]


async def test_a_mistake_with_one_letter_buries_that_letter_alone() -> None:
    """If composing one of two letters fails for a bug, the other's result is published all the same."""
    world = DeliveryWorld()
    send = world.transport.send

    async def fails_for_one(route: object, letter: object, dot: object) -> object:
        if letter.envelope_to == ("one@example.net",):  # type: ignore[attr-defined]
            raise KeyError("bug")
        return await send(route, letter, dot)  # type: ignore[arg-type]

    world.transport.send = fails_for_one  # type: ignore[method-assign,assignment]
    await world.deliver(a_comment_event(recipients=TWO))

    assert [addresses(sent) for sent in world.results(MailSentEvent)] == [["two@example.net"]]
    [stranded] = world.results(MailDeferredEvent)
    assert (addresses(stranded), stranded.data.reason) == (["one@example.net"], Reason.INTERNAL_ERROR)
    assert (stranded.data.next_attempt_at, stranded.data.detail) == (None, "KeyError")
    [dead] = world.broker.dead
    assert dead.headers["sendas-dead-reason"] == "internal_error"
    assert dead.headers["sendas-recipients"] == "0"


async def test_a_mistake_before_any_letter_is_told_to_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    world = DeliveryWorld()

    def mistaken(*_: object) -> object:
        raise KeyError("bug")

    monkeypatch.setattr(MemoryDirectory, "account", mistaken)
    await world.deliver(a_comment_event(recipients=TWO))

    [stranded] = world.results(MailDeferredEvent)
    assert addresses(stranded) == ["one@example.net", "two@example.net"]
    assert len(world.broker.dead) == 1


async def test_a_mistake_in_the_results_themselves_loses_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: object, **__: object) -> object:
        raise KeyError("bug")

    monkeypatch.setattr(Reporter, "sent", mistaken)
    monkeypatch.setattr(Reporter, "stranded", mistaken)
    world = DeliveryWorld()
    await world.deliver(a_comment_event())

    assert world.broker.results == []
    assert len(world.broker.dead) == 1


@pytest.mark.parametrize(("returns", "is_buried"), [(14, False), (15, True)])
async def test_a_message_that_workers_die_of_is_buried_before_the_broker_gives_it_up(
    returns: int, is_buried: bool
) -> None:
    """The broker would put it into the dead queue too, but nobody who waits for the letter would hear of it."""
    world = DeliveryWorld()
    world.broker.put(replace(an_arrival(a_comment_event()), is_redelivered=True, returns=returns))
    await world.run()

    assert len(world.broker.dead) == int(is_buried)
    assert len(world.transport.delivered) == int(not is_buried)
    told = [deferred.data.reason for deferred in world.results(MailDeferredEvent)]
    assert told == [Reason.INTERNAL_ERROR] * is_buried


async def test_a_refused_sign_in_suspends_the_mailbox_until_its_settings_change() -> None:
    """If the password is wrong, I expect one sign-in, mailbox.suspended, and letters that wait without an attempt."""
    world = DeliveryWorld()
    world.transport.refuse(WRONG_PASSWORD)
    world.publish(a_comment_event("1"))
    world.publish(a_comment_event("2"))
    await world.run(until_s=4 * 3600)

    assert len(world.transport.attempts) == 1
    assert world.types == ["mailbox.suspended", "mail.deferred", "mail.deferred"]
    assert [deferred.data.attempt for deferred in world.results(MailDeferredEvent)] == [1, 0]

    world.transport.recover()
    world.serve(an_account(mailboxes=[a_mailbox(smtp={"port": 587, "security": "starttls"})]))
    await world.run()

    assert world.delivered_to == ["client@example.net"] * 2
    [resumed] = world.results(MailboxResumedEvent)
    assert resumed.data.reason is Reason.AUTH_FAILED


async def test_a_changed_address_opens_a_mailbox_whose_address_was_refused() -> None:
    """Not only the server's settings count: a sender that is not owned is mended by another address."""
    world = DeliveryWorld()
    not_owned = DeliveryFailure(
        Phase.MAIL, FailureKind.REPLY, Reply(553, "5.7.1", "sender address rejected: not owned by auth user")
    )
    world.transport.refuse(not_owned, times=1)
    world.publish(a_comment_event())
    await world.run(until_s=60)
    assert world.results(MailboxSuspendedEvent)

    world.serve(an_account(mailboxes=[a_mailbox(address="real@acme.example")]))
    await world.run()

    assert world.delivered_to == ["client@example.net"]


async def test_a_mailbox_suspended_again_after_a_change_is_told_of_again() -> None:
    world = DeliveryWorld()
    world.transport.refuse(WRONG_PASSWORD, times=2)
    world.publish(a_comment_event())
    await world.run(until_s=60)
    world.serve(an_account(mailboxes=[a_mailbox(smtp={"port": 587, "security": "starttls"})]))
    await world.run(until_s=300)

    first, second = world.results(MailboxSuspendedEvent)
    assert first.id != second.id


async def test_a_broken_relay_rests_and_goes_on_by_itself() -> None:
    """Nobody could resume the platform's own relay, so one wrong password must not suspend it for ever."""
    world = DeliveryWorld([an_account()])
    world.transport.refuse(WRONG_PASSWORD, times=1)

    await world.deliver(a_comment_event())

    assert world.types == ["mail.deferred", "mail.sent"]
    [deferred] = world.results(MailDeferredEvent)
    assert (deferred.data.scope, deferred.data.action) == (Scope.PLATFORM, Action.PAUSE)
    assert world.clock.monotonic() < 600


async def test_a_mailbox_that_must_rest_costs_no_attempt_and_is_told_of_once_per_reason() -> None:
    world = DeliveryWorld()
    world.transport.refuse(TOO_FAST, times=1)
    world.publish(a_comment_event("1"))
    world.publish(a_comment_event("2"))
    await world.run()

    assert len(world.results(MailDeferredEvent)) == 2
    assert [sent.data.attempt for sent in world.results(MailSentEvent)] == [1, 1]


async def test_a_server_that_cannot_be_reached_is_tried_by_one_letter_and_not_by_all() -> None:
    """Else a dead server with a backlog would hold all of a worker's places until its timeouts are over."""
    world = DeliveryWorld()
    world.transport.refuse(UNREACHABLE, times=1)
    for number in range(20):
        world.publish(a_comment_event(str(number)))
    await world.run(until_s=0)

    assert len(world.transport.attempts) == 1
    await world.run()
    assert len(world.delivered_to) == 20


async def test_an_event_published_twice_is_sent_once_and_told_of_in_the_same_words() -> None:
    world = DeliveryWorld()
    await world.deliver(a_comment_event())
    world.clock.step(3600)
    await world.deliver(a_comment_event())

    assert world.delivered_to == ["client@example.net"]
    first, second = world.results(MailSentEvent)
    assert first.to_json() == second.to_json()
    assert len(world.sent_folder.copies("mb-support")) == 1


async def test_a_message_that_comes_again_while_its_letter_is_being_sent_waits() -> None:
    """The same process must not send a letter twice because the broker redelivered it after a reconnect."""
    world = await a_proven_world()
    world.transport.pause_after_dot.clear()
    arrival = an_arrival(a_comment_event())
    first = asyncio.create_task(_handled(world, arrival))
    await world.transport.after_dot.wait()

    await _handled(world, arrival)
    assert world.broker.waits[TOPOLOGY.outbound] == [30]

    world.transport.pause_after_dot.set()
    await first
    await world.run()
    assert world.delivered_to == ["before@example.net", "client@example.net"]
    assert len({sent.id for sent in world.results(MailSentEvent)}) == 2


async def test_a_message_that_comes_to_two_processes_is_sent_by_one() -> None:
    world = await a_proven_world()
    world.transport.pause_after_dot.clear()
    arrival = an_arrival(a_comment_event())
    first = asyncio.create_task(_handled(world, arrival))
    await world.transport.after_dot.wait()

    other = world.another_worker(world.another_ledger())
    world.broker.publish(await other.pipeline.handle(arrival))
    assert world.broker.waits[TOPOLOGY.outbound] == [30]

    world.transport.pause_after_dot.set()
    await first
    assert world.delivered_to == ["before@example.net", "client@example.net"]


async def a_proven_world() -> DeliveryWorld:
    """A world whose mailbox is known to work, so that it has more than one connection."""
    world = DeliveryWorld()
    await world.deliver(a_comment_event("before", recipients=[a_recipient("before@example.net")]))
    world.transport.after_dot.clear()
    return world


async def _handled(world: DeliveryWorld, arrival: object) -> None:
    world.broker.publish(await world.delivery.pipeline.handle(arrival))  # type: ignore[arg-type]


async def test_an_account_that_is_away_for_some_minutes_costs_nobody_a_letter() -> None:
    """Also not a letter that has waited for hours for another reason."""
    world = DeliveryWorld()
    account = world.snapshot.directory.accounts["acme"]
    world.transport.refuse(BUSY, times=5)
    world.publish(a_comment_event())
    await world.run(until_s=6000)

    world.serve()
    await world.run(until_s=6150 + 300)
    assert world.results(MailFailedEvent) == []
    assert world.results(MailDeferredEvent)[-1].data.reason is Reason.SENDER_UNAVAILABLE
    world.serve(account, version=1844)
    await world.run()

    assert world.delivered_to == ["client@example.net"]


async def test_an_unknown_chosen_mailbox_is_looked_for_at_once_then_waited_for_then_given_up() -> None:
    world = DeliveryWorld()

    await world.deliver(a_comment_event(mailbox_id="mb-new"))

    assert world.snapshot.refreshes > 10
    assert world.types == ["mail.deferred", "mail.failed"]
    [failed] = world.results(MailFailedEvent)
    assert failed.data.reason is Reason.SENDER_UNAVAILABLE
    assert 600 <= world.clock.monotonic() < 700


async def test_a_refresh_that_brings_the_chosen_mailbox_is_enough() -> None:
    world = DeliveryWorld()
    mailbox = a_mailbox(id="mb-new", address="new@acme.example")
    world.snapshot.next = a_directory([an_account(mailboxes=[mailbox])], version=1843)

    await world.deliver(a_comment_event(mailbox_id="mb-new"))

    assert world.types[0] == "mail.sent"
    assert world.snapshot.refreshes == 1


async def test_letters_of_an_account_that_is_left_out_wait_as_long_as_letters_wait() -> None:
    world = DeliveryWorld()
    world.snapshot.directory = a_directory(left_out=["acme"])
    world.publish(a_comment_event())
    await world.run(until_s=20 * 3600)
    assert world.types == ["mail.deferred"]

    world.serve(an_account(mailboxes=[a_mailbox()]))
    await world.run()
    assert world.delivered_to == ["client@example.net"]


async def test_an_event_with_many_letters_is_worked_on_in_parts_and_each_gets_one() -> None:
    world = DeliveryWorld()

    await world.deliver(a_comment_event(recipients=many(100)))

    assert len(world.delivered_to) == len(set(world.delivered_to)) == 100
    assert len(world.results(MailSentEvent)) == 100
    assert world.observer.counts["settled split"] == 1
    assert world.observer.counts["settled done"] == 13 + 100  # the parts, and the copies


async def test_parts_that_were_published_twice_send_nothing_twice() -> None:
    """If a worker dies after some parts were published, the event comes again and is split again."""
    world = DeliveryWorld()
    event = a_comment_event(recipients=many(20))
    world.publish(event)
    world.publish(event)

    await world.run()

    assert len(world.delivered_to) == 20
    assert len({sent.id for sent in world.results(MailSentEvent)}) == 20


@pytest.mark.parametrize("name_all", [False, True], ids=["one each", "common"])
async def test_an_address_that_cannot_be_read_fails_alone(name_all: bool) -> None:
    """If a contact's address is no address, then the others get their letter, and the result says what is wrong."""
    world = DeliveryWorld([an_account(mailboxes=[a_mailbox()], settings={"name_all_recipients": name_all})])
    bad = [
        a_recipient("client@my_dept.example.net", contact_id="k-7"),
        a_recipient("client@example.net\r\nBcc: all@example.net"),
        a_recipient(""),
        a_recipient() | {"address": None},
    ]

    await world.deliver(a_comment_event(recipients=[bad[0], TWO[0], *bad[1:], TWO[1]]))

    assert sorted(world.delivered_to) == ["one@example.net", "two@example.net"]
    assert all(b"my_dept" not in letter.wire and b"Bcc" not in letter.wire for _, letter in world.transport.attempts)
    failed = world.results(MailFailedEvent)
    assert {(f.data.reason, f.data.scope, f.data.action) for f in failed} == {
        (Reason.RECIPIENT_REFUSED, Scope.RECIPIENT, Action.FAIL)
    }
    assert {f.data.hint for f in failed} == {REMEDIES[Remedy.ADDRESS]}
    assert {f.data.detail: addresses(f) for f in failed} == {
        "the domain is not valid": ["client@my_dept.example.net"],
        "the part before the @ has a character that is not allowed there": [
            "client@example.net\\u000d\\u000aBcc: all@example.net"
        ],
        "an address has the form name@domain": ["", ""],
    }
    assert failed[0].data.recipients[0].contact_id == "k-7"
    assert world.broker.dead == []


async def test_if_no_address_can_be_read_each_of_them_is_told_of_and_nothing_is_buried() -> None:
    world = DeliveryWorld()

    await world.deliver(a_comment_event(recipients=[a_recipient("nobody"), a_recipient("nobody"), a_recipient("x@y")]))

    assert world.types == ["mail.failed", "mail.failed"]
    assert sorted(a for failed in world.results(MailFailedEvent) for a in addresses(failed)) == [
        "nobody",
        "nobody",
        "x@y",
    ]
    assert (world.broker.dead, world.transport.attempts) == ([], [])


async def test_an_unreadable_address_of_a_large_event_is_told_of_once() -> None:
    """If the event is split, then its parts are about the others."""
    world = DeliveryWorld()

    await world.deliver(a_comment_event(recipients=[a_recipient("nobody"), *many(20)]))

    assert len(world.delivered_to) == 20
    [failed] = world.results(MailFailedEvent)
    assert addresses(failed) == ["nobody"]


async def test_a_repeated_event_tells_of_an_unreadable_address_in_the_same_words() -> None:
    world = DeliveryWorld()
    event = a_comment_event(recipients=[a_recipient("nobody"), *TWO])

    await world.deliver(event)
    await world.deliver(event)

    assert len(world.delivered_to) == 2
    assert len({failed.id for failed in world.results(MailFailedEvent)}) == 1


async def test_an_address_that_only_smtputf8_could_carry_fails_alone_where_the_server_does_not_have_it() -> None:
    """If one of a common letter's recipients is such, then the others get it, and it does not name that one."""
    mailbox = a_mailbox(sent_copy={"imap": IMAP})
    world = DeliveryWorld([an_account(mailboxes=[mailbox], settings={"name_all_recipients": True})])
    world.transport.refuse(
        DeliveryFailure(Phase.MAIL, FailureKind.NO_SMTPUTF8, detail="no SMTPUTF8"), recipient="ещё@example.net"
    )

    await world.deliver(a_comment_event(recipients=[TWO[0], a_recipient("ещё@example.net"), TWO[1]]))

    assert world.delivered_to == ["one@example.net", "two@example.net"]
    [delivered] = world.transport.delivered
    assert not delivered.letter.needs_smtputf8
    assert "ещё".encode() not in delivered.letter.wire
    [failed] = world.results(MailFailedEvent)
    assert (addresses(failed), failed.data.reason) == (["ещё@example.net"], Reason.RECIPIENT_REFUSED)
    [copy] = world.sent_folder.copies("mb-support")
    assert copy.content == delivered.letter.copy


async def test_the_others_of_such_a_letter_get_it_at_a_later_attempt_too() -> None:
    world = DeliveryWorld([an_account(mailboxes=[a_mailbox()], settings={"name_all_recipients": True})])
    world.transport.refuse(
        DeliveryFailure(Phase.MAIL, FailureKind.NO_SMTPUTF8, detail="no SMTPUTF8"), recipient="ещё@example.net"
    )
    world.transport.refuse(GREYLISTED, recipient="two@example.net", times=1)

    await world.deliver(a_comment_event(recipients=[TWO[0], a_recipient("ещё@example.net"), TWO[1]]))

    assert world.delivered_to == ["one@example.net", "two@example.net"]
    assert len(world.results(MailFailedEvent)) == 1
    assert len({letter.wire for _, letter in world.transport.attempts if not letter.needs_smtputf8}) == 1


async def test_an_address_beyond_ascii_that_has_a_letter_of_its_own_fails_with_it() -> None:
    world = DeliveryWorld()
    world.transport.refuse(
        DeliveryFailure(Phase.MAIL, FailureKind.NO_SMTPUTF8, detail="no SMTPUTF8"), recipient="ещё@example.net"
    )

    await world.deliver(a_comment_event(recipients=[TWO[0], a_recipient("ещё@example.net")]))

    assert world.delivered_to == ["one@example.net"]
    [failed] = world.results(MailFailedEvent)
    assert (failed.data.reason, failed.data.scope) == (Reason.RECIPIENT_REFUSED, Scope.RECIPIENT)


@pytest.mark.parametrize(
    ("reply", "pause_s"),
    [
        ("550 User exceeded its 24-hour sending limit. Relay quota will reset in 3.43 hours.", 12_348),
        ("550 5.7.1 daily sending limit exceeded, try again after 2026-11-23T10:30:00Z", 1_800),
    ],
)
async def test_a_limit_of_the_mailbox_pauses_it_for_as_long_as_the_server_says(reply: str, pause_s: int) -> None:
    """If one letter meets the limit, then the next one waits for the same moment and the server is left alone."""
    world = DeliveryWorld()
    world.transport.refuse(DeliveryFailure(Phase.RCPT, FailureKind.REPLY, parse_reply(reply)), times=1)
    began = world.clock.now()

    await world.deliver(a_comment_event(recipients=TWO))

    assert sorted(world.delivered_to) == ["one@example.net", "two@example.net"]
    assert {d.data.reason for d in world.results(MailDeferredEvent)} == {Reason.QUOTA_EXCEEDED}
    assert len(world.transport.attempts) == 3
    assert (world.clock.now() - began).total_seconds() >= pause_s


async def test_a_refused_ehlo_name_ends_no_letter_and_blames_no_mailbox() -> None:
    world = DeliveryWorld()
    refused = parse_reply("504 5.5.2 <25aea30808b2>: Helo command rejected: need fully-qualified hostname")
    world.transport.refuse(DeliveryFailure(Phase.RCPT, FailureKind.REPLY, refused), times=1)

    await world.deliver(a_comment_event())

    assert world.delivered_to == ["client@example.net"]
    [deferred] = world.results(MailDeferredEvent)
    assert (deferred.data.reason, deferred.data.scope) == (Reason.INTERNAL_ERROR, Scope.PLATFORM)
    assert "SENDAS_LOCAL_HOSTNAME" in deferred.data.hint.en
    assert deferred.data.next_attempt_at is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"sendas_attempt": "many"},
        {"sendas_attempt": -7},
        {"sendas_attempt": 10**30},
        {"sendas_recipients": "7"},
        {"sendas_recipients": "1-0"},
        {"sendas_recipients": "0-9999,0-9999"},
        {"sendas_recipients": ""},
        {"sendas_mode": "some"},
        {"sendas_turn": "soon"},
        {"sendas_first_seen": "yesterday"},
    ],
)
async def test_headers_that_only_a_hand_made_message_can_have_bury_it(headers: dict[str, object]) -> None:
    world = DeliveryWorld()
    world.publish(a_comment_event(), **{"sendas_first_seen": "2026-11-23T10:00:00+00:00", **headers})

    await world.run()

    [dead] = world.broker.dead
    assert dead.headers["sendas-dead-reason"] == "invalid_event"
    assert world.types == ["mail.failed"]
    assert world.transport.attempts == []


async def test_a_letter_from_the_future_gets_old_all_the_same() -> None:
    world = DeliveryWorld()
    world.transport.refuse(BUSY)
    world.publish(a_comment_event(), sendas_first_seen="2999-01-01T00:00:00+00:00")

    await world.run()

    assert world.results(MailFailedEvent)[0].data.reason is Reason.EXPIRED


async def test_a_file_that_cannot_be_had_now_is_waited_for() -> None:
    file = {
        "name": "смета.pdf",
        "content_type": "application/pdf",
        "size": 4,
        "url": "https://files.example/1",
        "link": "https://product.example/1",
    }
    account = an_account(mailboxes=[a_mailbox()], settings={"attach_files": True})
    world = DeliveryWorld([account], files={"https://files.example/1": None})
    world.publish(a_comment_event(files=[file]))
    await world.run(until_s=0)
    assert world.results(MailDeferredEvent)[0].data.reason is Reason.FILE_UNAVAILABLE

    world.file_store.files["https://files.example/1"] = b"%PDF"
    await world.run()
    assert world.results(MailSentEvent)[0].data.attempt == 2

    gone = DeliveryWorld([account])
    await gone.deliver(a_comment_event(files=[file]))
    assert gone.results(MailFailedEvent)[0].data.reason is Reason.FILE_UNAVAILABLE


async def test_a_servers_hostile_words_can_keep_nothing_from_being_published() -> None:
    """Surrogates of undecodable bytes, and more words than fit into a frame of headers."""
    world = DeliveryWorld()
    words = "\udcff\r\nX: y\x00" + "long " * 50_000
    world.transport.refuse(DeliveryFailure(Phase.DATA, FailureKind.REPLY, Reply(451, "4.3.0", words)), times=1)
    world.publish(a_comment_event())
    await world.broker.step()

    [waiting] = world.broker.waiting
    reply = str(waiting.headers["sendas-last-reply"])
    assert len(reply) <= 1000
    reply.encode()


async def test_a_copy_wanted_before_a_crash_is_asked_for_again() -> None:
    """If the worker dies between the ledger's record and the publications, the same result and the copy follow."""
    world = DeliveryWorld()
    arrival = an_arrival(a_comment_event())
    lost = await world.delivery.pipeline.handle(arrival)
    assert len(lost) == 2

    await world.restart()
    world.broker.put(arrival)
    await world.run()

    assert world.delivered_to == ["client@example.net"]
    assert world.types == ["mail.sent", "sent_copy.saved"]
    [copy] = world.sent_folder.copies("mb-support")
    assert copy.content == world.transport.delivered[0].letter.copy


async def test_a_copy_is_not_made_of_another_letter_than_the_one_that_was_sent() -> None:
    world = DeliveryWorld()
    arrival = an_arrival(a_comment_event())
    await world.delivery.pipeline.handle(arrival)
    world.serve(an_account(mailboxes=[a_mailbox(address="renamed@acme.example", sent_copy={"imap": IMAP})]))

    world.broker.put(arrival)
    await world.run()

    assert world.types == ["mail.sent"]
