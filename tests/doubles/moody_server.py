"""A mail server and its mailbox that randomly do anything a real one may."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from tests.delivery_world import BUSY, GREYLISTED, TOO_FAST, UNKNOWN_RECIPIENT, UNREACHABLE, WRONG_PASSWORD
from tests.doubles.clock import SteppedClock
from tests.doubles.mail_transport import OK, Delivered
from tests.doubles.sent_folder import FakeSentFolder, StoredCopy
from worker.delivery.ports import BeforeFinalDot, CopyTarget, Route, SavedCopy
from worker.domain.letter.model import ComposedLetter
from worker.domain.transmission import DeliveryFailure, FailureKind, Transmission
from worker.domain.vocabulary import CopyOutcome, Phase

LOST = DeliveryFailure(Phase.DATA, FailureKind.DISCONNECTED)
TROUBLES = (BUSY, GREYLISTED, TOO_FAST, UNKNOWN_RECIPIENT, UNREACHABLE)
_IS_NEVER_SAVED = 0.2
_IS_SAVED_LATE = 0.3


@dataclass(frozen=True)
class Mood:
    """Probabilities of faults."""

    refuses: float
    loses_answers: float
    crashes: float
    freezes: float
    ledger_fails: float
    duplicates: float
    switches: float


class MoodyServer:
    """The server that all workers talk to; `delivered` holds what it actually accepted.

    A provider that `saves` adds accepted letters to Sent: at once, later, or never.
    """

    def __init__(self, chance: random.Random, mood: Mood, clock: SteppedClock, *, saves: bool) -> None:
        self.delivered: list[Delivered] = []
        self.folder = RacySentFolder(chance)
        self.is_calm = False
        self.wrong_passwords = 0
        self.chance = chance
        self.mood = mood
        self.clock = clock
        self._saves = saves
        self._late: list[Delivered] = []

    def is_moved(self, probability: float) -> bool:
        return not self.is_calm and self.chance.random() < probability

    def accept(self, delivered: Delivered) -> None:
        self.delivered.append(delivered)
        if not self._saves or self.is_moved(_IS_NEVER_SAVED):
            return
        if self.is_moved(_IS_SAVED_LATE):
            self._late.append(delivered)
        else:
            self._save(delivered)

    def save_late(self) -> None:
        """Make letters accepted a while ago appear in Sent."""
        while self._late:
            self._save(self._late.pop())

    def _save(self, delivered: Delivered) -> None:
        self.folder.put(str(delivered.route.mailbox_id), delivered.letter)


class MoodyTransport:
    """One worker's access to the server. While its `gate` is closed, the worker blocks whenever it reaches it."""

    def __init__(self, server: MoodyServer, gate: asyncio.Event) -> None:
        self._server = server
        self._gate = gate

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        server, mood = self._server, self._server.mood
        server.clock.step(1e-6)  # no two letters are handed over at the same time
        await self._moments()
        if server.is_moved(mood.refuses / 2):
            trouble = server.chance.choice((UNREACHABLE, TOO_FAST, WRONG_PASSWORD))
            server.wrong_passwords += trouble is WRONG_PASSWORD
            return Transmission(refused=dict.fromkeys(letter.envelope_to, trouble))
        refused = {r: server.chance.choice(TROUBLES) for r in letter.envelope_to if server.is_moved(mood.refuses)}
        taken = [recipient for recipient in letter.envelope_to if recipient not in refused]
        if not taken:
            return Transmission(refused=refused)
        await self._moments()
        await before_final_dot(taken)
        return await self._after_the_dot(Delivered(route, letter, tuple(taken)), refused)

    async def _after_the_dot(self, delivered: Delivered, refused: dict[str, DeliveryFailure]) -> Transmission:
        server, mood, taken = self._server, self._server.mood, delivered.recipients
        while not self._gate.is_set():
            with suppress(asyncio.CancelledError):  # after the dot, still wait for the reply
                await self._gate.wait()
        if server.is_moved(mood.refuses):
            return Transmission(refused={**refused, **dict.fromkeys(taken, BUSY)})
        is_answer_lost = server.is_moved(mood.loses_answers)
        if not (is_answer_lost and server.is_moved(0.5)):
            server.accept(delivered)
        with suppress(asyncio.CancelledError):
            await self._moments()
        if is_answer_lost:
            return Transmission(refused=refused, uncertain=dict.fromkeys(taken, LOST))
        return Transmission(accepted=dict.fromkeys(taken, OK), refused=refused)

    async def _moments(self) -> None:
        for _ in range(self._server.chance.randrange(3)):
            await asyncio.sleep(0)
        await self._gate.wait()

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None:
        """Nothing to close."""

    async def close(self) -> None:
        """Nothing to close."""


class RacySentFolder(FakeSentFolder):
    """A folder as in IMAP: search and append are two steps, with other clients' steps possible in between."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    def put(self, mailbox_id: str, letter: ComposedLetter) -> None:
        """Save the provider's copy; once per Message-ID."""
        stored = self.folders.setdefault(mailbox_id, {}).setdefault("Sent", [])
        if all(there.message_id != letter.message_id for there in stored):
            stored.append(StoredCopy(len(stored) + 1, letter.message_id, letter.date, letter.wire))

    async def save(
        self, target: CopyTarget, message_id: str, date: datetime, copy: bytes, *, also_known_as: str | None = None
    ) -> SavedCopy:
        stored = self.folders.setdefault(target.mailbox_id, {}).setdefault("Sent", [])
        is_there = any(there.message_id == message_id for there in stored)
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)
        if is_there:
            return SavedCopy(CopyOutcome.ALREADY_THERE, "Sent")
        stored.append(StoredCopy(len(stored) + 1, message_id, date, copy))
        return SavedCopy(CopyOutcome.SAVED, "Sent", stored[-1].uid, 1)
