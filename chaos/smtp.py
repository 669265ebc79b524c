"""The SMTP servers of a run: they keep what they accepted, and some of them misbehave by a seeded draw."""

import asyncio
import imaplib
import ssl
from collections import defaultdict
from dataclasses import dataclass
from email.parser import BytesHeaderParser

from chaos.customers import PASSWORD
from chaos.events import NOBODY
from chaos.faults import Faults
from chaos.plan import Plan
from stack.scripted_smtp import AcceptedLetter, Command, Rule, ScriptedSmtpServer

_TIMEOUT_S = 60
_TOKEN = "{token}"
"""Stands in a reply that ends a letter; the account looks for what was put in its place."""

# Step: how probable a fault is there, and the faults: their kinds and what the server does.
_MISCHIEF: dict[str, tuple[float, dict[str, tuple[str, ...]]]] = {
    "banner": (
        0.12,
        {
            "slow_banner": ("delay 3", "proceed"),
            "wrong_greeting": ("raw HTTP/1.1 400 Bad Request\\r\\n\\r\\n", "close"),
            "4xx_banner": ("421 4.3.2 not now", "close"),
            "5xx_banner": ("554 5.3.2 no service here", "close"),
            "reset_banner": ("reset",),
        },
    ),
    "ehlo": (
        0.04,
        {
            "4xx_ehlo": ("421 4.3.2 not now", "close"),
            "5xx_ehlo": ("550 5.7.1 not with you", "close"),
            "stall_ehlo": ("delay 4", "close"),
        },
    ),
    "starttls": (
        0.08,
        {
            "tls_refused": ("454 4.7.0 TLS not available",),
            "tls_garbage": ("220 2.0.0 go ahead", "garbage", "close"),
            "tls_cut": ("220 2.0.0 go ahead", "close"),
        },
    ),
    "auth": (
        0.06,
        {
            "4xx_auth": ("454 4.7.0 temporary authentication failure",),
            "5xx_auth": ("535 5.7.8 user name or password is wrong",),
            "stall_auth": ("delay 4", "close"),
            "reset_auth": ("reset",),
        },
    ),
    "mail": (
        0.02,
        {
            "4xx_mail": ("451 4.3.0 try again",),
            "5xx_mail": (f"550 5.7.1 not accepted {_TOKEN}",),
            "stall_mail": ("delay 3", "proceed"),
        },
    ),
    "rcpt": (
        0.03,
        {
            "4xx_rcpt": ("450 4.2.1 try again",),
            "5xx_rcpt": (f"550 5.2.1 not here {_TOKEN}",),
            "421_rcpt": ("421 4.3.2 closing", "close"),
            "reset_rcpt": ("reset",),
        },
    ),
    "data": (
        0.02,
        {
            "4xx_data": ("451 4.3.0 try again",),
            "5xx_data": (f"554 5.6.0 not accepted {_TOKEN}",),
            "stall_data": ("delay 3", "close"),
        },
    ),
    "content": (
        0.02,
        {"cut_content": ("read 200", "close"), "reset_content": ("read 900", "reset"), "slow_content": ("delay 2",)},
    ),
    "dot": (
        0.07,
        {
            "4xx_dot": ("451 4.3.0 try again",),
            "5xx_dot": (f"554 5.7.1 classified as spam {_TOKEN}",),
            "answer_lost_close": ("accept", "close"),
            "answer_lost_reset": ("accept", "reset"),
            "answer_lost_after_stall": ("accept", "delay 3", "reset"),
            "dot_not_accepted": ("close",),
            "slow_answer": ("delay 2", "proceed"),
        },
    ),
    "idle": (0.03, {"idle_421": ("421 4.4.2 idle for too long", "close"), "idle_reset": ("reset",)}),
}


class Mischief(Rule):
    """A rule for all steps: the n-th time of a step at a server has the same fate in every run with the same seed."""

    def __init__(self, plan: Plan, server: str, faults: Faults, *, is_calm: bool) -> None:
        super().__init__("", ())
        self.is_calm = is_calm
        self._plan = plan
        self._server = server
        self._faults = faults
        self._times: dict[str, int] = {}
        self.refusals: dict[str, str] = {}
        """What was refused for good: the token in the reply, and the command it answered."""

    def fits(self, step: str, command: str) -> bool:
        """Whether something goes wrong at this step; `acts` is then what."""
        if step == "rcpt" and NOBODY in command:
            self.acts = (self._signed("550 5.1.1 no such user " + _TOKEN, step, command),)
            return True
        number = self._times[step] = self._times.get(step, 0) + 1
        if self.is_calm or not self._faults.is_on or step not in _MISCHIEF:
            return False
        draw = self._plan.random(self._server, step, number)
        probability, kinds = _MISCHIEF[step]
        if draw.random() >= probability * self._plan.mischief:
            return False
        kind = draw.choice(sorted(kinds))
        self._faults.happened(f"smtp.{kind}")
        self.acts = tuple(self._signed(act, step, command) for act in kinds[kind])
        return True

    def _signed(self, act: str, step: str, command: str) -> str:
        if _TOKEN not in act:
            return act
        token = f"({self._server} {len(self.refusals)})"
        self.refusals[token] = f"{step} {command}"
        return act.replace(_TOKEN, token)


class RecordingSmtpServer(ScriptedSmtpServer):
    """Keeps what it accepted by recipient; with `sent`, saves each letter in its sender's Sent folder by itself."""

    def __init__(self, name: str, *, tls: ssl.SSLContext, users: dict[str, str], sent: "SentBySelf | None") -> None:
        super().__init__(tls=tls, is_implicit_tls=name not in ("faulty_starttls", "faulty_saving"), users=users)
        self.name = name
        self.accepted: list[Accepted] = []
        self._sent = sent

    async def note(self, *, command: Command | None = None, letter: AcceptedLetter | None = None) -> None:
        """Record; a letter is accepted from this moment on, whatever becomes of the answer."""
        if letter is not None:
            accepted = Accepted(letter, _message_id(letter.wire))
            self.accepted.append(accepted)
            if self._sent is not None:
                await self._sent.save(accepted)
        del command  # needs no record here
        await super().note(letter=letter)


@dataclass(frozen=True)
class Accepted:
    """A letter that a server accepted."""

    letter: AcceptedLetter
    message_id: str


class SentBySelf:
    """What some providers do: a letter that is accepted stands in its sender's Sent folder, once per Message-ID."""

    def __init__(self, imap_port: int) -> None:
        self._imap_port = imap_port
        self._saved: set[tuple[str, str]] = set()
        self._clients: dict[str, imaplib.IMAP4] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def save(self, accepted: Accepted) -> None:
        """Save the letter, unless it is there."""
        username = accepted.letter.username or ""
        async with self._locks[username]:
            if (username, accepted.message_id) not in self._saved:
                self._saved.add((username, accepted.message_id))
                await asyncio.to_thread(self._append, username, accepted.letter.wire)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(lambda: [client.logout() for client in self._clients.values()])

    def _append(self, username: str, wire: bytes) -> None:
        client = self._clients.get(username)
        if client is None:
            client = self._clients[username] = imaplib.IMAP4("127.0.0.1", self._imap_port, timeout=_TIMEOUT_S)
            client.login(username, PASSWORD)
        client.append("Sent", r"(\Seen)", "", wire)


def _message_id(wire: bytes) -> str:
    return str(BytesHeaderParser().parsebytes(wire)["Message-ID"] or "").strip()
