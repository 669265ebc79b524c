"""How an event becomes letters."""

from tests.builders import a_recipient, comment_data
from worker.domain.letter.model import LetterMode, PlannedLetter
from worker.domain.letter.plan import distinct_positions, plan
from worker.domain.snapshot.model import AccountSettings

NAME_ALL = AccountSettings(name_all_recipients=True)
NAME_ONE = AccountSettings(name_all_recipients=False)
THREE = comment_data(recipients=[a_recipient(f"client-{n}@example.net") for n in range(3)])


def test_if_the_account_names_all_recipients_one_letter_names_everybody() -> None:
    assert plan(THREE, NAME_ALL) == (PlannedLetter(LetterMode.COMMON, (0, 1, 2), (0, 1, 2)),)


def test_if_it_does_not_each_gets_a_letter_that_names_nobody_else() -> None:
    assert plan(THREE, NAME_ONE) == tuple(PlannedLetter(LetterMode.EACH, (n,), (n,)) for n in range(3))


def test_if_one_has_the_common_letter_already_it_still_names_everybody_but_goes_to_the_others() -> None:
    assert plan(THREE, NAME_ALL, wanted=[2, 1]) == (PlannedLetter(LetterMode.COMMON, (0, 1, 2), (1, 2)),)


def test_if_one_has_his_own_letter_already_only_the_others_are_planned() -> None:
    assert [letter.envelope for letter in plan(THREE, NAME_ONE, wanted=[2, 0])] == [(0,), (2,)]


def test_if_everybody_has_it_nothing_is_planned() -> None:
    assert plan(THREE, NAME_ALL, wanted=[]) == plan(THREE, NAME_ONE, wanted=[]) == ()


def test_if_the_account_changed_its_mind_between_two_attempts_the_first_plans_mode_stays() -> None:
    assert plan(THREE, NAME_ALL, LetterMode.EACH, [1]) == (PlannedLetter(LetterMode.EACH, (1,), (1,)),)
    assert plan(THREE, NAME_ONE, LetterMode.COMMON, [1]) == (PlannedLetter(LetterMode.COMMON, (0, 1, 2), (1,)),)


def test_if_an_address_stands_twice_it_gets_one_letter_and_the_first_position_wins() -> None:
    data = comment_data(
        recipients=[
            a_recipient("client@пример.рф", role="cc"),
            a_recipient("other@example.net"),
            a_recipient("client@XN--E1AFMKFD.xn--p1ai", role="to"),
        ]
    )
    assert distinct_positions(data.recipients) == (0, 1)
    assert plan(data, NAME_ALL) == (PlannedLetter(LetterMode.COMMON, (0, 1), (0, 1)),)
    assert [letter.named for letter in plan(data, NAME_ONE)] == [(0,), (1,)]


def test_if_only_the_repetition_is_wanted_nothing_is_planned_because_the_first_has_it() -> None:
    data = comment_data(recipients=[a_recipient(), a_recipient()])
    assert plan(data, NAME_ONE, wanted=[1]) == plan(data, NAME_ALL, wanted=[1]) == ()


def test_if_local_parts_differ_in_case_they_are_two_people() -> None:
    data = comment_data(recipients=[a_recipient("Client@example.net"), a_recipient("client@example.net")])
    assert distinct_positions(data.recipients) == (0, 1)


def test_if_the_provider_takes_fewer_recipients_the_common_letter_is_handed_in_several_times() -> None:
    """Each time the same letter, which names everybody, and everybody gets it once."""
    letters = plan(THREE, NAME_ALL, most=2)
    assert letters == (
        PlannedLetter(LetterMode.COMMON, (0, 1, 2), (0, 1)),
        PlannedLetter(LetterMode.COMMON, (0, 1, 2), (2,)),
    )
    assert plan(THREE, NAME_ALL, most=3) == plan(THREE, NAME_ALL)
    assert plan(THREE, NAME_ONE, most=2) == plan(THREE, NAME_ONE)
    assert plan(THREE, NAME_ALL, wanted=[], most=2) == ()
