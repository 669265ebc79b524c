"""Reading, selecting, replaying and discarding dead letters, over the queue in memory."""

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, timedelta
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

from tests.dead_letter_samples import DEATH, a_dead_letter, a_letter_the_broker_gave_up
from tests.doubles.clock import SteppedClock
from tests.doubles.dead_queue import KeptMessage, MemoryDeadQueue
from worker.cli import status
from worker.delivery.messages import Publication
from worker.domain.envelope import DeadLetterDiscardedEvent, DeadLetterReplayedEvent, parse_result
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.domain.work import read_work
from worker.errors import ConfigurationError, Unavailable
from worker.operations.dead_letters.acting import HOLD_S, Campaign
from worker.operations.dead_letters.deeds import Auditor, Discard, Order, Replay
from worker.operations.dead_letters.file import fingerprint, from_line, put_back, to_line
from worker.operations.dead_letters.importing import put_all_back, read_filed
from worker.operations.dead_letters.letter import read_dead_letter
from worker.operations.dead_letters.looking import look
from worker.operations.dead_letters.replay import Refusal, ReplayRules
from worker.operations.dead_letters.selection import Census, Selection, moment
from worker.operations.dead_letters.shown import printable, row, row_document, whole_text

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


class Desk:
    """An operator's desk over a queue in memory."""

    def __init__(self, messages: Iterable[KeptMessage], broker: Broker | None = None) -> None:
        self.queue = MemoryDeadQueue(messages)
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
    ) -> Campaign:
        replay = Replay(self.broker.publish, TOPOLOGY, rules or ReplayRules(), "replay-1", self.clock)
        deed = Discard() if is_discard else replay
        return Campaign(self.queue, deed, selection, self.clock, limit=limit, per_s=per_s, sleep=self.sleep)

    async def carry_out(self, campaign: Campaign, selection: Selection = ALL, *, is_discard: bool = False) -> None:
        auditor = Auditor(self.broker.publish, TOPOLOGY, "/sendas", self.clock)
        order = Order("replay-1", "anna", "fixed the template", selection)
        await auditor.carry_out(campaign, (Discard if is_discard else Replay).event, order)


def letters(count: int, **headers: object) -> list[KeptMessage]:
    return [a_dead_letter(f"evt-{number}", headers) for number in range(count)]


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
        census = Census()
        for number in range(1_500):
            census.add(read_dead_letter(a_dead_letter(account_id=f"account-{number}")))
        assert census.by_reason == {"invalid_event": 1_500}
        assert len(census.by_account) == 1_001
        assert census.by_account["other"] == 500

    async def test_a_look_ends_at_its_limit_and_changes_nothing(self) -> None:
        desk = Desk(letters(10))
        before, seen = desk.queue.bodies, list[str | None]()
        assert await look(desk.queue, Selection(text="evt-"), 3, lambda _, x: seen.append(x.event_id)) == 3
        assert seen == ["evt-0", "evt-1", "evt-2"]
        assert desk.queue.bodies == before


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
        assert letter.headers["sendas-replay-uncertain"] == 4

    async def test_the_consent_to_send_twice_does_not_outlive_its_replay(self) -> None:
        desk = Desk(letters(1, **{"sendas-replay-uncertain": 4}))
        await desk.campaign().run()
        assert "sendas-replay-uncertain" not in desk.broker.letters[0].headers

    async def test_a_letter_that_comes_back_again_and_again_stays_at_last(self) -> None:
        desk = Desk(letters(1, **{"sendas-replays": 3, "sendas-replay-id": "earlier"}))
        assert (await desk.campaign().run()).refused == {Refusal.REPLAYED_TOO_OFTEN: 1}
        assert (await desk.campaign(rules=ReplayRules(force_loop=True)).run()).done == 1

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
        results = []
        for _ in range(2):
            with read_filed(str(file)) as filed:
                results.append(await put_all_back(queue, queue.publish, "sendas.dead", filed))
        assert [(each.read, each.new) for each in results] == [(151, 150), (151, 0)]
        assert sorted(queue.bodies) == sorted(each.body for each in given)

    async def test_what_the_broker_knew_is_not_lost_by_an_import(self) -> None:
        """If a letter is put back, then without the broker's headers, which would make it a cycle."""
        given = a_letter_the_broker_gave_up()
        queue = MemoryDeadQueue()
        await queue.publish(put_back(given, "sendas.dead"))
        [message] = queue.ready
        before, after = read_dead_letter(given), read_dead_letter(message)
        assert (after.reason, after.queue, after.dead_at) == (before.reason, before.queue, before.dead_at)
        assert not [name for name in message.headers if name.startswith("x-")]
        assert fingerprint(message) == fingerprint(given)

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
            (("show",), "--event-id"),
        ],
    )
    def test_wrong_usage_is_one_line_and_status_2(
        self, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
    ) -> None:
        assert status(["dead-letters", *arguments]) == 2
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert words in printed.err
