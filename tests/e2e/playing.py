"""Plays one case: its story step by step, and the outcome."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from stack.scripted_smtp import AcceptedLetter
from tests.e2e.broker import RESULTS, RETURN_AFTER_S, Broker, Message
from tests.e2e.case import BadCase, Case, Step
from tests.e2e.outcome import rendered
from tests.e2e.servers import Servers

_PATIENCE_S = 60.0
_QUIET_S = 3.0  # only to write expectations: nothing says yet what will come


class CommandFailed(Exception):
    """A command in a story failed; the text has its errors."""


class Surroundings(Protocol):
    """What a case shares with others."""

    @property
    def broker(self) -> Broker:
        """The virtual host."""

    async def put_into_snapshot(self, case: Case, servers: Servers, name: str) -> None:
        """Replace the case's accounts in the snapshot."""

    async def command(self, arguments: str) -> None:
        """Run a command of `sendas`. Raises `CommandFailed`."""


@dataclass
class Play:
    """A running case and its outcome so far."""

    case: Case
    servers: Servers
    messages: list[Message] = field(default_factory=list)
    relayed: list[AcceptedLetter] = field(default_factory=list)
    published: dict[bytes, str] = field(default_factory=dict)
    trouble: str = ""
    _returned: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _awaited: Counter[str] = field(default_factory=Counter)

    def take(self, message: Message) -> None:
        """Add a message to the outcome."""
        self.messages.append(message)
        self._news.set()

    @property
    def _counts(self) -> Counter[str]:
        return Counter(_kind(message) for message in self.messages)

    @property
    def _delayed(self) -> list[Message]:
        return [message for message in self.messages if message.is_delayed]

    async def play(self, around: Surroundings, *, is_writing: bool) -> None:
        """Play the story to its end; `trouble` says what went wrong."""
        at = "the beginning"
        try:
            async with asyncio.timeout(_PATIENCE_S):
                for step in self.case.story:
                    at = f"`{step.verb} {step.rest}`"
                    await self._step(step, around)
                at = "the end"
                await (self._quiet() if is_writing else self._all_expected())
        except TimeoutError:
            came = ", ".join(f"{count} {what}" for what, count in sorted(self._counts.items())) or "nothing"
            self.trouble = f"at {at}: what it waits for did not come within {_PATIENCE_S:g} s; there came {came}\n"
        except (CommandFailed, BadCase) as error:
            self.trouble = f"at {at}: {error}\n"

    async def _step(self, step: Step, around: Surroundings) -> None:
        steps: Mapping[str, Callable[[], Awaitable[None]]] = {
            "publish": lambda: self._publish(step.rest, around.broker),
            "wait for": lambda: self._wait_for(step),
            "retry until": lambda: self._retry_until(step, around.broker),
            "retry": lambda: self._retry(around.broker),
            "snapshot": lambda: around.put_into_snapshot(self.case, self.servers, step.rest),
            "smtp": lambda: _done(self.servers.play_smtp, step.rest),
            "imap": lambda: _done(self.servers.play_imap, step.rest),
            "sendas": lambda: around.command(self.servers.real(step.rest)),
        }
        await steps[step.verb]()

    async def _publish(self, names: str, broker: Broker) -> None:
        for name in names.split():
            body = self.servers.real(self.case.text(name)).encode()
            self.published[body] = name
            await broker.publish(body)

    async def _wait_for(self, step: Step) -> None:
        self._awaited.update(dict(step.awaited))
        await self._until(lambda: self._has(step))

    def _has(self, step: Step) -> bool:
        return all(self._counts[what] >= self._awaited[what] for what, _ in step.awaited)

    async def _retry(self, broker: Broker) -> None:
        await self._until(lambda: len(self._delayed) > self._returned)
        waiting = self._delayed[self._returned :]
        self._returned += len(waiting)
        for message in waiting:
            await broker.bring_back(message)

    async def _retry_until(self, step: Step, broker: Broker) -> None:
        """Retry as often as it takes; the number of rounds is no outcome."""
        self._awaited.update(dict(step.awaited))
        await self._retry(broker)
        while not self._has(step):
            await self._until(lambda: self._has(step) or len(self._delayed) > self._returned)
            for message in self._delayed[self._returned :]:
                self.messages.remove(message)
                await asyncio.sleep(RETURN_AFTER_S)
                await broker.bring_back(message)

    async def _all_expected(self) -> None:
        counts = expected_counts(self.case)
        await self._until(lambda: all(self._counts[what] >= count for what, count in counts.items()))

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._news.clear()
            await self._news.wait()

    async def _quiet(self) -> None:
        """Wait until nothing more comes."""
        seen = -1
        while seen != len(self.messages):
            seen = len(self.messages)
            await asyncio.sleep(_QUIET_S)

    def outcome(self) -> dict[str, str]:
        """The files that `expected/` should hold."""
        return rendered(self.servers, self.messages, self.relayed, self.published)


def _kind(message: Message) -> str:
    if message.queue == RESULTS:
        return str(message.message.type)
    return "delayed" if message.is_delayed else message.queue


async def _done(act: Callable[[str], None], argument: str) -> None:
    act(argument)


def expected_counts(case: Case) -> Counter[str]:
    """The number of expected results by type, and of delayed messages."""
    counts: Counter[str] = Counter()
    for line in case.expected.get("results.json", "").splitlines():
        if line.startswith(' "type": '):
            counts[line.split('"')[3]] += 1
    counts["delayed"] = case.expected.get("delayed.json", "").count('\n "queue": ')
    return counts
