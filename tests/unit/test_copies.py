"""The copy in Sent: whether one is wanted, how it is tried, and that no letter is ever sent again because of it."""

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import GREYLISTED, IMAP, TOPOLOGY, UNREACHABLE, DeliveryWorld
from worker.delivery.messages import Arrival
from worker.domain.envelope import SentCopyFailedEvent, SentCopySavedEvent, SentCopySkippedEvent
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import CopyOutcome, Phase, Reason

EVENT = a_comment_event()
GMAIL, GENERIC, MAILGUN = "smtp.gmail.com", "smtp.acme.example", "smtp.mailgun.org"
WRONG_PASSWORD = Trouble(Phase.AUTH, Fault.REPLY, detail="NO [AUTHENTICATIONFAILED] invalid credentials")
SERVER_BUSY = Trouble(Phase.AUTH, Fault.REPLY, detail="NO [UNAVAILABLE] try later")
OVER_QUOTA = Trouble(Phase.DATA, Fault.REPLY, detail="NO [OVERQUOTA] mailbox is full")


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


async def test_a_letter_from_the_internal_address_has_no_copy_and_no_result_about_one() -> None:
    world = DeliveryWorld([an_account()])

    await world.deliver(EVENT)

    assert world.types == ["mail.sent"]


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

    async def counted(*arguments: object) -> object:
        tries.append(arguments)
        return await save(*arguments)  # type: ignore[arg-type]

    world.sent_folder.save = counted  # type: ignore[method-assign,assignment]
    await world.run()

    assert [failed.data.reason for failed in world.results(SentCopyFailedEvent)] == [Reason.AUTH_FAILED] * 2
    assert len(tries) == 1

    world.sent_folder.broken.clear()
    world.serve(an_account(mailboxes=[a_mailbox(sent_copy={"imap": {**IMAP, "port": 1993}})]))
    await world.deliver(a_comment_event("3"))
    assert len(world.results(SentCopySavedEvent)) == 1


async def test_a_full_mailbox_is_not_tried_again() -> None:
    world = world_of()
    world.sent_folder.troubles = [OVER_QUOTA]

    await world.deliver(EVENT)

    assert world.results(SentCopyFailedEvent)[0].data.reason is Reason.MAILBOX_FULL


async def test_a_mailbox_without_a_sent_folder_is_told_of() -> None:
    world = world_of()
    world.sent_folder.without_folder.add("mb-support")

    await world.deliver(EVENT)

    assert world.results(SentCopyFailedEvent)[0].data.outcome is CopyOutcome.NO_FOLDER


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
