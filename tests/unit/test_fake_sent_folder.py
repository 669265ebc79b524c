"""The double's own switches, which the contract does not know of."""

from tests.doubles.sent_folder import FakeSentFolder
from tests.imap_setting import DATE, letter, target
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyOutcome, Phase

ID = "<1@acme.example>"
DOWN = DeliveryFailure(Phase.CONNECT, FailureKind.TIMEOUT)


async def test_a_programmed_trouble_is_given_out_once_and_nothing_is_kept() -> None:
    fake = FakeSentFolder()
    fake.troubles = [DOWN, DOWN]

    assert (await fake.save(target(993), ID, DATE, letter(ID))).trouble == DOWN
    assert await fake.find(target(993), ID) == DOWN
    assert await fake.find(target(993), ID) is False
    assert (await fake.save(target(993), ID, DATE, letter(ID))).outcome is CopyOutcome.SAVED


async def test_the_copies_can_be_read_back() -> None:
    fake = FakeSentFolder()
    await fake.save(target(993), ID, DATE, letter(ID))

    [copy] = fake.copies("mb")
    assert (copy.message_id, copy.date, copy.content) == (ID, DATE, letter(ID))
