"""Access tokens from a token server that rotates, refuses, stalls and talks nonsense."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from nacl.public import PrivateKey
from pydantic import SecretStr

from tests.doubles.clock import SteppedClock
from tests.doubles.mailbox_memory import MemoryRefreshTokens
from tests.integration.web_server import session, web_server
from worker.adapters.auth import oauth
from worker.adapters.auth.credentials import AccessToken, Password, SealedOnlyCredentials, SecretCredentials
from worker.adapters.auth.oauth import TokenSource, grant_key
from worker.adapters.auth.secrets import SealingKeys, SecretStore
from worker.adapters.auth.token_rotation import RotationKeeper, digest
from worker.adapters.network.http import GuardedSession
from worker.delivery.token_rotation import Rotation
from worker.domain.snapshot.model import EnvSecret, NoAuth, OAuthAuth, PasswordAuth
from worker.domain.vocabulary import AuthMethod
from worker.errors import SecretUnavailable, TokenRefused, Unavailable

P = "SENDAS_SECRET_"
USER = "support@acme.example"


@dataclass
class TokenServer:
    """Hands out numbered tokens; with `rotates`, each refresh token is good once, as strict servers have it."""

    rotates: bool = False
    lifetime_s: int = 3_600
    good_refresh_tokens: set[str] = field(default_factory=lambda: {"rt-0"})
    forms: list[dict[str, str]] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def answer(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        self.arrived.set()
        await self.gate.wait()
        if self.answers:
            return self.answers.pop(0)
        if form["grant_type"] == "refresh_token" and form["refresh_token"] not in self.good_refresh_tokens:
            return web.json_response({"error": "invalid_grant", "error_description": form["refresh_token"]}, status=400)
        number = len(self.forms)
        granted: dict[str, Any] = {
            "access_token": f"at-{number}",
            "token_type": "Bearer",
            "expires_in": self.lifetime_s,
        }
        if self.rotates:
            self.good_refresh_tokens = {f"rt-{number}"}
            granted["refresh_token"] = f"rt-{number}"
        return web.json_response(granted)


@dataclass
class World:
    """A token source before a token server."""

    server: TokenServer
    source: TokenSource
    secrets: SecretStore
    environment: dict[str, str]
    clock: SteppedClock
    url: str
    session: GuardedSession
    tokens: MemoryRefreshTokens
    keys: SealingKeys
    slept: list[float]

    async def rotated(self) -> list[tuple[str, str, str]]:
        """What is to be told of: whose token, and the token."""
        untold = await self.tokens.untold(100)
        return [
            (each.account_id, each.username, self.keys.open(each.sealed, each.account_id).get_secret_value())
            for each in untold
        ]

    def auth(self, refresh_token: str = "RT", **changes: Any) -> OAuthAuth:
        return OAuthAuth(
            method=AuthMethod.XOAUTH2,
            username=changes.pop("username", USER),
            token_endpoint=changes.pop("token_endpoint", self.url),
            client_id=changes.pop("client_id", "client"),
            refresh_token=EnvSecret(env=P + refresh_token),
            **changes,
        )

    def worker(
        self,
        name: str,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        keys: SealingKeys | None = None,
        timeout_s: float = 10,
    ) -> TokenSource:
        """Another worker of the same installation."""

        async def note(seconds: float) -> None:
            self.slept.append(seconds)

        keeper = RotationKeeper(
            self.tokens, keys or self.keys, self.clock, holder=name, rotated=lambda: None, sleep=sleep or note
        )
        return TokenSource(
            self.session, self.secrets, self.clock, keeper, random=lambda: 0.0, timeout_s=timeout_s, sleep=sleep or note
        )

    async def renewals(self) -> None:
        """Return when no renewal is under way."""
        if renewals := {task for task in asyncio.all_tasks() if task.get_name() == "token-renewal"}:
            await asyncio.wait(renewals)

    async def token(self, auth: OAuthAuth | None = None, account_id: str = "acme") -> str:
        return (await self.source.token(account_id, auth or self.auth())).get_secret_value()


def sealing_keys(name: str = "main") -> SealingKeys:
    return SealingKeys({name: PrivateKey.generate()})


@asynccontextmanager
async def world(
    timeout_s: float = 10, random: Callable[[], float] = lambda: 0.0, keys: SealingKeys | None = None
) -> AsyncIterator[World]:
    server, clock = TokenServer(), SteppedClock()
    environment = {P + "RT": "rt-0", P + "CS": "client-secret"}
    secrets = SecretStore(SealingKeys({}), environment, reference_accounts=None)
    tokens, keys = MemoryRefreshTokens(clock), keys or sealing_keys()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with web_server({"/token": server.answer}) as port, session() as guarded:
        source = TokenSource(
            guarded,
            secrets,
            clock,
            RotationKeeper(tokens, keys, clock, holder="one", rotated=lambda: None, sleep=sleep),
            random=random,
            timeout_s=timeout_s,
            sleep=sleep,
        )
        url = f"https://web.example:{port}/token"
        try:
            yield World(server, source, secrets, environment, clock, url, guarded, tokens, keys, slept)
        finally:
            await source.close()


class TestGrants:
    async def test_a_refresh_token_is_sent_as_the_rfc_says(self) -> None:
        async with world() as w:
            auth = w.auth(client_secret=EnvSecret(env=P + "CS"), scope="https://mail.google.com/")
            assert await w.token(auth) == "at-1"
            assert w.server.forms == [
                {
                    "grant_type": "refresh_token",
                    "refresh_token": "rt-0",
                    "client_id": "client",
                    "client_secret": "client-secret",
                    "scope": "https://mail.google.com/",
                }
            ]

    async def test_without_one_the_client_signs_in_itself(self) -> None:
        async with world() as w:
            auth = OAuthAuth(
                method=AuthMethod.XOAUTH2,
                username=USER,
                token_endpoint=w.url,
                client_id="client",
                client_secret=EnvSecret(env=P + "CS"),
            )
            assert await w.token(auth) == "at-1"
            assert w.server.forms == [
                {"grant_type": "client_credentials", "client_id": "client", "client_secret": "client-secret"}
            ]


class TestMemory:
    async def test_five_minutes_before_its_end_a_token_is_renewed_and_nobody_waits(self) -> None:
        async with world() as w:
            await w.token()
            w.clock.step(3_299)
            assert await w.token() == "at-1"
            await w.renewals()
            assert len(w.server.forms) == 1
            w.clock.step(2)
            w.server.gate.clear()
            assert [await w.token(), await w.token()] == ["at-1", "at-1"]
            w.server.gate.set()
            await w.renewals()
            assert await w.token() == "at-2"
            assert len(w.server.forms) == 2

    async def test_a_token_that_would_not_last_for_a_sign_in_is_waited_for(self) -> None:
        async with world() as w:
            await w.token()
            w.clock.step(3_541)
            assert await w.token() == "at-2"

    async def test_jitter_brings_renewal_forward(self) -> None:
        """Tokens that were issued together are not all renewed together."""
        async with world(random=lambda: 1.0) as w:
            await w.token()
            w.clock.step(3_001)
            await w.token()
            await w.renewals()
            assert await w.token() == "at-2"

    async def test_a_short_lived_token_is_used_for_most_of_its_life(self) -> None:
        async with world() as w:
            w.server.lifetime_s = 60
            await w.token()
            w.clock.step(44)
            assert await w.token() == "at-1"
            assert len(w.server.forms) == 1
            w.clock.step(14)
            assert await w.token() == "at-2"

    async def test_a_token_without_a_life_is_used_once(self) -> None:
        async with world() as w:
            w.server.lifetime_s = 0
            assert [await w.token(), await w.token()] == ["at-1", "at-2"]

    async def test_a_refused_token_is_forgotten_but_not_the_one_that_replaced_it(self) -> None:
        """Several letters may be refused with the same old token, some of them late."""
        async with world() as w:
            refused = await w.source.token("acme", w.auth())
            assert not await w.source.forget("acme", w.auth(), refused), "issued just now: another is no better"
            assert await w.token() == "at-2"
            assert await w.source.forget("acme", w.auth(), refused)
            assert await w.token() == "at-2"
            w.clock.step(60)
            assert await w.source.forget("acme", w.auth(), SecretStr("at-2"))
            assert await w.token() == "at-3"

    @pytest.mark.parametrize(
        "change",
        [
            {"account_id": "other"},
            {"username": "ivan@acme.example"},
            {"client_id": "other"},
            {"scope": "mail"},
            {"refresh_token": "RT2"},
        ],
        ids=lambda change: next(iter(change)),
    )
    async def test_nobody_gets_anothers_token(self, change: dict[str, str]) -> None:
        """Two accounts may have the same mailbox, client and endpoint; one that lost its right must notice."""
        async with world() as w:
            w.environment[P + "RT2"] = "rt-other"
            w.server.good_refresh_tokens.add("rt-other")
            assert await w.token() == "at-1"
            account_id = change.pop("account_id", "acme")
            assert await w.token(w.auth(**change), account_id) == "at-2"
            assert await w.token() == "at-1"

    async def test_another_endpoint_is_another_grant(self) -> None:
        async with world() as w:
            await w.token()
            other = w.auth(token_endpoint=w.url + "?tenant=2")
            assert await w.token(other) == "at-2"

    async def test_the_memory_is_bounded_and_the_least_used_goes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(oauth, "_MAX_KEYS", 2)
        async with world() as w:
            for account_id in ("a", "b", "a", "c", "a", "b"):
                await w.token(account_id=account_id)
            assert len(w.server.forms) == 4, "a, b and c once each, and b again"


class TestRotation:
    async def test_the_new_refresh_token_is_used_and_told(self) -> None:
        async with world() as w:
            w.server.rotates = True
            for _ in range(3):
                await w.token()
                w.clock.step(3_600)
            assert [form["refresh_token"] for form in w.server.forms] == ["rt-0", "rt-1", "rt-2"]
            assert await w.rotated() == [("acme", USER, "rt-3")], "the newest: the others are void by now"

    async def test_a_snapshot_that_catches_up_by_half_does_not_bring_back_a_spent_token(self) -> None:
        """It names rt-1 while rt-2 is the good one: strict servers would void the whole family for using rt-1."""
        async with world() as w:
            w.server.rotates = True
            for _ in range(2):
                await w.token()
                w.clock.step(3_600)
            w.environment[P + "RT"] = "rt-1"
            assert await w.token() == "at-3"
            assert w.server.forms[-1]["refresh_token"] == "rt-2"

    async def test_a_mailbox_connected_anew_starts_with_its_new_token(self) -> None:
        async with world() as w:
            w.server.rotates = True
            await w.token()
            w.environment[P + "RT"] = "rt-fresh"
            w.server.good_refresh_tokens.add("rt-fresh")
            assert await w.token() == "at-2"
            assert w.server.forms[-1]["refresh_token"] == "rt-fresh"

    async def test_the_same_token_again_is_no_rotation(self) -> None:
        async with world() as w:
            w.server.answers.append(web.json_response({"access_token": "at", "refresh_token": "rt-0"}))
            await w.token()
            assert await w.rotated() == []


class TestSeveralWorkers:
    """With the same mailbox, before a server whose refresh tokens are good once."""

    async def test_each_goes_on_with_the_token_that_another_was_given(self) -> None:
        """If one worker has rotated the token, then the snapshot's one is void, and the mailbox is well."""
        async with world() as w:
            w.server.rotates = True
            two = w.worker("two")
            assert await w.token() == "at-1"
            assert (await two.token("acme", w.auth())).get_secret_value() == "at-2"
            w.clock.step(3_600)
            assert await w.token() == "at-3"
            assert [form["refresh_token"] for form in w.server.forms] == ["rt-0", "rt-1", "rt-2"]

    async def test_a_worker_that_starts_anew_does_not_begin_with_a_spent_token(self) -> None:
        async with world() as w:
            w.server.rotates = True
            for _ in range(3):
                await w.token()
                w.clock.step(3_600)
            restarted = w.worker("restarted")
            assert (await restarted.token("acme", w.auth())).get_secret_value() == "at-4"
            assert w.server.forms[-1]["refresh_token"] == "rt-3"

    async def test_they_renew_one_after_the_other(self) -> None:
        """Two uses of one token at once would look like theft to a strict server, which then voids them all."""
        async with world() as w:
            w.server.rotates = True
            w.server.gate.clear()
            waited = asyncio.Event()

            async def sleep(_: float) -> None:
                waited.set()
                await w.server.gate.wait()
                await asyncio.sleep(0)

            two = w.worker("two", sleep=sleep)
            first = asyncio.create_task(w.token())
            await w.server.arrived.wait()
            second = asyncio.create_task(two.token("acme", w.auth()))
            await waited.wait()
            assert len(w.server.forms) == 1
            w.server.gate.set()
            assert (await first, (await second).get_secret_value()) == ("at-1", "at-2")
            assert [form["refresh_token"] for form in w.server.forms] == ["rt-0", "rt-1"]

    async def test_a_turn_that_nobody_ends_runs_out(self) -> None:
        async with world() as w:
            grant = grant_key("acme", w.auth(), SecretStr("rt-0")).owner.grant
            assert await w.tokens.take_turn(grant, "died", 60)

            async def sleep(_: float) -> None:
                w.clock.step(20)

            assert (await w.worker("two", sleep=sleep).token("acme", w.auth())).get_secret_value() == "at-1"

    async def test_if_a_turn_ran_out_in_between_the_newest_token_is_tried_before_the_mailbox_is_given_up(self) -> None:
        async with world() as w:
            w.server.rotates = True
            w.server.gate.clear()
            slow = asyncio.create_task(w.token())
            await w.server.arrived.wait()
            w.clock.step(61)
            w.server.good_refresh_tokens = {"rt-other"}
            owner = grant_key("acme", w.auth(), SecretStr("rt-0")).owner
            keeper = RotationKeeper(w.tokens, w.keys, w.clock, holder="two", rotated=lambda: None)
            await keeper.keep(owner, digest(SecretStr("rt-0")), SecretStr("rt-0"), SecretStr("rt-other"))
            w.server.gate.set()
            assert await slow == "at-2"
            assert [form["refresh_token"] for form in w.server.forms] == ["rt-0", "rt-other"]

    async def test_a_mailbox_that_was_connected_anew_is_not_held_to_its_former_tokens(self) -> None:
        async with world() as w:
            w.server.rotates = True
            await w.token()
            w.environment[P + "RT"] = "rt-fresh"
            w.server.good_refresh_tokens = {"rt-fresh"}
            assert (await w.worker("two").token("acme", w.auth())).get_secret_value() == "at-2"
            assert await w.rotated() == [("acme", USER, "rt-2")]

    async def test_two_accounts_with_one_sign_in_share_nothing(self) -> None:
        async with world() as w:
            w.server.rotates = True
            await w.token()
            with pytest.raises(TokenRefused):
                await w.worker("two").token("other", w.auth())

    async def test_a_rotated_token_opens_for_its_account_only(self, capsys: pytest.CaptureFixture[str]) -> None:
        """If somebody puts another account's kept token under a grant of their own, then they do not get it."""
        async with world() as w:
            w.server.rotates = True
            await w.token()
            [kept] = await w.tokens.untold(1)
            with pytest.raises(TokenRefused):
                await w.worker("two").token("evil", w.auth())
            taken = grant_key("evil", w.auth(), SecretStr("rt-0")).owner.grant
            await w.tokens.keep(replace(kept, grant=taken, account_id="evil"))
            with pytest.raises(TokenRefused):
                await w.worker("three").token("evil", w.auth())
            assert "oauth.refresh_token_not_opened" in capsys.readouterr().out
            assert w.server.forms[-1]["refresh_token"] == "rt-0", "its own, which the server does not know any more"

    async def test_a_token_sealed_for_a_key_that_is_gone_is_said_in_words(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with world() as w:
            w.server.rotates = True
            await w.token()
            with pytest.raises(TokenRefused):
                await w.worker("two", keys=sealing_keys("other")).token("acme", w.auth())
            said = capsys.readouterr().out
            assert "oauth.refresh_token_not_opened" in said
            assert "SENDAS_SEALING_KEYS_FILE" in said


class TestKeeping:
    async def test_without_a_sealing_key_it_is_said_what_to_do_and_nothing_is_kept_in_clear(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with world(keys=SealingKeys({})) as w:
            w.server.rotates = True
            assert await w.token() == "at-1"
            w.clock.step(3_600)
            assert await w.token() == "at-2", "this process knows it"
            assert await w.rotated() == []
            said = capsys.readouterr().out
            assert "oauth.refresh_token_not_kept" in said
            assert "SENDAS_SEALING_KEYS_FILE" in said
            assert "rt-1" not in said
            assert USER not in said

    async def test_while_the_memory_is_away_the_new_token_waits_and_is_not_lost(self) -> None:
        async with world() as w:
            w.server.rotates = True

            class Away(MemoryRefreshTokens):
                refusals = 3

                async def keep(self, rotation: Rotation) -> None:
                    if self.refusals:
                        self.refusals -= 1
                        raise Unavailable("away")
                    await super().keep(rotation)

            w.tokens = Away(w.clock)
            assert (await w.worker("two").token("acme", w.auth())).get_secret_value() == "at-1"
            assert await w.rotated() == [("acme", USER, "rt-1")]

    async def test_a_renewal_under_way_is_finished_before_the_worker_ends(self) -> None:
        """If it was cut off after the endpoint has decided, then the new token would be lost with the process."""
        async with world() as w:
            w.server.rotates = True
            w.server.gate.clear()
            caller = asyncio.create_task(w.token())
            await w.server.arrived.wait()
            closing = asyncio.create_task(w.source.close())
            await asyncio.sleep(0)
            w.server.gate.set()
            await closing
            assert await caller == "at-1"
            assert await w.rotated() == [("acme", USER, "rt-1")]

    async def test_a_new_token_that_cannot_be_kept_before_the_end_is_said_to_be_lost(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with world() as w:
            w.server.rotates = True

            class Away(MemoryRefreshTokens):
                async def keep(self, rotation: Rotation) -> None:
                    raise Unavailable("away")

            w.tokens = Away(w.clock)
            stuck = asyncio.Event()

            async def sleep(_: float) -> None:
                stuck.set()
                await asyncio.Event().wait()

            source = w.worker("two", sleep=sleep, timeout_s=0.1)
            caller = asyncio.create_task(source.token("acme", w.auth()))
            await stuck.wait()
            await source.close()
            with pytest.raises(Unavailable, match="closing"):
                await caller
            assert "oauth.refresh_token_lost" in capsys.readouterr().out

    async def test_the_snapshots_own_token_is_recognised_however_often_it_was_rotated_since(self) -> None:
        async with world() as w:
            w.server.rotates = True
            for _ in range(80):
                await w.token()
                w.clock.step(3_600)
            assert (await w.worker("two").token("acme", w.auth())).get_secret_value() == "at-81"
            (rotation,) = await w.tokens.untold(10)
            assert len(rotation.known) == 64
            assert await w.source.is_of(rotation, "acme", w.auth())
            w.environment[P + "RT2"] = "rt-of-another-consent"
            assert not await w.source.is_of(rotation, "acme", w.auth("RT2"))
            assert not await w.source.is_of(rotation, "other", w.auth())
            assert not await w.source.is_of(rotation, "acme", w.auth("MISSING"))


class TestManyCallers:
    async def test_a_hundred_callers_make_one_renewal(self) -> None:
        async with world() as w:
            w.server.rotates = True
            assert set(await asyncio.gather(*(w.token() for _ in range(100)))) == {"at-1"}
            assert len(w.server.forms) == 1

    async def test_a_hundred_callers_share_one_failure(self) -> None:
        """Not a queue in which each tries for itself while the mailbox's lane stands still."""
        async with world() as w:
            w.server.good_refresh_tokens.clear()
            outcomes = await asyncio.gather(*(w.token() for _ in range(100)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {TokenRefused}
            assert len(w.server.forms) == 1

    async def test_if_the_first_caller_leaves_the_others_still_get_the_token(self) -> None:
        async with world() as w:
            w.server.gate.clear()
            first, second = (asyncio.create_task(w.token()) for _ in range(2))
            await w.server.arrived.wait()
            first.cancel()
            await asyncio.wait({first})
            w.server.gate.set()
            assert await second == "at-1"
            assert len(w.server.forms) == 1

    async def test_closing_ends_renewals_that_take_too_long_and_says_so(self) -> None:
        async with world(timeout_s=0.1) as w:
            w.server.gate.clear()
            caller = asyncio.create_task(w.token())
            await w.server.arrived.wait()
            await w.source.close()
            with pytest.raises(Unavailable):
                await caller
            w.server.gate.set()

    async def test_two_mailboxes_renew_side_by_side(self) -> None:
        """One whose endpoint stalls does not hold the other up."""
        async with world() as w:
            w.server.gate.clear()
            stalled = asyncio.create_task(w.token())
            await w.server.arrived.wait()
            w.server.arrived.clear()
            other = asyncio.create_task(w.token(account_id="other"))
            await asyncio.wait_for(w.server.arrived.wait(), 10)
            w.server.gate.set()
            await asyncio.gather(stalled, other)


class TestFailures:
    async def test_a_refused_grant_is_told_at_once(self) -> None:
        async with world() as w:
            w.server.good_refresh_tokens.clear()
            with pytest.raises(TokenRefused, match="invalid_grant"):
                await w.token()
            assert len(w.server.forms) == 1

    @pytest.mark.parametrize(
        "answer",
        [
            lambda: web.Response(status=503, text="<html>busy</html>", content_type="text/html"),
            lambda: web.Response(status=200, text="<html>sign in</html>", content_type="text/html"),
            lambda: web.Response(status=200, text='{"access_token": "at', content_type="application/json"),
            lambda: web.Response(status=200, body=b"{" + b" " * 100_000),
            lambda: web.Response(status=302, headers={"Location": "https://169.254.169.254/"}),
        ],
        ids=["5xx", "a page", "half of the JSON", "too much", "a redirect"],
    )
    async def test_what_may_pass_is_tried_three_times(self, answer: Callable[[], web.Response]) -> None:
        async with world() as w:
            w.server.answers = [answer() for _ in range(2)]
            assert await w.token() == "at-3"
            await w.source.forget("acme", w.auth(), SecretStr("at-3"))
            w.server.answers = [answer() for _ in range(3)]
            with pytest.raises(Unavailable):
                await w.token()
            assert len(w.slept) == 4
            assert max(w.slept) <= 2

    async def test_a_silent_endpoint_is_left_in_time(self) -> None:
        async with world(timeout_s=0.1) as w:
            w.server.gate.clear()
            with pytest.raises(Unavailable, match="in time"):
                await w.token()
            w.server.gate.set()

    async def test_an_endpoint_that_is_down_is_not_noticed_while_the_token_lasts(self) -> None:
        """Nor is it asked at every sign-in, but once in half a minute."""
        async with world() as w:
            await w.token()
            w.clock.step(3_400)
            w.server.answers = [web.Response(status=503) for _ in range(9)]
            for _ in range(3):
                assert await w.token() == "at-1"
                await w.renewals()
            assert len(w.server.forms) == 1 + 3
            w.clock.step(150)
            assert await w.token() == "at-1", "waited for in vain, but still good"
            w.clock.step(50)
            with pytest.raises(Unavailable):
                await w.token()

    async def test_a_revoked_grant_is_told_when_the_token_ends(self) -> None:
        async with world() as w:
            await w.token()
            w.clock.step(3_550)
            w.server.good_refresh_tokens.clear()
            with pytest.raises(TokenRefused):
                await w.token()

    @pytest.mark.parametrize(
        "endpoint", ["https://169.254.169.254/token", "http://web.example/token", "nonsense", "https://127.1/token"]
    )
    async def test_an_endpoint_that_policy_forbids_is_a_refusal(self, endpoint: str) -> None:
        async with world() as w:
            with pytest.raises(TokenRefused, match="may not be used"):
                await w.token(w.auth(token_endpoint=endpoint))
            assert w.slept == []

    async def test_a_secret_that_cannot_be_opened(self) -> None:
        async with world() as w:
            with pytest.raises(SecretUnavailable, match="SENDAS_SECRET_NONE"):
                await w.token(w.auth("NONE"))


class TestCredentials:
    async def test_each_method_gives_its_kind(self) -> None:
        async with world() as w:
            credentials = SecretCredentials(w.secrets, w.source)
            password = PasswordAuth(method=AuthMethod.PASSWORD, username=USER, secret=EnvSecret(env=P + "CS"))
            assert await credentials.open("acme", NoAuth(method=AuthMethod.NONE)) is None
            assert await credentials.open("acme", password) == Password(USER, SecretStr("client-secret"))
            assert await credentials.open("acme", w.auth()) == AccessToken(USER, SecretStr("at-1"))

    async def test_a_refused_access_token_is_replaced(self) -> None:
        async with world() as w:
            credentials = SecretCredentials(w.secrets, w.source)
            opened = await credentials.open("acme", w.auth())
            assert isinstance(opened, AccessToken)
            await credentials.forget("acme", w.auth(), opened.token)
            assert await credentials.open("acme", w.auth()) == AccessToken(USER, SecretStr("at-2"))


async def test_json_of_the_server_is_read_whatever_it_calls_itself() -> None:
    """Some servers send JSON as text/plain."""
    async with world() as w:
        w.server.answers = [web.Response(text=json.dumps({"access_token": "plain"}))]
        assert await w.token() == "plain"


async def test_what_mail_servers_may_have_seen_is_known_without_asking_anybody() -> None:
    """The last few access tokens: a server may repeat one in the greeting of a later connection."""
    async with world() as w:
        credentials = SecretCredentials(w.secrets, w.source)
        assert await credentials.known("acme", w.auth()) == []
        assert w.server.forms == []

        used = []
        for _ in range(4):
            used.append(await w.source.token("acme", w.auth()))
            w.clock.step(60)
            await w.source.forget("acme", w.auth(), used[-1])

        assert await credentials.known("acme", w.auth()) == [AccessToken(USER, each) for each in used[1:]]
        assert await credentials.known("other", w.auth()) == [], "another account's are another's"
        assert len(w.server.forms) == 4


async def test_what_cannot_be_opened_is_not_known() -> None:
    async with world() as w:
        credentials = SecretCredentials(w.secrets, w.source)
        w.environment.clear()
        by_password = PasswordAuth(method=AuthMethod.PASSWORD, username=USER, secret=EnvSecret(env=P + "RT"))

        assert await credentials.known("acme", w.auth()) == ()
        assert await credentials.known("acme", by_password) == ()
        w.environment[P + "RT"] = "rt-0"
        assert await credentials.known("acme", by_password) == (Password(USER, SecretStr("rt-0")),)
        assert await SealedOnlyCredentials(credentials).known("acme", by_password) == ()
