"""Two accounts' events with one source and id: the second is invalid and says so, and nothing of the first is told."""

from collections.abc import Sequence

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account
from tests.delivery_world import BUSY, DeliveryWorld
from worker.domain.events.models import LetterEvent
from worker.domain.results.events import MailFailedEvent, MailSentEvent
from worker.domain.vocabulary import Reason


def a_world() -> DeliveryWorld:
    return DeliveryWorld([an_account(id=name, mailboxes=[a_mailbox(address=f"a@{name}.example")]) for name in "ab"])


def an_event(account: str, addresses: Sequence[str]) -> LetterEvent:
    return a_comment_event("same", account_id=account, recipients=[a_recipient(address) for address in addresses])


@pytest.mark.parametrize("count", [1, 2, 12], ids=["one letter", "two letters", "split"])
async def test_the_second_is_invalid_and_not_swallowed(count: int) -> None:
    world = a_world()
    await world.deliver(an_event("a", ["first@example.net"]))
    theirs = [f"{number}@example.org" for number in range(count)]
    await world.deliver(an_event("b", theirs))
    [sent] = world.results(MailSentEvent)
    [failed] = world.results(MailFailedEvent)
    assert (sent.data.account_id, world.delivered_to) == ("a", ["first@example.net"])
    assert (failed.data.account_id, failed.data.reason) == ("b", Reason.INVALID_EVENT)
    assert "another account has the same source and id" in str(failed.data.detail)
    assert [each.address for each in failed.data.recipients] == theirs
    assert len(world.broker.dead) == 1


async def test_the_invalid_ones_of_two_accounts_have_results_of_their_own() -> None:
    """If a consumer drops repeats by their id, then each account still learns of its own event."""
    world = DeliveryWorld([an_account(id=name, mailboxes=[a_mailbox()]) for name in "abc"])
    for account in ("a", "b", "c", "b"):
        await world.deliver(an_event(account, ["client@example.net"]))
    failed = world.results(MailFailedEvent)
    assert [each.data.account_id for each in failed] == ["b", "c", "b"]
    assert len({each.id for each in failed}) == 2


async def test_the_first_goes_on_after_it() -> None:
    """If the first one waits for another attempt of some letters, then the second changes nothing of that."""
    world = a_world()
    world.transport.refuse(BUSY, times=1)
    world.publish(an_event("a", [f"{number}@example.net" for number in range(2)]))
    await world.run(until_s=0)
    world.publish(an_event("b", ["client@example.org", "second@example.org"]))
    await world.run()
    assert sorted(world.delivered_to) == [f"{number}@example.net" for number in range(2)]
    assert {each.data.account_id for each in world.results(MailFailedEvent)} == {"b"}
