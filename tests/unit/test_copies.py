"""The copy in Sent: whether one is wanted, how it is tried, and that no letter is ever sent again because of it."""

import asyncio
from datetime import timedelta

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import GREYLISTED, IMAP, TOPOLOGY, UNREACHABLE, DeliveryWorld, an_arrival
from tests.doubles.broker import redelivered
from worker.delivery.messages import Arrival
from worker.delivery.sent_copy.jobs import copy_target
from worker.domain.results.events import (
    MailSentEvent,
    SentCopyDeferredEvent,
    SentCopyFailedEvent,
    SentCopySavedEvent,
    SentCopySkippedEvent,
)
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import CopyOutcome, Phase, Reason

EVENT = a_comment_event()
GMAIL, GENERIC, MAILGUN = "smtp.gmail.com", "smtp.acme.example", "smtp.mailgun.org"
WRONG_PASSWORD = DeliveryFailure(Phase.AUTH, FailureKind.REPLY, detail="NO [AUTHENTICATIONFAILED] invalid credentials")
SERVER_BUSY = DeliveryFailure(Phase.AUTH, FailureKind.REPLY, detail="NO [UNAVAILABLE] try later")
LOST = DeliveryFailure(Phase.DATA, FailureKind.DISCONNECTED, detail="the server closed the connection")
OVER_QUOTA = DeliveryFailure(Phase.DATA, FailureKind.REPLY, detail="NO [OVERQUOTA] mailbox is full")


def world_of(host: str = GENERIC, **sent_copy: object) -> DeliveryWorld:
    mailbox = a_mailbox(smtp={"host": host}, sent_copy={"imap": IMAP, **sent_copy})
    return DeliveryWorld([an_account(mailboxes=[mailbox])])


@pytest.mark.parametrize(
    ("host", "sent_copy", "outcome"),
    [
        (GENERIC, {}, CopyOutcome.SAVED),
        (GENERIC, {"mode": "always"}, CopyOutcome.SAVED),
        (GENERIC, {"mode": "never"}, CopyOutcome.TURNED_OFF),
        (GENERIC, {"imap": None}, CopyOutcome.NO_IMAP),
        (GENERIC, {"mode": "never", "imap": None}, CopyOutcome.TURNED_OFF),
        (GMAIL, {}, CopyOutcome.PROVIDER_SAVES),
        (GMAIL, {"imap": None}, CopyOutcome.PROVIDER_SAVES),
        (GMAIL, {"mode": "always"}, CopyOutcome.SAVED),
        (GMAIL, {"mode": "always", "imap": None}, CopyOutcome.NO_IMAP),
        (MAILGUN, {}, CopyOutcome.NO_IMAP),
    ],
)
async def test_whether_a_copy_is_saved(host: str, sent_copy: dict[str, object], outcome: CopyOutcome) -> None:
    world = world_of(host, **sent_copy)

    await world.deliver(EVENT)

    saved = [result.data.outcome for result in world.results(SentCopySavedEvent)]
    skipped = [result.data.outcome for result in world.results(SentCopySkippedEvent)]
    assert saved + skipped == [outcome]
    assert len(world.sent_folder.copies("mb-support")) == (outcome is CopyOutcome.SAVED)


async def test_a_copy_that_does_not_succeed_at_once_is_tried_again_and_keeps_the_letter() -> None:
    world = world_of()
    world.sent_folder.troubles = [UNREACHABLE, SERVER_BUSY]

    await world.deliver(EVENT)

    [saved] = world.results(SentCopySavedEvent)
    assert saved.data.attempt == 3
    [copy] = world.sent_folder.copies("mb-support")
    assert copy.content == world.transport.delivered[0].letter.copy
    # The first wait is for the provider's own copy, of which nobody knows whether it comes.
    assert world.broker.waits[TOPOLOGY.sent_copy] == [5, 30, 120]
    assert world.broker.dead == []
    assert len(world.transport.delivered) == 1


async def test_a_copy_that_is_put_off_says_so_once_for_each_reason() -> None:
    """If a server is away for hours, then one result tells it, and another one when the trouble is another."""
    world = world_of(mode="always")
    busy = DeliveryFailure(Phase.DATA, FailureKind.REPLY, detail="NO [UNAVAILABLE] later")
    world.sent_folder.troubles = [busy, busy, LOST, busy]
    began = world.clock.now()

    await world.deliver(EVENT)

    told = [(each.data.attempt, each.data.reason) for each in world.results(SentCopyDeferredEvent)]
    assert told == [
        (1, Reason.TEMPORARILY_UNAVAILABLE),
        (3, Reason.DISCONNECTED),
        (4, Reason.TEMPORARILY_UNAVAILABLE),
    ]
    first, *_ = world.results(SentCopyDeferredEvent)
    assert first.data.next_attempt_at == began + timedelta(seconds=30)
    assert (first.data.outcome, first.data.detail) == (None, "NO [UNAVAILABLE] later")
    assert "The copy is tried again" in first.data.hint.en
    assert len({each.id for each in world.results(SentCopyDeferredEvent)}) == 3
    assert world.results(SentCopySavedEvent)[0].data.attempt == 5
    assert world.observer.counts["copy deferred temporarily_unavailable"] == 2


async def test_copies_of_an_unreachable_server_are_each_told_of_although_one_alone_was_tried() -> None:
    world = world_of(mode="always")
    world.sent_folder.broken["mb-support"] = UNREACHABLE
    for name in ("1", "2"):
        world.publish(a_comment_event(name))
    await world.run(until_s=1)
    told = world.results(SentCopyDeferredEvent)
    assert {each.data.event_id for each in told} == {"1", "2"}
    assert {each.data.reason for each in told} == {Reason.CONNECT_FAILED}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("NO Permission denied", Reason.SENT_FOLDER_DENIED),
        ("NO Over quota", Reason.MAILBOX_FULL),
        ("BAD command line limit exceeded", Reason.MESSAGE_TOO_LARGE),
    ],
)
async def test_a_refusal_that_no_repetition_mends_is_told_at_once(words: str, reason: Reason) -> None:
    world = world_of(mode="always")
    world.sent_folder.broken["mb-support"] = DeliveryFailure(Phase.DATA, FailureKind.REPLY, detail=words)

    await world.deliver(EVENT)

    [failed] = world.results(SentCopyFailedEvent)
    assert (failed.data.reason, failed.data.attempt) == (reason, 1)
    assert failed.data.hint is not None
    assert failed.data.hint.en.startswith("Only copies in Sent are affected")
    assert world.results(SentCopyDeferredEvent) == []


async def test_a_copy_that_never_succeeds_is_given_up_after_a_day() -> None:
    world = world_of()
    world.sent_folder.broken["mb-support"] = UNREACHABLE

    await world.deliver(EVENT)

    [failed] = world.results(SentCopyFailedEvent)
    assert failed.data.reason is Reason.EXPIRED
    assert world.clock.monotonic() >= 24 * 3600
    assert len(world.transport.delivered) == 1


async def test_a_wrong_password_is_not_tried_again_nor_by_the_next_copy() -> None:
    """Providers lock mailboxes whose sign-ins keep failing."""
    world = world_of()
    world.sent_folder.broken["mb-support"] = WRONG_PASSWORD
    world.publish(a_comment_event("1"))
    world.publish(a_comment_event("2"))
    tries: list[object] = []
    save = world.sent_folder.save

    async def counted(*arguments: object, **also: object) -> object:
        tries.append(arguments)
        return await save(*arguments, **also)  # type: ignore[arg-type]

    world.sent_folder.save = counted  # type: ignore[method-assign,assignment]
    await world.run()

    assert [failed.data.reason for failed in world.results(SentCopyFailedEvent)] == [Reason.AUTH_FAILED] * 2
    assert len(tries) == 1

    world.sent_folder.broken.clear()
    world.serve(an_account(mailboxes=[a_mailbox(sent_copy={"imap": {**IMAP, "port": 1993}})]))
    await world.deliver(a_comment_event("3"))
    assert len(world.results(SentCopySavedEvent)) == 1


async def test_the_next_copy_does_not_wait_while_the_ledger_takes_note_of_the_one_before() -> None:
    """If a mailbox has one connection for copies, I expect it to be used while a claim is being released."""
    world = world_of(mode="always")
    for name in ("1", "2"):
        world.publish(a_comment_event(name))
    for _ in range(2):
        await world.broker.step()
    orders, taken_note, release = world.broker.take_ready(), asyncio.Event(), world.ledger.release

    async def released(*arguments: object) -> None:
        await taken_note.wait()
        await release(*arguments)  # type: ignore[arg-type]

    world.ledger.release = released  # type: ignore[method-assign,assignment]
    copying = [asyncio.create_task(world.delivery.copies.handle(order)) for order in orders]
    for _ in range(50):
        await asyncio.sleep(0)

    assert len(world.sent_folder.copies("mb-support")) == 2
    taken_note.set()
    await asyncio.gather(*copying)


async def test_a_copy_too_large_for_the_broker_fails_and_the_letter_is_sent() -> None:
    world = DeliveryWorld([an_account(mailboxes=[a_mailbox(sent_copy={"imap": IMAP})])], max_copy_bytes=100)

    await world.deliver(EVENT)

    assert world.types == ["mail.sent", "sent_copy.failed"]
    assert world.results(SentCopyFailedEvent)[0].data.reason is Reason.MESSAGE_TOO_LARGE


async def test_a_mailbox_that_was_changed_after_the_letter_was_sent_decides_anew() -> None:
    world = world_of()
    world.publish(EVENT)
    await world.run(until_s=0)
    world.serve(an_account(mailboxes=[a_mailbox(sent_copy={"imap": IMAP, "mode": "never"})]))

    await world.run()

    assert world.results(SentCopySkippedEvent)[0].data.outcome is CopyOutcome.TURNED_OFF


async def test_a_mailbox_that_the_snapshot_lost_for_a_while_gets_its_copy_later() -> None:
    world = world_of()
    account = world.snapshot.directory.accounts["acme"]
    world.publish(EVENT)
    await world.run(until_s=0)
    world.serve()
    await world.run(until_s=300)
    world.serve(account, version=1844)

    await world.run()

    assert len(world.sent_folder.copies("mb-support")) == 1


async def test_a_common_letter_sent_in_two_parts_has_one_copy() -> None:
    """The second part's copy is the same letter with the same Message-ID."""
    mailbox = a_mailbox(sent_copy={"imap": IMAP})
    world = DeliveryWorld([an_account(mailboxes=[mailbox], settings={"name_all_recipients": True})])
    world.transport.refuse(GREYLISTED, recipient="two@example.net", times=1)
    recipients = [a_recipient("one@example.net"), a_recipient("two@example.net")]

    await world.deliver(a_comment_event(recipients=recipients))

    first, second = world.results(SentCopySavedEvent)
    assert (first.data.outcome, second.data.outcome) == (CopyOutcome.SAVED, CopyOutcome.ALREADY_THERE)
    assert first.id != second.id
    assert len(world.sent_folder.copies("mb-support")) == 1


async def test_a_backlog_of_copies_waits_for_its_mailbox_and_keeps_its_letters() -> None:
    world = world_of()
    for number in range(30):
        world.publish(a_comment_event(str(number)))

    await world.run()

    assert len(world.sent_folder.copies("mb-support")) == 30


@pytest.mark.parametrize("headers", [{}, {"sendas-copy": "{}"}, {"sendas-copy": "not JSON"}])
async def test_what_is_no_copy_job_goes_to_the_dead_queue(headers: dict[str, object]) -> None:
    world = world_of()
    world.broker.put(Arrival(TOPOLOGY.sent_copy, b"", headers))

    await world.run()

    [dead] = world.broker.dead
    assert dead.headers["sendas-dead-reason"] == "invalid_event"
    assert dead.headers["sendas-dead-queue"] == TOPOLOGY.sent_copy


async def test_a_mistake_while_saving_buries_the_copy_with_its_job() -> None:
    """So that an operator can replay it after the mistake is mended."""
    world = world_of()

    async def mistaken(*_: object) -> object:
        raise KeyError("bug")

    world.sent_folder.save = mistaken  # type: ignore[method-assign,assignment]
    await world.deliver(EVENT)

    [dead] = world.broker.dead
    assert dead.headers["sendas-dead-reason"] == "internal_error"
    assert "sendas-copy" in dead.headers
    [told] = world.results(SentCopyFailedEvent)
    assert (told.data.reason, told.data.outcome) == (Reason.INTERNAL_ERROR, CopyOutcome.FAILED)


@pytest.mark.parametrize("was_common", [False, True])
async def test_a_crash_loses_no_copy_although_the_account_wants_another_kind_of_letters_since(was_common: bool) -> None:
    """Sent and recorded, but nothing was published; the event comes again and is planned anew."""
    recipients = [a_recipient("one@example.net"), a_recipient("two@example.net")]
    mailboxes = [a_mailbox(sent_copy={"imap": IMAP})]
    world = DeliveryWorld([an_account(mailboxes=mailboxes, settings={"name_all_recipients": was_common})])
    arrival = an_arrival(a_comment_event(recipients=recipients))
    await world.delivery.pipeline.handle(arrival)  # its answer is lost with the worker
    await world.restart()
    world.serve(an_account(mailboxes=mailboxes, settings={"name_all_recipients": not was_common}))

    world.broker.put(redelivered(arrival))
    await world.run()

    sent = {delivered.letter.message_id: delivered.letter.copy for delivered in world.transport.delivered}
    assert len(sent) == (1 if was_common else 2)
    assert {copy.message_id: copy.content for copy in world.sent_folder.copies("mb-support")} == sent


async def send(world: DeliveryWorld, number: int, *, saves: bool, first: int = 1) -> None:
    """Send letters through a provider that saves to Sent by itself, or does not."""
    for n in range(first, first + number):
        world.publish(a_comment_event(f"event-{n}"))
        await world.run(until_s=0)
        if saves:
            letter, route = world.transport.delivered[-1].letter, world.transport.attempts[-1][0]
            target = copy_target("acme", a_mailbox(sent_copy={"imap": IMAP}))
            assert target is not None
            assert route.mailbox_id == target.mailbox_id
            await world.sent_folder.save(target, letter.message_id, letter.date, letter.wire)
        await world.run()


def skipped(world: DeliveryWorld) -> list[CopyOutcome]:
    return [result.data.outcome for result in world.results(SentCopySkippedEvent)]


async def test_it_is_learned_that_a_provider_saves_by_itself_and_then_its_imap_is_left_alone() -> None:
    """After three letters that were there without our doing, the fourth is not even looked for."""
    world = world_of()
    await send(world, 3, saves=True)
    assert skipped(world) == []
    world.sent_folder.broken["mb-support"] = WRONG_PASSWORD  # nobody will notice
    await send(world, 2, saves=False, first=4)
    assert skipped(world) == [CopyOutcome.PROVIDER_SAVES] * 2
    assert world.results(SentCopyFailedEvent) == []


async def test_what_was_learned_outlives_a_restart_and_ends_with_other_settings() -> None:
    world = world_of()
    await send(world, 3, saves=True)
    await world.restart()
    await send(world, 1, saves=False, first=4)
    assert skipped(world) == [CopyOutcome.PROVIDER_SAVES]
    world.serve(an_account(mailboxes=[a_mailbox(sent_copy={"imap": {**IMAP, "host": "imap.other.example"}})]))
    await send(world, 1, saves=False, first=5)
    assert skipped(world) == [CopyOutcome.PROVIDER_SAVES]
    assert world.results(SentCopySavedEvent)[-1].data.outcome is CopyOutcome.SAVED


async def test_our_own_copies_teach_nothing() -> None:
    """If a repeated event finds the copy that we saved ourselves, then the provider must not seem to have done it."""
    world = world_of()
    await send(world, 1, saves=False)
    for _ in range(4):
        world.publish(a_comment_event("event-1"))
        await world.run()
    assert [result.data.outcome for result in world.results(SentCopySavedEvent)][1:] == [CopyOutcome.ALREADY_THERE] * 4
    await send(world, 1, saves=False, first=2)
    assert world.results(SentCopySavedEvent)[-1].data.outcome is CopyOutcome.SAVED
    assert skipped(world) == []


@pytest.mark.parametrize("mode", ["always", "never"])
async def test_what_was_learned_counts_for_auto_alone(mode: str) -> None:
    world = world_of()
    await send(world, 3, saves=True)
    world.serve(an_account(mailboxes=[a_mailbox(sent_copy={"imap": IMAP, "mode": mode})]))
    await send(world, 1, saves=False, first=4)
    assert skipped(world) == ([CopyOutcome.TURNED_OFF] if mode == "never" else [])


async def test_a_copy_under_the_servers_own_message_id_is_found_and_the_result_has_it() -> None:
    """If the server says that it rewrote the Message-ID, then its copy has that one, and answers will too."""
    rewritten = "<b1@EX1.acme.local>"
    world = world_of()
    world.transport.reply = Reply(250, "2.6.0", f"{rewritten} [InternalId=1, Hostname=EX1] Queued mail for delivery")
    world.publish(a_comment_event("event-1"))
    await world.run(until_s=0)
    (sent,) = world.results(MailSentEvent)
    assert sent.data.provider_message_id == rewritten
    letter = world.transport.delivered[0].letter
    target = copy_target("acme", a_mailbox(sent_copy={"imap": IMAP}))
    assert target is not None
    await world.sent_folder.save(target, rewritten, letter.date, letter.wire)
    await world.run()
    assert [result.data.outcome for result in world.results(SentCopySavedEvent)] == [CopyOutcome.ALREADY_THERE]
