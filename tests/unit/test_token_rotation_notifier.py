"""Rotated refresh tokens are told of until somebody has taken them, and for the mailboxes that they belong to."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.builders import a_mailbox, an_account
from tests.doubles.clock import SteppedClock
from tests.doubles.directory import MemoryDirectory, a_directory
from tests.doubles.mailbox_memory import MemoryRefreshTokens
from worker.delivery.messages import Publication
from worker.delivery.results import Reporter
from worker.delivery.token_rotation import Rotation, TokenRotationNotifier
from worker.domain.results.events import MailboxTokenRotatedEvent, parse_result
from worker.domain.snapshot.model import OAuthAuth
from worker.errors import Unavailable

OAUTH = {
    "method": "xoauth2",
    "username": "support@acme.example",
    "token_endpoint": "https://login.example/token",
    "client_id": "client",
    "refresh_token": {"sealed": "main.old"},
}
IMAP = {"host": "imap.acme.example", "port": 993, "security": "tls"}


@dataclass
class FixedSnapshot:
    directory: MemoryDirectory

    async def refresh(self) -> None:
        """There is no newer one."""


@dataclass
class Scene:
    """A telling, its memory, and a broker that may be without a queue for it."""

    mailboxes: list[Any]
    published: list[Publication] = field(default_factory=list)
    has_queue: bool = True
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    clock: SteppedClock = field(default_factory=SteppedClock)

    def __post_init__(self) -> None:
        self.tokens = MemoryRefreshTokens(self.clock)
        self.telling = TokenRotationNotifier(
            tokens=self.tokens,
            snapshot=FixedSnapshot(a_directory([an_account(mailboxes=self.mailboxes)])),
            is_of=self._is_of,
            reporter=Reporter("/sendas", "sendas.results"),
            publish=self._publish,
        )

    async def _is_of(self, rotation: Rotation, account_id: str, auth: OAuthAuth) -> bool:
        return (account_id, auth.username) == (rotation.account_id, rotation.username)

    async def _publish(self, publication: Publication) -> None:
        self.tried.set()
        if not self.has_queue:
            raise Unavailable("no queue takes it")
        self.published.append(publication)

    async def rotate(self, sealed: str = "main.new", account_id: str = "acme") -> None:
        self.clock.step(1)
        username = "support@acme.example"
        await self.tokens.keep(Rotation(b"g" * 32, account_id, username, sealed, (b"a" * 16,), self.clock.now()))

    @property
    def told(self) -> list[MailboxTokenRotatedEvent]:
        results = [parse_result(publication.body) for publication in self.published]
        assert all(isinstance(result, MailboxTokenRotatedEvent) for result in results)
        return results  # type: ignore[return-value]  # as was just seen


def oauth_mailbox(**fields: Any) -> Any:
    return a_mailbox(smtp={"auth": OAUTH}, **fields)


async def test_the_product_gets_what_it_puts_into_the_snapshot() -> None:
    scene = Scene([oauth_mailbox(sent_copy={"imap": IMAP})])
    await scene.rotate()
    await scene.telling.tell()
    (event,) = scene.told
    assert event.model_dump(mode="json")["data"] == {
        "account_id": "acme",
        "mailbox_id": "mb-support",
        "username": "support@acme.example",
        "used_for": ["smtp"],
        "refresh_token": {"sealed": "main.new"},
        "rotated_at": scene.clock.now().isoformat().replace("+00:00", "Z"),
    }
    assert event.subject == "mb-support"
    assert scene.published[0].must_route, "nobody listening must be an error, not a token lost"
    await scene.telling.tell()
    assert len(scene.told) == 1


async def test_each_mailbox_that_signs_in_so_is_told_of_with_what_for() -> None:
    own_imap = {"imap": IMAP | {"auth": OAUTH}}
    password = a_mailbox(id="mb-password", sent_copy=own_imap)
    other = a_mailbox(id="mb-other", smtp={"auth": OAUTH | {"username": "sales@acme.example"}})
    scene = Scene(
        [oauth_mailbox(sent_copy=own_imap), oauth_mailbox(id="mb-sales"), password, other, a_mailbox(id="mb-x")]
    )
    await scene.rotate()
    await scene.telling.tell()
    assert [(event.data.mailbox_id, [use.value for use in event.data.used_for]) for event in scene.told] == [
        ("mb-support", ["smtp", "imap"]),
        ("mb-sales", ["smtp"]),
        ("mb-password", ["imap"]),
    ]
    assert len({event.id for event in scene.told}) == 3


@pytest.mark.parametrize(("account_id", "told"), [("gone", "gone"), ("", None)], ids=["no such account", "the relay"])
async def test_without_a_mailbox_it_is_told_all_the_same(account_id: str, told: str | None) -> None:
    scene = Scene([])
    await scene.rotate(account_id=account_id)
    await scene.telling.tell()
    (event,) = scene.told
    assert (event.data.account_id, event.data.mailbox_id) == (told, None)


async def test_while_no_queue_takes_it_it_stays_untold() -> None:
    scene = Scene([oauth_mailbox()], has_queue=False)
    await scene.rotate()
    with pytest.raises(Unavailable):
        await scene.telling.tell()
    scene.has_queue = True
    await scene.telling.tell()
    assert len(scene.told) == 1


async def test_two_workers_that_tell_at_once_tell_the_same_result() -> None:
    scene = Scene([oauth_mailbox()])
    await scene.rotate()
    first = await scene.tokens.untold(1)
    await scene.telling.tell()
    await scene.tokens.keep(first[0])
    await scene.telling.tell()
    assert scene.published[0].body == scene.published[1].body


async def test_it_tells_at_its_start_and_whenever_it_is_woken(capsys: pytest.CaptureFixture[str]) -> None:
    scene = Scene([oauth_mailbox()], has_queue=False)
    rotated = asyncio.Event()
    await scene.rotate()
    running = asyncio.create_task(scene.telling.run(rotated))
    await scene.tried.wait()
    scene.tried.clear()
    scene.has_queue = True
    await asyncio.sleep(0)
    rotated.set()
    await scene.tried.wait()
    await asyncio.sleep(0)
    running.cancel()
    assert len(scene.told) == 1
    said = capsys.readouterr().out
    assert "mailbox.token_rotated_unpublished" in said
    assert "main.new" not in said
