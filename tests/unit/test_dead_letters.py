"""Reading, selecting, replaying and discarding dead letters, over the queue in memory."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

from tests.broker_setting import SIGNATURES
from tests.dead_letter_samples import DEATH, a_dead_letter, a_letter_the_broker_gave_up
from tests.doubles.clock import SteppedClock
from tests.doubles.dead_queue import KeptMessage, MemoryDeadQueue
from tests.doubles.ledger import MemoryLedger
from worker.cli import status
from worker.delivery.messages import Publication
from worker.delivery.signatures import SIGNATURE
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.results.events import DeadLetterDiscardedEvent, DeadLetterReplayedEvent, parse_result
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.domain.work import read_work
from worker.errors import ConfigurationError, Unavailable
from worker.operations.dead_letters.actions import Auditor, Discard, Order, Replay
from worker.operations.dead_letters.bulk import HOLD_S, BulkRun, Gate, RunStats, look, with_whole_digest
from worker.operations.dead_letters.digest import contents_of, digest_of
from worker.operations.dead_letters.export import from_line, put_back, to_line
from worker.operations.dead_letters.filter import FacetCounts, Selection, moment
from worker.operations.dead_letters.format import row, row_document, whole_text
from worker.operations.dead_letters.importing import Imported, put_all_back, read_filed
from worker.operations.dead_letters.letter import read_dead_letter
from worker.operations.dead_letters.replay_rules import Refusal, ReplayRules
from worker.operations.dead_letters.sightings import Sightings
from worker.operations.dead_letters.terminal import hexdump, json_line, printable, printable_line

TOPOLOGY = Topology()
UNCERTAIN = {"sendas-dead-reason": Reason.OUTCOME_UNKNOWN.value, "sendas-attempt": 4}
ALL = Selection()


class Broker:
    """Remembers what was published; with `fails_at` the publication of that number fails, or with `hangs_at` hangs."""

    def __init__(self, fails_at: int | None = None, hangs_at: int | None = None) -> None:
        self.published: list[Publication] = []
        self.is_hanging = asyncio.Event()
        self.in_work = 0
        self._fails_at = fails_at
        self._hangs_at = hangs_at

    async def publish(self, publication: Publication) -> None:
        self.in_work += 1
        try:
            await self._publish(publication)
        finally:
            self.in_work -= 1

    async def _publish(self, publication: Publication) -> None:
        await asyncio.sleep(0)
        if len(self.published) == self._fails_at:
            raise Unavailable("no queue takes it")
        if publication.exchange == "" and len(self.published) == self._hangs_at:
            self.is_hanging.set()
            await asyncio.Event().wait()
        self.published.append(publication)

    @property
    def letters(self) -> list[Publication]:
        return [each for each in self.published if each.exchange == ""]

    @property
    def acts(self) -> list[DeadLetterReplayedEvent | DeadLetterDiscardedEvent]:
        events = [parse_result(each.body) for each in self.published if each.exchange]
        return [each for each in events if isinstance(each, DeadLetterReplayedEvent | DeadLetterDiscardedEvent)]


def signed(message: KeptMessage) -> KeptMessage:
    """The message as a worker publishes it."""
    content_type = message.properties.get("content_type")
    signature = SIGNATURES.signature(message.headers, str(content_type) if content_type else None, message.body)
    return replace(message, headers={**message.headers, SIGNATURE: signature})


class Desk:
    """An operator's desk over a queue in memory."""

    def __init__(
        self, messages: Iterable[KeptMessage], broker: Broker | None = None, *, are_signed: bool = True
    ) -> None:
        self.queue = MemoryDeadQueue([signed(each) for each in messages] if are_signed else messages)
        self.ledger = MemoryLedger("operator", SteppedClock())
        self.broker = broker or Broker()
        self.clock = SteppedClock()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.step(seconds)

    def campaign(
        self,
        selection: Selection = ALL,
        rules: ReplayRules | None = None,
        *,
        limit: int | None = None,
        per_s: float = 0,
        is_discard: bool = False,
        gate: Gate | None = None,
        pause_after: int | None = None,
    ) -> BulkRun:
        def watch(tally: RunStats) -> None:
            if gate is not None and tally.seen == pause_after and not paused:
                paused.append(True)
                gate.pause()

        paused: list[bool] = []

        replay = Replay(
            self.broker.publish, TOPOLOGY, rules or ReplayRules(), "replay-1", self.clock, SIGNATURES, self.ledger
        )
        deed = Discard() if is_discard else replay
        return BulkRun(
            self.queue,
            deed,
            selection,
            self.clock,
            limit=limit,
            per_s=per_s,
            sleep=self.sleep,
            gate=gate,
            on_progress=watch,
        )

    async def carry_out(self, campaign: BulkRun, selection: Selection = ALL, *, is_discard: bool = False) -> None:
        auditor = Auditor(self.broker.publish, TOPOLOGY, "/sendas", self.clock)
        order = Order("replay-1", "anna", "fixed the template", selection)
        await auditor.carry_out(campaign, (Discard if is_discard else Replay).event, order)


def letters(count: int, **headers: object) -> list[KeptMessage]:
    return [a_dead_letter(f"evt-{number}", headers) for number in range(count)]


async def imported_from(file: Path, queue: MemoryDeadQueue) -> Imported:
    with read_filed(str(file)) as filed:
        imported = Imported(filed.count)
        await put_all_back(queue, queue.publish, "sendas.dead", filed, imported, SIGNATURES)
    return imported


class TestReading:
    def test_a_letter_that_the_worker_buried(self) -> None:
        letter = read_dead_letter(a_dead_letter())
        assert (letter.reason, letter.dead_at, letter.queue) == ("invalid_event", DEATH, "sendas.outbound")
        assert (letter.event_id, letter.event_type, letter.account_id) == ("evt-1", "comment.created", "acme")
        assert (letter.mailbox_id, letter.task_id, letter.recipients) == ("mb-support", "4711", 2)

    def test_a_letter_that_the_broker_gave_up_died_in_the_work_queue_and_not_where_it_waited(self) -> None:
        letter = read_dead_letter(a_letter_the_broker_gave_up())
        assert (letter.reason, letter.dead_at, letter.queue) == ("delivery_limit", DEATH, "sendas.outbound")

    def test_only_those_who_still_wait_are_counted(self) -> None:
        assert read_dead_letter(a_dead_letter(headers={"sendas-recipients": "0-4,9"})).recipients == 6

    def test_a_copy_for_sent_says_what_it_is_about_in_its_job(self) -> None:
        job = {"event_id": "evt-9", "event_type": "task.created", "account_id": "acme", "mailbox_id": "mb-1"}
        headers = {"sendas-copy": json.dumps(job), "sendas-dead-reason": "internal_error"}
        letter = read_dead_letter(KeptMessage(0, b"From: a@b.example\r\n\r\n", headers))
        assert (letter.event_id, letter.mailbox_id, letter.event_type) == ("evt-9", "mb-1", "task.created")

    def test_attributes_in_headers_are_read(self) -> None:
        headers = {"ce-id": b"evt-2", "ce-type": "comment.created", "ce-source": "/p"}
        letter = read_dead_letter(KeptMessage(0, b'{"account_id": "acme"}', headers, {"content_type": "text/json"}))
        assert (letter.event_id, letter.account_id, letter.reason) == ("evt-2", "acme", "unknown")

    @pytest.mark.parametrize(
        "body", [b"", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000, b'{"data": 1}', b'{"id": "\\ud800"}', b"null"]
    )
    def test_a_body_of_any_kind_is_no_obstacle(self, body: bytes) -> None:
        letter = read_dead_letter(KeptMessage(0, body))
        assert letter.size_bytes == len(body)
        assert row(letter).encode()

    def test_what_a_terminal_would_obey_is_not_shown(self) -> None:
        hostile = a_dead_letter("evt\x1b[2J", {"sendas-dead-detail": "a\u202eb\x9b1m\r\nfake line"}, subject="\x9b2J")
        shown = row(read_dead_letter(hostile)) + whole_text(hostile, read_dead_letter(hostile))
        assert not set(shown) & set("\x1b\x9b\u202e\r")
        assert printable("a\x1bb\n") == "a\\x1bb\n"

    def test_what_is_not_visible_is_escaped_in_json_too_and_stays_the_same_value(self) -> None:
        """If a body has C1 controls, which JSON does not escape by itself, then a terminal must not get them raw."""
        value = {"body": "\x9b2J\u202ea\x1b[31m\n\U000e0041 привет 🙂", "lone": "\ud800"}
        line = json_line(value)
        assert line.isprintable()
        assert "привет 🙂" in line
        assert json.loads(line) == value

    def test_a_body_that_is_no_text_is_shown_in_hexadecimal(self) -> None:
        message = KeptMessage(0, b"\x00\xff by hand \x1b[31m")
        shown = whole_text(message, read_dead_letter(message))
        assert "  00000000  00 ff 20 62 79 20 68 61 6e 64 20 1b 5b 33 31 6d  |.. by hand .[31m|" in shown.splitlines()
        assert hexdump(bytes(5_000)).splitlines()[-1].startswith("… 904 more bytes")

    def test_no_text_of_a_letter_can_add_a_line_that_looks_like_ours(self) -> None:
        forged = {"note\nreason: forged": "a\ndigest: forged"}
        message = KeptMessage(0, b"\nreason: forged\n", forged, {"app_id": "\nreason: forged"})
        lines = whole_text(message, read_dead_letter(message)).splitlines()
        assert [line for line in lines if line.startswith(("reason", "digest"))] == lines[1:2] + lines[3:4]
        assert printable_line("a\nb\u2028") == "a\\x0ab\\u2028"

    def test_a_row_masks_addresses_and_the_whole_letter_does_not(self) -> None:
        message = a_dead_letter()
        letter = read_dead_letter(message)
        assert "client@example.net" not in row(letter) + json.dumps(row_document(letter))
        assert "client@example.net" in whole_text(message, letter)


class TestSelecting:
    @pytest.mark.parametrize(
        "selection",
        [
            Selection(type="comment.created", reason="invalid_event", account="acme", mailbox="mb-support"),
            Selection(since=DEATH, until=DEATH + timedelta(seconds=1)),
            Selection(text="CLIENT@example"),
            Selection(text="4711"),
            Selection(text="not a string"),
            Selection(event_id="evt-1"),
        ],
    )
    def test_a_letter_that_all_filters_match_is_meant(self, selection: Selection) -> None:
        assert selection.matches(read_dead_letter(a_dead_letter()))

    @pytest.mark.parametrize(
        "selection",
        [
            Selection(type="comment.created", account="other"),
            Selection(since=DEATH + timedelta(seconds=1)),
            Selection(until=DEATH),
            Selection(text="nowhere"),
            Selection(replay_id="another"),
        ],
    )
    def test_one_filter_that_does_not_match_is_enough(self, selection: Selection) -> None:
        assert not selection.matches(read_dead_letter(a_dead_letter()))

    def test_a_letter_without_a_time_matches_no_time(self) -> None:
        letter = read_dead_letter(KeptMessage(0, b""))
        assert ALL.matches(letter)
        assert not Selection(since=DEATH).matches(letter)

    def test_moments_are_times_or_how_long_ago(self) -> None:
        assert moment("2h", DEATH) == DEATH - timedelta(hours=2)
        assert moment("2026-11-23T13:00:00+03:00", DEATH) == DEATH
        assert moment("2026-11-23 10:00", DEATH).tzinfo is UTC
        with pytest.raises(ValueError, match="expected a time"):
            moment("yesterday", DEATH)

    async def test_counts_are_by_reason_account_and_type_in_bounded_memory(self) -> None:
        census = FacetCounts()
        for number in range(1_500):
            census.add(read_dead_letter(a_dead_letter(account_id=f"account-{number}")))
        assert census.counts["reason"] == {"invalid_event": 1_500}
        assert len(census.counts["account"]) == 1_001
        assert census.counts["account"]["other"] == 500

    async def test_a_look_ends_at_its_limit_and_changes_nothing(self) -> None:
        desk = Desk(letters(10))
        before, seen = desk.queue.bodies, list[str | None]()
        assert await look(desk.queue, Selection(text="evt-"), 3, lambda _, x: seen.append(x.event_id)) == 3
        assert seen == ["evt-0", "evt-1", "evt-2"]
        assert desk.queue.bodies == before


class TestPicking:
    """One letter among many: by its position, by the beginning of its digest, or both."""

    HAND_MADE = (
        *(KeptMessage(0, b"\xff rubbish %d" % number) for number in range(4)),
        KeptMessage(0, b"\xff rubbish 1"),
    )

    async def rows(self, desk: Desk) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        await look(desk.queue, ALL, None, lambda _, letter: found.append((letter.position, letter.digest)))
        return found

    async def test_the_digest_is_the_same_in_every_listing_and_differs_wherever_letters_do(self) -> None:
        """The broker counts each look in a header of its own; libraries give every message an id of its own."""
        given = a_letter_the_broker_gave_up()
        counted = replace(given, place=7, headers={**given.headers, "x-delivery-count": 9, "x-acquired-count": 9})
        assert digest_of(counted) == digest_of(given)
        assert digest_of(KeptMessage(0, given.body)) != digest_of(given)
        twin = replace(given, properties={**given.properties, "message_id": "m-2"})
        assert digest_of(twin) != digest_of(given)
        assert contents_of(twin) == contents_of(given)
        desk = Desk(self.HAND_MADE)
        first = await self.rows(desk)
        assert first == await self.rows(desk)
        assert [position for position, _ in first] == [1, 2, 3, 4, 5]
        assert len({digest for _, digest in first}) == 4

    @pytest.mark.parametrize("seen", ["position", "digest"])
    async def test_just_this_one_is_discarded(self, seen: str) -> None:
        desk = Desk(self.HAND_MADE)
        position, digest = (await self.rows(desk))[2]
        selection = Selection(position=position) if seen == "position" else Selection(digest=digest[:12])
        await desk.campaign(await with_whole_digest(desk.queue, selection), is_discard=True).run()
        assert desk.queue.bodies == [each.body for each in self.HAND_MADE if each.body != b"\xff rubbish 2"]

    async def test_a_position_that_another_letter_has_by_now_is_not_meant_when_the_digest_is_given_too(self) -> None:
        desk = Desk(self.HAND_MADE)
        position, digest = (await self.rows(desk))[2]
        await desk.campaign(Selection(position=1), is_discard=True).run()  # another operator
        assert (await desk.campaign(Selection(position=position, digest=digest), is_discard=True).run()).done == 0

    async def test_equal_letters_are_told_apart_by_their_position(self) -> None:
        desk = Desk(self.HAND_MADE)
        tally = await desk.campaign(Selection(digest=digest_of(self.HAND_MADE[1])), is_discard=True).rehearse()
        assert tally.done == 2
        await desk.campaign(Selection(position=5), limit=1, is_discard=True).run()
        assert desk.queue.bodies == [each.body for each in self.HAND_MADE[:4]]

    async def test_a_beginning_that_two_different_digests_have_is_refused_before_anything_is_done(self) -> None:
        desk = Desk(letters(100))
        digests = sorted(digest for _, digest in await self.rows(desk))
        shared = next(a[0] for a, b in pairwise(digests) if a[0] == b[0])
        with pytest.raises(ConfigurationError, match=f"begin with {shared}: .*, "):
            await with_whole_digest(desk.queue, Selection(digest=shared))


class TestMistypedFilters:
    """A value that no letter has, and no letter could have, must not look like good news."""

    LETTERS = (
        a_dead_letter(),
        a_dead_letter(account_id="globex", mailbox_id=None),
        a_dead_letter(headers={"sendas-dead-reason": "internal_error", "sendas-dead-detail": "KeyError"}),
        a_dead_letter(headers={"sendas-dead-reason": "by_hand"}),
    )

    async def told(self, selection: Selection, messages: Iterable[KeptMessage] = LETTERS) -> str | None:
        sightings = Sightings(selection, TOPOLOGY)
        count = await look(MemoryDeadQueue(messages), selection, None, lambda *_: None, sightings.add)
        assert count == 0
        return sightings.complaint()

    @pytest.mark.parametrize(
        ("selection", "words"),
        [
            (Selection(reason="internal-error"), "--reason: 'internal-error'; there are: internal_error (1)"),
            (Selection(type="comment.deleted"), "--type: 'comment.deleted'; there are: comment.created (4)"),
            (Selection(account="acmee"), "--account: 'acmee'; there are: acme (3), globex (1)"),
            (Selection(mailbox="mb"), "--mailbox: 'mb'; there are: mb-support (3), unknown (1)"),
            (Selection(queue="sendas.inbound"), "--queue: 'sendas.inbound'; there are: sendas.outbound (4)"),
            (Selection(worker_error="ValueError"), "--worker-error: 'ValueError'; there are: KeyError (1)"),
            (Selection(digest="0000"), "one that begins with 0000"),
            (Selection(position=5), "--position: there are 4 dead letters"),
        ],
    )  # fmt: skip
    async def test_a_value_that_nothing_has_is_refused_with_the_values_there_are(
        self, selection: Selection, words: str
    ) -> None:
        complaint = str(await self.told(selection))
        assert words in complaint.replace("no dead letter has ", "")

    @pytest.mark.parametrize(
        "selection",
        [
            Selection(reason="greylisted"),
            Selection(reason="maxlen"),
            Selection(type="task.created"),
            Selection(queue="sendas.sent-copy"),
            Selection(account="globex", mailbox="mb-support"),
            Selection(since=DEATH + timedelta(days=1)),
            Selection(event_id="evt-9"),
            Selection(replay_id="another"),
            Selection(text="nowhere"),
        ],
    )
    async def test_an_answer_that_is_empty_for_once_is_none_to_complain_of(self, selection: Selection) -> None:
        assert await self.told(selection) is None

    @pytest.mark.parametrize("selection", [Selection(account="acme"), Selection(worker_error="KeyError")])
    async def test_where_there_is_no_letter_only_a_closed_list_says_no(self, selection: Selection) -> None:
        assert await self.told(selection, []) is None
        assert "there can be: recipient_unknown, " in str(await self.told(Selection(reason="nope"), []))

    async def test_a_value_beyond_those_that_are_counted_is_known_all_the_same(self) -> None:
        many = [a_dead_letter(account_id=f"account-{number}") for number in range(1_200)]
        assert await self.told(Selection(account="account-1150", type="task.created"), many) is None
        line = str(await self.told(Selection(account="account"), many))
        assert len(line) < 1_000
        assert line.endswith(", and many more")

    async def test_hostile_values_are_shown_safely_and_short(self) -> None:
        hostile = [a_dead_letter(account_id="\x1b[2J\u200b" + "a" * 400)]
        line = str(await self.told(Selection(account="b"), hostile))
        assert line.isprintable()
        assert len(line) < 200

    @pytest.mark.parametrize(
        ("selection", "count"),
        [
            (Selection(reason="by_hand"), 1),
            (Selection(mailbox="unknown"), 1),
            (Selection(worker_error="KeyError"), 1),
            (Selection(queue="sendas.outbound"), 4),
        ],
    )
    async def test_values_outside_of_the_lists_and_missing_ones_can_be_selected(
        self, selection: Selection, count: int
    ) -> None:
        assert await look(MemoryDeadQueue(self.LETTERS), selection, None, lambda *_: None) == count


class TestReplaying:
    async def test_a_letter_goes_to_where_it_died_as_the_same_event_and_begins_anew(self) -> None:
        headers = {"ce-id": "evt-1", "sendas-recipients": "1", "sendas-mode": "each", "sendas-last-reason": "timeout"}
        headers |= {"sendas-turn": DEATH.isoformat(), "sendas-sender-missing-since": DEATH.isoformat()}
        desk = Desk([a_dead_letter(headers=headers)])
        desk.clock.step(10 * 24 * 3_600)
        await desk.campaign().run()

        [letter] = desk.broker.letters
        work = read_work(letter.headers, desk.clock.now())
        assert (letter.exchange, letter.routing_key) == ("", "sendas.outbound")
        assert letter.body == a_dead_letter().body
        assert (work.attempts, work.first_seen, work.last_reason) == (0, desk.clock.now(), None)
        assert (work.turn, work.sender_missing_since) == (None, None)
        assert (work.recipients, work.mode) == ((1,), "each")
        assert letter.headers["ce-id"] == "evt-1"
        assert not [name for name in letter.headers if name.startswith(("x-", "sendas-dead"))]
        assert (letter.headers["sendas-replays"], letter.headers["sendas-replay-id"]) == (1, "replay-1")
        assert desk.queue.bodies == []

    async def test_a_letter_that_the_broker_gave_up_goes_to_its_queue_without_the_brokers_headers(self) -> None:
        """With `x-death` on it, the broker would see a cycle in the next delay queue and drop the letter."""
        desk = Desk([a_letter_the_broker_gave_up(queue="sendas.sent-copy")])
        await desk.campaign().run()
        [letter] = desk.broker.letters
        assert letter.routing_key == "sendas.sent-copy"
        assert not [name for name in letter.headers if name.startswith("x-")]

    @pytest.mark.parametrize("queue", ["payments", "sendas.dead", "sendas.outbound.delay.30s", ""])
    async def test_a_header_cannot_send_a_letter_to_another_queue(self, queue: str) -> None:
        desk = Desk([a_dead_letter(headers={"sendas-dead-queue": queue})])
        tally = await desk.campaign().run()
        assert tally.refused == {Refusal.NO_DESTINATION: 1}
        assert len(desk.queue.bodies) == 1

    async def test_an_uncertain_letter_stays_unless_it_may_be_sent_twice(self) -> None:
        desk = Desk(letters(1, **UNCERTAIN))
        assert (await desk.campaign().run()).refused == {Refusal.UNCERTAIN: 1}
        assert desk.broker.letters == []

        await desk.campaign(rules=ReplayRules(resend_uncertain=True)).run()
        [letter] = desk.broker.letters
        assert letter.headers["sendas-attempt"] == 4  # so that a later doubt has another number
        assert read_work(letter.headers, desk.clock.now()).is_replayed_doubt

    async def test_the_consent_to_send_twice_does_not_outlive_its_replay(self) -> None:
        desk = Desk(letters(1, **{"sendas-replay-uncertain": 4}))
        await desk.campaign().run()
        assert "sendas-replay-uncertain" not in desk.broker.letters[0].headers

    async def test_a_letter_that_comes_back_again_and_again_stays_at_last(self) -> None:
        desk = Desk(letters(1, **{"sendas-replays": 3, "sendas-replay-id": "earlier"}))
        assert (await desk.campaign().run()).refused == {Refusal.REPLAYED_TOO_OFTEN: 1}
        assert (await desk.campaign(rules=ReplayRules(force_loop=True)).run()).done == 1

    @pytest.mark.parametrize(
        ("headers", "consents", "goes"),
        [
            ({}, {}, False),
            (
                {"sendas-first-seen": "2026-11-01T10:00:00+00:00", "sendas-dead-at": "2026-11-20T10:00:00+00:00"},
                {},
                False,
            ),
            ({"sendas-dead-at": "2026-11-20T10:00:00+00:00"}, {}, True),
            ({}, {"resend_forgotten": True}, True),
            (UNCERTAIN, {"resend_uncertain": True}, True),
            ({"sendas-dead-queue": "sendas.sent-copy"}, {}, True),
        ],
        ids=["old", "died lately", "young", "with consent", "a doubt with consent", "a copy"],
    )
    async def test_a_letter_that_the_ledger_may_have_forgotten_stays(
        self, headers: dict[str, object], consents: dict[str, bool], goes: bool
    ) -> None:
        """A replay that was killed leaves letters here that went already: after two weeks nothing would tell."""
        desk = Desk(letters(1, **{"sendas-dead-at": "2026-11-01T10:00:00+00:00", **headers}))
        rules = ReplayRules(**consents, remembered_since=datetime(2026, 11, 10, tzinfo=UTC))
        tally = await desk.campaign(rules=rules).run()
        assert (tally.done, tally.refused) == ((1, {}) if goes else (0, {Refusal.FORGOTTEN: 1}))

    async def test_a_letter_that_dies_again_at_once_is_not_replayed_twice_in_one_replay(self) -> None:
        desk = Desk(letters(1, **{"sendas-replays": 1, "sendas-replay-id": "replay-1"}))
        assert (await desk.campaign().run()).refused == {Refusal.CAME_BACK: 1}

    async def test_a_rehearsal_counts_and_changes_nothing(self) -> None:
        desk = Desk([*letters(5), *letters(2, **UNCERTAIN)])
        before = desk.queue.bodies
        tally = await desk.campaign().rehearse()
        assert (tally.done, tally.refused, tally.matched) == (5, {Refusal.UNCERTAIN: 2}, 7)
        assert tally.by_queue == {"sendas.outbound": 5}
        assert (desk.queue.bodies, desk.broker.published) == (before, [])

    async def test_the_limit_counts_those_that_go(self) -> None:
        desk = Desk([*letters(2, **UNCERTAIN), *letters(5)])
        assert (await desk.campaign(limit=3).run()).done == 3
        assert len(desk.queue.bodies) == 4
        assert (await desk.campaign(limit=1).rehearse()).done == 1

    async def test_the_rate_is_a_cap(self) -> None:
        desk = Desk(letters(11))
        await desk.campaign(per_s=5).run()
        assert sum(desk.slept) == pytest.approx(2.0)

    async def test_a_pause_holds_nothing_and_what_is_left_goes_afterwards_as_one_act(self) -> None:
        desk, gate = Desk(letters(5)), Gate()
        campaign = desk.campaign(per_s=1, gate=gate, pause_after=3)

        running = asyncio.ensure_future(desk.carry_out(campaign))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not running.done()
        assert (len(desk.broker.letters), await desk.queue.size()) == (2, 3)

        gate.go_on()
        await running
        assert ([act.data.count for act in desk.broker.acts], await desk.queue.size()) == ([5], 0)

    async def test_a_pause_can_be_stopped(self) -> None:
        desk = Desk(letters(3))
        campaign = desk.campaign(per_s=1, gate=Gate(), pause_after=2)
        running = asyncio.ensure_future(desk.carry_out(campaign))
        for _ in range(50):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ([act.data.count for act in desk.broker.acts], await desk.queue.size()) == ([1], 2)

    async def test_letters_are_picked_by_hand_and_only_those_of_a_persons_accounts(self) -> None:
        desk = Desk([a_dead_letter("evt-1"), a_dead_letter("evt-2"), a_dead_letter("evt-3", account_id="globex")])
        digests: list[str] = []
        await look(desk.queue, ALL, None, lambda _, letter: digests.append(letter.digest))
        picked = Selection(digests=frozenset((digests[0], digests[2])), accounts=frozenset({"acme"}))
        await desk.carry_out(desk.campaign(picked), picked)
        assert (await desk.queue.size(), desk.broker.acts[0].data.count) == (2, 1)
        assert desk.broker.acts[0].data.selection["accounts"] == "acme"

    async def test_messages_are_held_for_minutes_only_however_slow_the_rate_is(self) -> None:
        """If the broker's consumer timeout met a slow replay, it would end in its middle."""
        uncertain = letters(3, **UNCERTAIN)
        desk = Desk([*uncertain, *letters(40)])
        held_s: list[float] = []
        take = desk.queue.take

        def timed(at_most: int) -> object:
            held_s.append(desk.clock.monotonic())
            return take(at_most)

        desk.queue.take = timed  # type: ignore[method-assign,assignment]  # the only way to see when it begins
        tally = await desk.campaign(per_s=10 / HOLD_S).run()
        assert (tally.done, tally.refused) == (40, {Refusal.UNCERTAIN: 3})
        assert len(held_s) > 3
        assert max(b - a for a, b in pairwise(held_s)) < HOLD_S * 1.2
        assert desk.queue.bodies == [each.body for each in uncertain]


class TestUnsigned:
    """Dead letters that no worker signed: somebody put them there, or an older version did."""

    async def test_nothing_is_believed_but_the_event(self) -> None:
        headers = {"sendas-recipients": "1", "sendas-mode": "each", "sendas-copy": "{}", **UNCERTAIN}
        desk = Desk([a_dead_letter(headers={**headers, "ce-id": "evt-1"})], are_signed=False)
        await desk.campaign(rules=ReplayRules(resend_uncertain=True)).run()
        [letter] = desk.broker.letters
        work = read_work(letter.headers, desk.clock.now())
        assert (letter.routing_key, letter.body) == ("sendas.outbound", a_dead_letter().body)
        assert (work.recipients, work.mode, work.attempts, work.is_replayed_doubt) == (None, None, 0, False)
        assert (letter.headers["ce-id"], "sendas-copy" in letter.headers) == ("evt-1", False)
        assert SIGNATURES.is_ours(letter.headers, letter.content_type, letter.body)

    async def test_a_copy_for_sent_stays(self) -> None:
        forged = a_dead_letter(headers={"sendas-dead-queue": "sendas.sent-copy", "sendas-copy": "{}"})
        desk = Desk([forged], are_signed=False)
        assert (await desk.campaign().run()).refused == {Refusal.UNSIGNED: 1}

    async def test_an_import_signs_only_what_was_signed(self, tmp_path: Path) -> None:
        """If a file could make a worker's message of anything, then so could whoever forged the dead letter."""
        file = tmp_path / "letters.jsonl"
        given = [signed(a_letter_the_broker_gave_up("ours")), signed(a_dead_letter("too")), a_dead_letter("forged")]
        file.write_text("".join(to_line(each) + "\n" for each in given))
        queue = MemoryDeadQueue()
        await imported_from(file, queue)
        ours = [SIGNATURES.is_ours(each.headers, STRUCTURED, each.body) for each in queue.ready]
        assert ours == [True, True, False]


class TestAuditing:
    async def test_a_replay_is_told_of_with_who_why_and_how_many(self) -> None:
        desk, selection = Desk(letters(3)), Selection(account="acme", since=DEATH)
        await desk.carry_out(desk.campaign(selection), selection)
        [act] = desk.broker.acts
        assert isinstance(act, DeadLetterReplayedEvent)
        assert (act.id, act.data.operator, act.data.why, act.data.count) == (
            "replay-1",
            "anna",
            "fixed the template",
            3,
        )
        assert act.data.selection == {"account": "acme", "since": DEATH.isoformat()}
        assert act.data.by_reason == {"invalid_event": 3}

    async def test_discarding_is_told_of_and_leaves_the_rest(self) -> None:
        desk, selection = Desk([*letters(3), a_dead_letter("kept", account_id="other")]), Selection(account="acme")
        await desk.carry_out(desk.campaign(selection, is_discard=True), selection, is_discard=True)
        [act] = desk.broker.acts
        assert isinstance(act, DeadLetterDiscardedEvent)
        assert act.data.count == 3
        assert desk.queue.bodies == [a_dead_letter("kept", account_id="other").body]

    async def test_nothing_done_is_nothing_told(self) -> None:
        desk = Desk([])
        await desk.carry_out(desk.campaign())
        assert desk.broker.published == []

    @pytest.mark.parametrize("at", [0, 1, 50, 149, 220])
    async def test_an_interrupted_replay_loses_nothing_and_is_told_of(self, at: int) -> None:
        desk = Desk(letters(250), Broker(hangs_at=at))
        task = asyncio.ensure_future(desk.carry_out(desk.campaign()))
        await desk.broker.is_hanging.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        replayed = [each.body for each in desk.broker.letters]
        assert set(replayed) | set(desk.queue.bodies) == {each.body for each in letters(250)}
        assert [act.data.count for act in desk.broker.acts] == ([len(replayed)] if replayed else [])
        assert desk.broker.in_work == 0  # nothing of it goes on behind the operator's back

    async def test_a_letter_that_cannot_be_published_stays_and_ends_the_replay(self) -> None:
        desk = Desk(letters(250), Broker(fails_at=120))
        with pytest.raises(Unavailable, match="no queue"):
            await desk.carry_out(desk.campaign())
        assert set(desk.queue.bodies) | {x.body for x in desk.broker.letters} == {x.body for x in letters(250)}
        assert desk.queue.bodies


class TestFiles:
    @pytest.mark.parametrize(
        "message",
        [
            a_dead_letter(
                headers={"ce-time": DEATH, "raw": b"\xff\x00", "n": 1, "none": None, "many": [1, {"a": b"b"}]}
            ),
            a_letter_the_broker_gave_up(),
            KeptMessage(0, b"\x00\xff\r\n", {}, {}),
        ],
    )
    def test_a_line_holds_all_of_a_message(self, message: KeptMessage) -> None:
        line = to_line(message)
        again = from_line(line, 0)
        assert "\n" not in line
        assert (again.body, again.headers, again.properties) == (message.body, message.headers, message.properties)

    @pytest.mark.parametrize(
        "line",
        [
            "",
            "{}",
            "[]",
            "nonsense",
            "[" * 100_000,
            '{"schema": "sendas.dead-letter/v1"}',
            '{"schema": "sendas.dead-letter/v1", "headers": {}, "properties": {}, "body": "%"}',
        ],
    )
    def test_a_line_that_is_no_letter_is_named(self, line: str) -> None:
        with pytest.raises(ConfigurationError, match="line 7"):
            from_line(line, 7)

    async def test_an_import_can_be_repeated(self, tmp_path: Path) -> None:
        given = [*letters(150), a_letter_the_broker_gave_up("given-up")]
        file = tmp_path / "letters.jsonl"
        file.write_text("".join(to_line(each) + "\n" for each in given))
        queue = MemoryDeadQueue([given[7]])
        results = [await imported_from(file, queue) for _ in range(2)]
        assert results == [Imported(151, 150, 1), Imported(151, 0, 151)]
        assert sorted(queue.bodies) == sorted(each.body for each in given)

    async def test_equal_letters_are_restored_as_often_as_they_were_exported(self, tmp_path: Path) -> None:
        """If two equal letters were exported, then two are there afterwards, and still two after another import."""
        file = tmp_path / "letters.jsonl"
        equal = KeptMessage(0, b"by hand")
        file.write_text("".join(to_line(each) + "\n" for each in [equal, a_dead_letter(), equal, equal]))
        queue = MemoryDeadQueue([equal])
        assert await imported_from(file, queue) == Imported(4, 3, 1)
        assert sorted(queue.bodies) == sorted([b"by hand"] * 3 + [a_dead_letter().body])
        assert await imported_from(file, queue) == Imported(4, 0, 4)

    async def test_an_import_that_is_cut_off_says_how_far_it_came_and_is_finished_by_another(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "letters.jsonl"
        file.write_text("".join(to_line(each) + "\n" for each in [*letters(120), *letters(120)]))
        queue, broker, imported = MemoryDeadQueue(), Broker(fails_at=130), Imported(240)
        with read_filed(str(file)) as filed, pytest.raises(Unavailable):
            await put_all_back(queue, broker.publish, "sendas.dead", filed, imported, SIGNATURES)
        assert imported == Imported(240, 130, 0)
        for each in broker.published:
            await queue.publish(each)
        assert await imported_from(file, queue) == Imported(240, 110, 130)
        assert sorted(queue.bodies) == sorted(each.body for each in [*letters(120), *letters(120)])

    async def test_what_the_broker_knew_is_not_lost_by_an_import(self) -> None:
        """If a letter is put back, then without the broker's headers, which would make it a cycle."""
        given = a_letter_the_broker_gave_up()
        queue = MemoryDeadQueue()
        await queue.publish(put_back(given, "sendas.dead"))
        [message] = queue.ready
        before, after = read_dead_letter(given), read_dead_letter(message)
        assert (after.reason, after.queue, after.dead_at) == (before.reason, before.queue, before.dead_at)
        assert not [name for name in message.headers if name.startswith("x-")]
        assert contents_of(message) == contents_of(given)

    def test_a_file_with_one_bad_line_is_refused_before_anything_is_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "letters.jsonl"
        file.write_text(to_line(a_dead_letter()) + "\n\noops\n")
        with pytest.raises(ConfigurationError, match=r"letters\.jsonl: line 3"), read_filed(str(file)):
            pytest.fail("it was read")
        monkeypatch.setattr("sys.stdin", StringIO(file.read_text()))
        with pytest.raises(ConfigurationError, match="-: line 3"), read_filed("-"):
            pytest.fail("it was read")
        with pytest.raises(ConfigurationError, match="No such file"), read_filed(str(tmp_path / "none")):
            pytest.fail("it was read")


class TestUsage:
    def test_a_hyphen_is_standard_input(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", StringIO("oops"))
        assert status(["dead-letters", "import", "-"]) == 2
        assert "-: line 1" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("replay", "--yes"), "--why"),
            (("discard", "--yes", "--why", " "), "--why"),
            (("list", "--since", "yesterday"), "--since"),
            (("list", "--limit", "0"), "--limit"),
            (("replay", "--rate", "-1"), "--rate"),
            (("replay", "--rate", "nan"), "--rate"),
            (("import", "/nowhere"), "/nowhere"),
            (("export", "/nowhere/file"), "/nowhere"),
            (("show",), "--position"),
            (("show", "evt-1", "--event-id", "evt-2"), "two event ids"),
            (("list", "--position", "0"), "--position"),
            (("list", "--digest", "abc"), "--digest"),
            (("list", "--digest", "nohexdigits"), "--digest"),
            (("list", "--since", "1h", "--until", "2h"), "--since: not before --until"),
        ],
    )
    def test_wrong_usage_is_one_line_and_status_2(
        self, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
    ) -> None:
        assert status(["dead-letters", *arguments]) == 2
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert words in printed.err
