"""The steps that the SMTP and the IMAP part have in common, and what else a server answers to."""

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import Any

from worker.domain.hints import Hint
from worker.domain.inspection import ResolvedHost, TlsFacts
from worker.domain.results import CheckStepResult
from worker.domain.snapshot import SmtpServer
from worker.domain.transmission import Trouble
from worker.domain.vocabulary import Reason, Security
from worker.operations.mailbox_check.part import Part
from worker.operations.mailbox_check.ports import Visitors
from worker.operations.mailbox_check.subject import Subject
from worker.operations.mailbox_check.texts import ENDS_SOON, offers_no_tls, other_way

ENDS_SOON_DAYS = 21
_OTHER_WAY_S = 8.0
_USUAL_SMTP = ((465, Security.TLS), (587, Security.STARTTLS))
_USUAL_IMAP = (993, Security.TLS)
# The other reasons say all there is to say: no other port helps.
_WORTH = frozenset(
    {Reason.CONNECT_FAILED, Reason.TLS_FAILED, Reason.TIMEOUT, Reason.DISCONNECTED, Reason.TEMPORARILY_UNAVAILABLE}
)


def is_worth_another_way(part: Part, failure: CheckStepResult, entrance: Container[str]) -> bool:
    """Whether port or security may be wrong: not where TLS came about, nor where the server refused in words."""
    is_tls_good = any(step.ok and step.name.endswith("tls") for step in part.results())
    return failure.name in entrance and failure.reason in _WORTH and failure.reply is None and not is_tls_good


def counted(host: ResolvedHost) -> str:
    """How many addresses there are. Not which: what a name is in the operator's network is nobody else's to know."""
    v4 = sum(isinstance(address, IPv4Address) for address in host.addresses)
    return f"addresses that may be connected to: {v4} IPv4, {len(host.addresses) - v4} IPv6"


def tls_step(facts: TlsFacts, now: datetime) -> dict[str, Any]:
    """The fields of a step that succeeded: version, and a warning when the certificate ends soon."""
    if facts.valid_until is None:
        return {"detail": facts.version}
    days = (facts.valid_until - now).days
    detail = f"{facts.version}; the certificate is valid until {facts.valid_until:%Y-%m-%d} ({days} days)"
    is_ending = facts.valid_until - now < timedelta(days=ENDS_SOON_DAYS)
    return {"detail": detail, "hint": ENDS_SOON if is_ending else None}


@dataclass(frozen=True, slots=True)
class _Way:
    port: int
    security: Security


async def other_smtp_way(visitors: Visitors, subject: Subject) -> Hint | None:
    """How the server can be reached, where the settings do not fit it. Only usual mail ports are tried; no sign-in."""
    server = subject.mailbox.smtp
    flipped = Security.STARTTLS if server.security is Security.TLS else Security.TLS
    ways = [_Way(server.port, flipped)]
    ways += [_Way(port, security) for port, security in _USUAL_SMTP if port != server.port]
    hints = await asyncio.gather(*(_try_smtp(visitors, subject, way) for way in ways))
    return _first(hints)


async def _try_smtp(visitors: Visitors, subject: Subject, way: _Way) -> Hint | None:
    configured = subject.mailbox.smtp
    server: SmtpServer = configured.model_copy(update={"port": way.port, "security": way.security})
    route = replace(subject.route, smtp=server)
    is_same_port = way.port == configured.port
    try:
        async with asyncio.timeout(_OTHER_WAY_S), visitors.smtp(route, is_trusted=subject.is_trusted) as visit:
            if await visit.connect() is not None:
                return None
            if way.security is Security.STARTTLS and isinstance(await visit.greet(), Trouble):
                return None
            if not isinstance(await visit.secure(), Trouble):
                return other_way(way.port, way.security, is_same_port=is_same_port)
            # It greets in plain text. Unencrypted is no way to offer, but the reason why the configured one fails.
            return offers_no_tls(way.port) if way.security is Security.STARTTLS and is_same_port else None
    except TimeoutError:
        return None


async def other_imap_way(visitors: Visitors, subject: Subject) -> Hint | None:
    """The same for IMAP, where only TLS from the first byte is spoken."""
    server = subject.imap
    if server is None:
        return None
    port, security = _USUAL_IMAP
    ways = [_Way(server.port, security)] if server.security is not security else []
    ways += [_Way(port, security)] if server.port != port else []
    hints = await asyncio.gather(*(_try_imap(visitors, subject, way, server.port) for way in ways))
    return _first(hints)


async def _try_imap(visitors: Visitors, subject: Subject, way: _Way, configured_port: int) -> Hint | None:
    assert subject.imap is not None  # noqa: S101 - the caller looked
    server = subject.imap.model_copy(update={"port": way.port, "security": way.security})
    visiting = visitors.imap(subject.account_id, server, subject.imap_auth, is_trusted=subject.is_trusted)
    try:
        async with asyncio.timeout(_OTHER_WAY_S), visiting as visit:
            if await visit.connect() is not None or isinstance(await visit.secure(), Trouble):
                return None
            return other_way(way.port, way.security, is_same_port=way.port == configured_port)
    except TimeoutError:
        return None


def _first(hints: Sequence[Hint | None]) -> Hint | None:
    return next((hint for hint in hints if hint is not None), None)
