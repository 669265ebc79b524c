"""The account of a chaos run must see what is wrong: each kind of harm, made by hand, is counted as what it is."""

from collections.abc import Sequence
from dataclasses import replace

from chaos.account import Account, Copy, Evidence, account
from chaos.customers import PROFILES, Customer
from chaos.events import PlannedEvent, planned_events
from chaos.plan import full, schedule, short
from chaos.product import DeadLetter
from chaos.results import Results
from chaos.smtp import Accepted
from stack.scripted_smtp import AcceptedLetter

CUSTOMER = Customer(0, PROFILES[0])
EVENT = PlannedEvent("evt-1", "comment.created", b"{}", CUSTOMER, ("client@buyer.example",), 0.0, None)
MESSAGE_ID = "<1@each.product.example>"
LETTER = AcceptedLetter(1, CUSTOMER.address, True, CUSTOMER.address, EVENT.recipients, b"letter")
TOKEN = "(calm 0)"


def a_result(kind: str, result_id: str = "r-1", **fields: object) -> dict[str, object]:
    recipient = {"address": EVENT.recipients[0], "reply": fields.pop("reply", None)}
    data = {"event_id": EVENT.id, "message_id": MESSAGE_ID, "reason": None, "detail": None, "recipients": [recipient]}
    return {"id": result_id, "type": kind, "data": data | fields}


SENT = a_result("mail.sent")
UNCERTAIN = a_result("mail.uncertain", "r-2")
COPIED = a_result("sent_copy.saved", "r-3", outcome="saved")
REFUSED = a_result("mail.failed", "r-4", reply={"code": 550, "enhanced": "5.1.1", "text": f"no such user {TOKEN}"})


def accounted(
    *results: dict[str, object],
    accepted: int = 1,
    copies: Sequence[bytes] = (b"letter",),
    dead: Sequence[DeadLetter] = (),
    refusals: dict[str, str] | None = None,
) -> Account:
    """The account of one event, of which this was seen."""
    seen = Results()
    for result in results:
        seen.take(result)
    return account(
        Evidence(
            events=[EVENT],
            invalid=[],
            accepted=[Accepted(LETTER, MESSAGE_ID)] * accepted,
            refusals=refusals or {},
            results=seen,
            folders={CUSTOMER: [Copy(MESSAGE_ID, wire) for wire in copies]},
            dead=dead,
            left_over={},
        )
    )


def test_a_letter_that_was_sent_told_and_copied_once_is_no_problem() -> None:
    assert accounted(SENT, COPIED).problems == {}


def test_a_letter_that_nobody_accepted_and_nothing_tells_of_is_lost() -> None:
    assert accounted(accepted=0, copies=()).problems == {"lost": 1}


def test_a_letter_that_is_told_as_sent_and_was_not_accepted_is_lost() -> None:
    assert accounted(SENT, COPIED, accepted=0, copies=()).problems == {"lost": 1}


def test_a_letter_that_was_accepted_twice_is_a_problem_unless_it_was_announced() -> None:
    assert accounted(SENT, COPIED, accepted=2).problems == {"duplicates_unannounced": 1}
    announced = accounted(SENT, COPIED, UNCERTAIN, accepted=2)
    assert (announced.duplicates, announced.duplicates_announced, announced.problems) == (1, 1, {})


def test_an_accepted_letter_without_a_result_is_missing_one() -> None:
    assert accounted(copies=()).problems == {"results_missing": 1}


def test_a_sent_letter_without_the_result_of_its_copy_is_missing_one() -> None:
    assert accounted(SENT).problems == {"results_missing": 1}


def test_a_letter_that_was_accepted_and_is_told_as_failed_contradicts_itself() -> None:
    assert "contradictions" in accounted(REFUSED, refusals={TOKEN: "rcpt TO:<client@buyer.example>"}).problems


def test_a_failure_must_have_been_said_by_a_server_and_to_this_recipient() -> None:
    said = {TOKEN: "rcpt TO:<client@buyer.example>"}
    elsewhere = {TOKEN: "rcpt TO:<other@buyer.example>"}
    assert accounted(REFUSED, accepted=0, copies=(), refusals=said).problems == {}
    assert accounted(REFUSED, accepted=0, copies=(), refusals=elsewhere).problems == {"failures_unexplained": 1}
    assert accounted(REFUSED, accepted=0, copies=()).problems == {"failures_unexplained": 1}


def test_copies_are_missing_doubled_or_altered() -> None:
    assert accounted(SENT, COPIED, copies=()).problems == {"copies_missing": 1}
    assert accounted(SENT, COPIED, copies=(b"letter", b"letter")).problems == {"copies_doubled": 1}
    assert accounted(SENT, COPIED, copies=(b"lett",)).problems == {"copies_altered": 1}


def test_a_dead_letter_needs_a_reason_that_the_run_gave() -> None:
    assert accounted(SENT, COPIED, dead=[DeadLetter("", "", b"{}")]).problems == {"dead_unexplained": 1}


def test_equal_seeds_make_equal_events_and_schedules_and_others_do_not() -> None:
    plan = short(1)
    first, again = (
        [replace(event, body=b"") for event in planned_events(plan, (CUSTOMER,))] for _ in range(2)
    )  # bodies hold the time
    assert first == again
    assert schedule(plan) == schedule(short(1)) != schedule(short(2))


def test_a_full_schedule_has_every_kind_of_fault_and_every_node() -> None:
    acts = schedule(full(1))
    assert {act.kind for act in acts["worker"]} == {"kill", "term", "freeze"}
    assert {act.kind for act in acts["database"]} == {"kill", "restart"}
    assert {act.target for act in acts["broker"]} == {0, 1, 2}
    assert len({act.kind for act in acts["snapshot"]}) == 6
