"""Two workers and their mailboxes: what one learns holds for the other, at once where it matters."""

import asyncio
from collections.abc import Sequence
from itertools import cycle

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import (
    IMAP,
    TOO_FAST,
    TOPOLOGY,
    UNREACHABLE,
    WRONG_PASSWORD,
    DeliveryWorld,
    FixedSnapshot,
    an_arrival,
)
from tests.doubles.clock import SteppedClock
from tests.doubles.directory import a_directory
from worker.delivery.ledger import Record
from worker.delivery.mailboxes.state import MailboxKey, Revision
from worker.delivery.mailboxes.sync import NewerSettings
from worker.delivery.messages import Arrival, Publication
from worker.delivery.sent_copy.imap_sign_in import REFUSED_PAUSE_S
from worker.delivery.sent_copy.jobs import copy_target
from worker.domain.results.events import (
    MailboxResumedEvent,
    MailboxSuspendedEvent,
    MailDeferredEvent,
    MailSentEvent,
    SentCopyFailedEvent,
    SentCopySavedEvent,
)
from worker.domain.snapshot.model import Account
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Phase, Reason, ResumedBy

KEY = MailboxKey("acme", "mb-support")
TOKEN_REVOKED = DeliveryFailure(Phase.AUTH, FailureKind.TOKEN_REFUSED, detail="login.example refused: invalid_grant")
IMAP_REFUSES = DeliveryFailure(Phase.AUTH, FailureKind.REPLY, detail="NO [AUTHENTICATIONFAILED] invalid credentials")
TOO_MANY = DeliveryFailure(
    Phase.GREETING, FailureKind.REPLY, Reply(432, "4.3.2", "concurrent connections limit exceeded")
)
NOT_OWNED = DeliveryFailure(
    Phase.MAIL, FailureKind.REPLY, Reply(553, "5.7.1", "sender address rejected: not owned by auth user")
)
NAMES_SOMEBODY = DeliveryFailure(
    Phase.AUTH, FailureKind.REPLY, Reply(535, "5.7.8", "authentication of ivan@acme.example failed")
)


class TwoWorkers:
    """Two workers that take messages in turn, as the broker would deal them out."""

    def __init__(self, *accounts: Account) -> None:
        self.world = DeliveryWorld(accounts)
        self.ledgers = [self.world.ledger, self.world.another_ledger()]
        self.deliveries = [self.world.delivery, self.world.another_worker(self.ledgers[1])]
        self._turns = cycle(self.deliveries)
        self.world.broker.attach(TOPOLOGY.outbound, self._handle)
        self.world.broker.attach(TOPOLOGY.backlog, self._handle_turn)

    async def _handle(self, arrival: Arrival) -> Sequence[Publication]:
        return await next(self._turns).pipeline.handle(arrival)

    async def _handle_turn(self, arrival: Arrival) -> Sequence[Publication]:
        return await next(self._turns).rescheduler.handle(arrival)

    async def handle_copy(self, arrival: Arrival) -> Sequence[Publication]:
        """For the queue of copies."""
        return await next(self._turns).copies.handle(arrival)

    async def look(self) -> None:
        """Both take their look at what is new."""
        for delivery in self.deliveries:
            await delivery.sync.poll()

    async def deliver(self, *events: str, until_s: float | None = None) -> None:
        for name in events:
            self.world.publish(a_comment_event(name))
        await self.world.run(until_s)

    def change_mailbox(self, version: int = 1843, **fields: object) -> None:
        self.world.serve(an_account(mailboxes=[a_mailbox(sent_copy={"imap": IMAP}, **fields)]), version=version)

    async def connections(self) -> int:
        """How many connections of the mailbox both have together."""
        looks = [await ledger.mailboxes.look() for ledger in self.ledgers]
        return sum(look.held[KEY].connections for look in looks if KEY in look.held)

    @property
    def attempts(self) -> int:
        return len(self.world.transport.attempts)


# Suspensions.


async def test_a_wrong_password_is_tried_once_by_all_workers_together() -> None:
    """If a password is wrong, I expect one sign-in, whoever gets the letters, and one mailbox.suspended."""
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD)

    await workers.deliver(*"abcdef", until_s=4 * 3600)

    assert workers.attempts == 1
    assert workers.world.types.count("mailbox.suspended") == 1
    assert workers.world.types.count("mail.deferred") == 6


async def test_letters_at_the_same_moment_do_not_try_a_wrong_password_each() -> None:
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD)
    arrivals = [an_arrival(a_comment_event(str(number))) for number in range(6)]

    await asyncio.gather(
        *(workers.deliveries[number % 2].pipeline.handle(arrival) for number, arrival in enumerate(arrivals))
    )

    assert workers.attempts == 1


async def test_a_worker_that_starts_anew_does_not_try_again() -> None:
    world = DeliveryWorld()
    world.transport.refuse(WRONG_PASSWORD)
    world.publish(a_comment_event())
    await world.run(until_s=60)
    await world.restart()

    await world.run(until_s=4 * 3600)

    assert len(world.transport.attempts) == 1


async def test_changed_settings_resume_a_mailbox_once_also_when_no_letter_waits() -> None:
    """If an administrator mends the password, then the product hears of it without having to send a letter."""
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD, times=1)
    await workers.deliver("a", until_s=60)
    await workers.look()
    workers.change_mailbox(smtp={"port": 587, "security": "starttls"})

    await workers.look()
    await workers.look()

    [resumed] = workers.world.results(MailboxResumedEvent)
    assert (resumed.data.resumed_by, resumed.data.reason) == (ResumedBy.SETTINGS_CHANGED, Reason.AUTH_FAILED)
    assert all(delivery.suspensions.counts() == {} for delivery in workers.deliveries)
    await workers.world.run()
    assert workers.world.delivered_to == ["client@example.net"]


async def test_the_same_settings_in_a_newer_snapshot_resume_nothing() -> None:
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD)
    await workers.deliver("a", until_s=60)
    workers.change_mailbox()

    await workers.look()
    await workers.deliver("b", until_s=4 * 3600)

    assert workers.attempts == 1
    assert workers.world.results(MailboxResumedEvent) == []


async def test_a_worker_whose_snapshot_lags_behind_neither_resumes_nor_signs_in() -> None:
    """Else it would take the old password for a change, and lock the account that was mended just now."""
    workers = TwoWorkers()
    lagging = workers.world.snapshot.directory
    workers.change_mailbox(smtp={"port": 587, "security": "starttls"})
    await workers.deliver("a")
    workers.world.transport.refuse(NOT_OWNED, times=1)
    await workers.deliver("b", until_s=1)
    tried = workers.attempts

    workers.world.snapshot.directory = lagging
    await workers.look()
    await workers.deliver("c", "d", until_s=10 * 60)

    assert workers.attempts == tried
    assert workers.world.results(MailboxResumedEvent) == []


async def test_a_mailbox_that_is_taken_away_is_suspended_no_longer() -> None:
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD)
    await workers.deliver("a", until_s=1)
    workers.world.serve(an_account(mailboxes=[]))

    await workers.look()

    assert len(workers.world.results(MailboxResumedEvent)) == 1
    assert workers.deliveries[0].suspensions.counts() == {}


async def test_what_an_operator_resumes_is_tried_by_one_letter_before_the_others_follow() -> None:
    """If it was resumed in vain, then one letter finds out, and not all that have waited."""
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD, times=2)
    await workers.deliver(*"abcdef", until_s=60)
    assert workers.attempts == 1
    [suspension] = workers.deliveries[0].suspensions.known

    await workers.deliveries[0].suspensions.resume(
        suspension, workers.world.clock.now(), ResumedBy.OPERATOR, "olga", "mended at the provider"
    )
    await workers.look()
    await workers.world.run(until_s=300)
    assert workers.attempts == 2

    first, second = workers.world.results(MailboxSuspendedEvent)
    assert first.id != second.id
    [resumed] = workers.world.results(MailboxResumedEvent)
    assert (resumed.data.operator, resumed.data.why) == ("olga", "mended at the provider")
    [again] = await workers.world.ledger.mailboxes.suspended()
    await workers.deliveries[1].suspensions.resume(again, workers.world.clock.now(), ResumedBy.OPERATOR, "olga")
    await workers.look()
    await workers.world.run()
    assert len(workers.world.delivered_to) == 6


async def test_letters_of_a_resumed_mailbox_come_spread_out() -> None:
    """If a hundred letters have waited, then no minute after that sees all of them."""
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD, times=1)
    for number in range(100):  # each to another address: one alone gets fifty
        recipients = [a_recipient(f"client-{number}@example.net")]
        workers.world.publish(a_comment_event(str(number), recipients=recipients))
    await workers.world.run(until_s=100)
    [suspension] = workers.deliveries[0].suspensions.known
    await workers.deliveries[1].suspensions.resume(suspension, workers.world.clock.now(), ResumedBy.OPERATOR, "olga")
    await workers.look()
    await workers.world.run(until_s=159)
    first_minute = len(workers.world.delivered_to)
    await workers.world.run()

    assert 1 < first_minute <= 30
    assert len(workers.world.delivered_to) == 100
    assert all(sent.data.attempt == 1 for sent in workers.world.results(MailSentEvent))


async def test_who_dies_before_it_can_tell_is_spoken_for_by_another_worker() -> None:
    """If a worker dies between a suspension and mailbox.suspended, then another one publishes that very result."""
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD)
    told: list[Publication] = []

    async def die(publication: Publication) -> None:
        told.append(publication)
        raise asyncio.CancelledError

    workers.world._publish = die  # type: ignore[method-assign]  # the moment between the two
    crashing = workers.world.another_worker(workers.world.another_ledger("worker-3"))
    with pytest.raises(asyncio.CancelledError):
        await crashing.pipeline.handle(an_arrival(a_comment_event()))
    assert workers.world.results(MailboxSuspendedEvent) == []

    await workers.look()
    assert workers.world.results(MailboxSuspendedEvent) == []  # the one that made it may still be about to tell
    workers.world.clock.step(31)
    await workers.look()
    await workers.look()

    [suspended] = workers.world.results(MailboxSuspendedEvent)
    assert suspended.to_json() == told[0].body


async def test_the_servers_words_are_kept_without_the_addresses_in_them() -> None:
    workers = TwoWorkers()
    workers.world.transport.refuse(NAMES_SOMEBODY)
    await workers.deliver("a", until_s=1)

    [suspension] = await workers.world.ledger.mailboxes.suspended()
    assert suspension.words == "authentication of i***@acme.example failed"
    assert (suspension.code, suspension.enhanced, suspension.event_id) == (535, "5.7.8", "a")


async def test_a_mailbox_is_suspended_although_the_ledger_is_away_for_a_moment() -> None:
    world = DeliveryWorld()
    world.transport.refuse(WRONG_PASSWORD)
    world.ledger.failures["suspend"] = 2
    world.publish(a_comment_event())

    await world.run(until_s=60)

    assert len(await world.ledger.mailboxes.suspended()) == 1
    assert len(world.results(MailboxSuspendedEvent)) == 1


# Copies and doubts sign in too.


async def test_copies_wait_while_the_sign_in_is_refused() -> None:
    """The copy signs in with the same password: one more wrong one may lock the account."""
    workers = TwoWorkers()
    workers.world.sent_folder.broken["mb-support"] = UNREACHABLE
    await workers.deliver("a", until_s=1)
    workers.world.transport.refuse(WRONG_PASSWORD, times=1)
    await workers.deliver("b", until_s=2)
    asked = len(workers.world.sent_folder.asked)

    await workers.world.run(until_s=3600)
    assert len(workers.world.sent_folder.asked) == asked
    assert workers.world.results(SentCopyFailedEvent) == []

    workers.world.sent_folder.broken.clear()
    workers.change_mailbox(smtp={"port": 587, "security": "starttls"})
    await workers.look()
    await workers.world.run()
    assert len(workers.world.results(SentCopySavedEvent)) == 2


@pytest.mark.parametrize(
    ("trouble", "imap"),
    [
        (NOT_OWNED, IMAP),
        (
            WRONG_PASSWORD,
            IMAP | {"auth": {"method": "password", "username": "other", "secret": {"env": "MAILBOX_OTHER"}}},
        ),
    ],
    ids=["another reason", "other credentials"],
)
async def test_copies_do_not_wait_for_what_is_not_theirs(trouble: DeliveryFailure, imap: dict[str, object]) -> None:
    world = DeliveryWorld([an_account(mailboxes=[a_mailbox(sent_copy={"imap": imap})])])
    world.sent_folder.troubles = [UNREACHABLE]
    world.publish(a_comment_event("a"))
    await world.run(until_s=1)
    world.transport.refuse(trouble)
    world.publish(a_comment_event("b"))

    await world.run(until_s=3600)

    assert len(world.results(SentCopySavedEvent)) == 1


async def test_a_sign_in_that_imap_refuses_is_tried_once_by_all_workers_and_stops_no_letter() -> None:
    """Providers lock accounts for wrong passwords, whichever worker tries them; SMTP may take the same one."""
    workers = TwoWorkers()
    workers.world.broker.attach(TOPOLOGY.sent_copy, workers.handle_copy)
    workers.world.sent_folder.broken["mb-support"] = IMAP_REFUSES

    await workers.deliver(*"abcdef", until_s=60)

    assert workers.world.sent_folder.asked == ["mb-support"]
    reasons = [failed.data.reason for failed in workers.world.results(SentCopyFailedEvent)]
    assert reasons == [Reason.AUTH_FAILED] * 6
    assert len(workers.world.delivered_to) == 6
    assert workers.world.results(MailboxSuspendedEvent) == []

    workers.world.sent_folder.broken.clear()
    workers.world.clock.step(REFUSED_PAUSE_S)
    await workers.deliver("g")
    assert len(workers.world.results(SentCopySavedEvent)) == 1


async def test_a_changed_password_for_imap_is_tried_at_once() -> None:
    workers = TwoWorkers()
    workers.world.broker.attach(TOPOLOGY.sent_copy, workers.handle_copy)
    workers.world.sent_folder.troubles = [IMAP_REFUSES]
    await workers.deliver("a", until_s=10)

    mended = a_mailbox(sent_copy={"imap": {**IMAP, "host": "imap.mended.example"}})
    workers.world.serve(an_account(mailboxes=[mended]))
    await workers.deliver("b", until_s=30)

    assert len(workers.world.results(SentCopySavedEvent)) == 1


async def test_a_copy_whose_token_was_revoked_is_saved_with_the_one_that_a_newer_snapshot_has() -> None:
    workers = TwoWorkers()
    workers.world.sent_folder.troubles = [TOKEN_REVOKED]
    anew = an_account(mailboxes=[a_mailbox(sent_copy={"imap": {**IMAP, "host": "imap.other.example"}})])
    workers.world.snapshot.next = a_directory([anew], version=1843)

    await workers.deliver("a")

    assert len(workers.world.results(SentCopySavedEvent)) == 1
    assert workers.world.results(SentCopyFailedEvent) == []


async def test_a_doubt_whose_look_meets_a_revoked_token_is_looked_up_again_with_the_new_one() -> None:
    """If Sent was not seen because the mailbox was just connected anew, then the letter is not sent again for that."""
    mailbox = a_mailbox(smtp={"host": "smtp.gmail.com"}, sent_copy={"imap": IMAP})
    world = DeliveryWorld([an_account(mailboxes=[mailbox])])
    world.transport.lose_answer(times=1)
    world.sent_folder.troubles = [TOKEN_REVOKED]
    world.publish(a_comment_event())
    await world.run(until_s=1)
    _, letter = world.transport.attempts[0]
    target = copy_target("acme", mailbox)
    assert target is not None
    troubles, world.sent_folder.troubles = world.sent_folder.troubles, []
    await world.sent_folder.save(target, letter.message_id, world.clock.now(), b"the provider's own copy")
    world.sent_folder.troubles = troubles
    anew = a_mailbox(smtp={"host": "smtp.gmail.com"}, sent_copy={"imap": {**IMAP, "host": "imap.anew.example"}})
    world.snapshot.next = a_directory([an_account(mailboxes=[anew])], version=1843)

    await world.run()

    assert len(world.transport.attempts) == 1
    assert world.types.count("mail.sent") == 1


async def test_a_doubt_is_not_looked_up_where_imap_refuses_the_sign_in_and_a_look_that_is_refused_is_told_of() -> None:
    """If a look into Sent is refused, then the next copy knows, and the other way round."""
    mailbox = a_mailbox(smtp={"host": "smtp.gmail.com"}, sent_copy={"imap": IMAP})
    world = DeliveryWorld([an_account(mailboxes=[mailbox])])
    world.transport.lose_answer(times=2)
    world.sent_folder.broken["mb-support"] = IMAP_REFUSES
    world.publish(a_comment_event("a"))
    world.publish(a_comment_event("b"))

    await world.run(until_s=120)

    assert world.sent_folder.asked == ["mb-support"]
    assert world.types.count("mail.sent") == 2


async def test_a_copy_that_waited_for_too_long_is_given_up_with_a_result() -> None:
    world = DeliveryWorld()
    world.sent_folder.broken["mb-support"] = UNREACHABLE
    world.publish(a_comment_event("a"))
    await world.run(until_s=1)
    world.transport.refuse(WRONG_PASSWORD)
    world.publish(a_comment_event("b"))

    await world.run()

    [failed] = world.results(SentCopyFailedEvent)
    assert failed.data.reason is Reason.EXPIRED


async def test_nobody_looks_into_sent_with_a_password_that_is_refused() -> None:
    """If a letter in doubt is too old to be sent, then it is held for an operator rather than looked for."""
    mailbox = a_mailbox(smtp={"host": "smtp.gmail.com"}, sent_copy={"imap": IMAP})
    world = DeliveryWorld([an_account(mailboxes=[mailbox])])
    world.transport.lose_answer(times=1)
    world.publish(a_comment_event("a"))
    await world.run(until_s=1)
    world.transport.refuse(WRONG_PASSWORD)
    world.publish(a_comment_event("b"))
    await world.run(until_s=2)

    await world.run()

    assert world.sent_folder.asked == []
    assert [dead.headers["sendas-dead-reason"] for dead in world.broker.dead] == ["outcome_unknown"]


# Rests, rates and connections.


async def test_a_rest_that_one_worker_is_told_to_make_holds_for_the_other() -> None:
    workers = TwoWorkers()
    workers.world.transport.refuse(TOO_FAST)
    await workers.deliver("a", "b", "c", "d", until_s=1)

    assert workers.attempts == 1
    assert len(workers.world.results(MailDeferredEvent)) == 4


async def test_a_worker_that_has_connections_hears_of_a_rest_at_its_next_look() -> None:
    """While connections are held nothing is asked before a letter; the look says it within seconds."""
    workers = TwoWorkers()
    await workers.deliver("a", "b")  # both have a connection now
    workers.world.transport.refuse(TOO_FAST, times=1)
    await workers.deliver("c", until_s=1)
    await workers.look()

    await workers.deliver("d", "e", until_s=2)

    assert workers.attempts == 3
    assert len(workers.world.results(MailDeferredEvent)) == 3


async def test_a_server_that_cannot_be_reached_from_one_host_may_be_from_another() -> None:
    workers = TwoWorkers()
    workers.world.transport.refuse(UNREACHABLE, times=1)
    await workers.deliver("a", until_s=1)
    await workers.deliver("b", until_s=1)

    assert len(workers.world.delivered_to) == 1


def limited(**limits: int) -> Account:
    return an_account(mailboxes=[a_mailbox(limits=limits)])


async def test_letters_beyond_a_minutes_limit_have_their_turn_without_a_word_and_without_an_attempt() -> None:
    workers = TwoWorkers(limited(per_minute=5))
    await workers.deliver(*(str(number) for number in range(20)), until_s=55)
    assert len(workers.world.delivered_to) == 5

    await workers.world.run()

    assert len(workers.world.delivered_to) == 20
    assert workers.world.results(MailDeferredEvent) == []
    assert all(sent.data.attempt == 1 for sent in workers.world.results(MailSentEvent))
    assert workers.world.clock.monotonic() >= 3 * 60


async def test_letters_beyond_a_days_limit_wait_and_that_is_told_once() -> None:
    workers = TwoWorkers(limited(per_day=3))
    await workers.deliver(*"abcde", until_s=12 * 3600)
    assert len(workers.world.delivered_to) == 3

    deferred = workers.world.results(MailDeferredEvent)
    assert [result.data.reason for result in deferred] == [Reason.QUOTA_EXCEEDED] * 2
    assert [result.data.attempt for result in deferred] == [0, 0]


async def test_a_day_counts_recipients_not_letters() -> None:
    workers = TwoWorkers(limited(per_day=10).model_copy(update={"settings": an_account().settings}))
    crowd = [a_recipient(f"client{number}@example.net") for number in range(8)]
    workers.world.publish(a_comment_event("eight letters", recipients=crowd))
    workers.world.publish(a_comment_event("four more", recipients=crowd[:4]))

    await workers.world.run(until_s=3600)

    assert len(workers.world.delivered_to) == 10


async def test_what_no_server_accepted_does_not_count_for_the_day() -> None:
    workers = TwoWorkers(limited(per_day=2))
    workers.world.transport.refuse(UNREACHABLE, times=5)
    await workers.deliver("a", "b")

    assert len(workers.world.delivered_to) == 2


async def test_two_workers_together_have_no_more_letters_under_way_than_there_are_connections() -> None:
    workers = TwoWorkers(limited(connections=2))
    await workers.deliver("before")
    workers.world.transport.pause_before_dot.clear()
    arrivals = [an_arrival(a_comment_event(str(number))) for number in range(8)]
    handled = [asyncio.create_task(_handled(workers, number % 2, arrival)) for number, arrival in enumerate(arrivals)]
    for _ in range(50):
        await asyncio.sleep(0)

    assert workers.attempts == 1 + 2
    workers.world.transport.pause_before_dot.set()
    await asyncio.gather(*handled)
    await workers.world.run()
    assert len(workers.world.delivered_to) == 9


async def test_a_connection_serves_the_next_letter_while_the_outcome_of_the_last_is_recorded() -> None:
    world = DeliveryWorld((limited(connections=1),))
    world.publish(a_comment_event("before"))
    await world.run()
    written = asyncio.Event()
    handled = await _recording_until(written, world, "a", "b")

    assert len(world.transport.delivered) == 1 + 2
    assert not any(task.done() for task in handled)
    written.set()
    types = [publication.routing_key for publications in await asyncio.gather(*handled) for publication in publications]
    assert types.count("mail.sent") == 2


async def test_a_mailbox_that_is_still_tried_lets_no_second_letter_in_before_the_first_is_recorded() -> None:
    world = DeliveryWorld((limited(connections=2),))
    written = asyncio.Event()
    handled = await _recording_until(written, world, "a", "b")

    assert len(world.transport.attempts) == 1
    written.set()
    await asyncio.gather(*handled)
    assert len(world.transport.delivered) == 2


async def _recording_until(
    written: asyncio.Event, world: DeliveryWorld, *events: str
) -> list[asyncio.Task[Sequence[Publication]]]:
    """Begin with these events over a ledger that records nothing until it is told to, and go as far as that lets."""
    record = world.ledger.record

    async def slowly(event_key: str, records: Sequence[Record]) -> None:
        await written.wait()
        await record(event_key, records)

    world.ledger.record = slowly  # type: ignore[method-assign]  # a slow disk
    arrivals = [an_arrival(a_comment_event(name)) for name in events]
    handled = [asyncio.create_task(world.delivery.pipeline.handle(arrival)) for arrival in arrivals]
    for _ in range(50):
        await asyncio.sleep(0)
    return handled


async def _handled(workers: TwoWorkers, index: int, arrival: Arrival) -> None:
    workers.world.broker.publish(await workers.deliveries[index].pipeline.handle(arrival))


async def test_a_connection_at_rest_goes_to_the_worker_that_wants_it() -> None:
    workers = TwoWorkers(limited(connections=1))
    one, two = (delivery.pipeline for delivery in workers.deliveries)
    await one.handle(an_arrival(a_comment_event("a")))
    await two.handle(an_arrival(a_comment_event("b")))
    assert workers.attempts == 1

    await workers.look()
    workers.world.clock.step(5)
    await two.handle(an_arrival(a_comment_event("b")))

    assert workers.attempts == 2
    assert ("acme", "mb-support", 0) in workers.world.transport.closed_idle


async def test_two_workers_that_both_want_more_do_not_pass_a_connection_to_and_fro() -> None:
    workers = TwoWorkers(limited(connections=3))
    await workers.deliver("before", "before too")
    workers.world.transport.pause_before_dot.clear()
    arrivals = [an_arrival(a_comment_event(str(number))) for number in range(8)]
    handled = [asyncio.create_task(_handled(workers, number % 2, arrival)) for number, arrival in enumerate(arrivals)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert workers.attempts == 2 + 3

    for _ in range(3):
        await workers.look()
        workers.world.clock.step(2)

    assert workers.world.transport.closed_idle == []
    workers.world.transport.pause_before_dot.set()
    await asyncio.gather(*handled)


async def test_a_connection_that_is_long_at_rest_is_given_back() -> None:
    workers = TwoWorkers()
    await workers.deliver("a")
    await workers.look()
    assert workers.world.transport.closed_idle == []
    workers.world.clock.step(61)

    await workers.look()

    assert workers.world.transport.closed_idle == [("acme", "mb-support", 0)]
    assert (await workers.world.ledger.mailboxes.look()).held == {}


# Tenants.


async def test_an_account_never_meets_what_another_one_did_with_the_same_mailbox() -> None:
    """Two accounts, the same mailbox id, address, host and user name: one is suspended, one rests, none hears of it."""
    twins = [an_account(id=name, mailboxes=[a_mailbox(sent_copy={"imap": IMAP})]) for name in ("acme", "globex")]
    workers = TwoWorkers(*twins)
    workers.world.transport.refuse(WRONG_PASSWORD, times=1)
    workers.world.publish(a_comment_event("a"))
    await workers.world.run(until_s=10)
    workers.world.publish(a_comment_event("b", account_id="globex"))
    workers.world.publish(a_comment_event("c", account_id="globex"))
    await workers.world.run(until_s=20)

    [suspended] = workers.world.results(MailboxSuspendedEvent)
    assert suspended.data.account_id == "acme"
    assert {sent.data.account_id for sent in workers.world.results(MailSentEvent)} == {"globex"}
    assert len(workers.world.results(MailSentEvent)) == 2
    assert {route.account_id for route, _ in workers.world.transport.attempts} == {"acme", "globex"}
    workers.world.transport.refuse(TOO_FAST, times=1)
    workers.world.publish(a_comment_event("d", account_id="globex"))
    await workers.world.run(until_s=30)
    [suspension] = await workers.world.ledger.mailboxes.suspended()
    await workers.deliveries[0].suspensions.resume(suspension, workers.world.clock.now(), ResumedBy.OPERATOR, "olga")
    await workers.look()
    await workers.world.run(until_s=200)
    assert "acme" in {sent.data.account_id for sent in workers.world.results(MailSentEvent)}


async def test_what_one_account_has_sent_does_not_count_for_another() -> None:
    twins = [an_account(id=name, mailboxes=[a_mailbox(limits={"per_day": 2})]) for name in ("acme", "globex")]
    workers = TwoWorkers(*twins)
    for number in range(3):
        for account in ("acme", "globex"):
            workers.world.publish(a_comment_event(f"{account}-{number}", account_id=account))

    await workers.world.run(until_s=60)

    accounts = sorted(sent.data.account_id for sent in workers.world.results(MailSentEvent))
    assert accounts == ["acme", "acme", "globex", "globex"]


# A revoked token may have its successor in the snapshot already.


async def test_a_revoked_token_is_looked_for_in_a_newer_snapshot_before_the_mailbox_is_stopped() -> None:
    """If the mailbox was connected anew a moment ago, I expect its letter to leave with that, and no suspension."""
    workers = TwoWorkers()
    workers.world.transport.refuse(TOKEN_REVOKED, times=1)
    anew = an_account(mailboxes=[a_mailbox(sent_copy={"imap": IMAP}, smtp={"port": 587, "security": "starttls"})])
    workers.world.snapshot.next = a_directory([anew], version=1843)

    await workers.deliver("a")

    assert workers.world.snapshot.refreshes == 1
    assert [route.smtp.port for route, _ in workers.world.transport.attempts] == [465, 587]
    assert "mailbox.suspended" not in workers.world.types
    [deferred] = workers.world.results(MailDeferredEvent)
    assert (deferred.data.reason, deferred.data.recipients[0].address) == (
        Reason.AUTH_TOKEN_REVOKED,
        "client@example.net",
    )
    assert workers.world.delivered_to == ["client@example.net"]


@pytest.mark.parametrize("version", [1842, 1843])
async def test_a_revoked_token_that_the_newest_snapshot_names_too_suspends_the_mailbox(version: int) -> None:
    workers = TwoWorkers()
    workers.world.transport.refuse(TOKEN_REVOKED)
    workers.world.snapshot.next = a_directory(workers.world.snapshot.directory.accounts.values(), version=version)

    await workers.deliver(*"abcdef", until_s=2 * 3600)

    assert workers.attempts == 1
    assert workers.world.snapshot.refreshes == 1
    [suspended] = workers.world.results(MailboxSuspendedEvent)
    assert suspended.data.reason is Reason.AUTH_TOKEN_REVOKED


async def test_a_wrong_password_is_no_reason_to_look_for_a_newer_snapshot() -> None:
    """Only tokens are replaced by somebody else than the mailbox's owner; customers mistype passwords all day."""
    workers = TwoWorkers()
    workers.world.transport.refuse(WRONG_PASSWORD)

    await workers.deliver("a", until_s=60)

    assert workers.world.snapshot.refreshes == 0


async def test_mailboxes_that_lose_their_tokens_together_share_a_look() -> None:
    """If an application's secret is voided, then thousands of mailboxes do not ask the product thousands of times."""
    mailboxes = [a_mailbox(id=f"mb-{number}", projects=[f"p-{number}"]) for number in range(20)]
    world = DeliveryWorld([an_account(mailboxes=mailboxes)])
    world.transport.refuse(TOKEN_REVOKED)
    for number in range(20):
        world.publish(a_comment_event(str(number), task={"project_id": f"p-{number}"}))

    await world.run(until_s=1)

    assert world.snapshot.refreshes == 1
    assert world.types.count("mailbox.suspended") == 20


async def test_a_source_that_does_not_answer_holds_no_letter_for_long() -> None:
    """If the snapshot's source hangs, then the mailbox is suspended all the same: a newer snapshot resumes it."""
    snapshot = _HangingSnapshot(a_directory([an_account(mailboxes=[a_mailbox()])]))
    newer = NewerSettings(snapshot, SteppedClock(), patience_s=0)

    assert not await newer.there_are(KEY, Revision("0" * 32, 1842))
    assert snapshot.refreshes == 1


class _HangingSnapshot(FixedSnapshot):
    async def refresh(self) -> None:
        await super().refresh()
        await asyncio.Event().wait()


# Too many connections.


async def test_connections_that_the_server_does_not_want_are_given_up_by_all_workers() -> None:
    """If the server refuses one of two connections, then both are given back, and from then on there is one."""
    workers = TwoWorkers()
    await workers.deliver("a", "b", until_s=1)
    assert await workers.connections() == 2

    workers.world.transport.refuse(TOO_MANY, times=1)
    await workers.deliver("c", until_s=2)
    await workers.look()
    assert await workers.connections() == 0

    await workers.deliver("d", "e", "f")
    assert len(workers.world.delivered_to) == 6
    assert await workers.connections() == 1
