"""The SMTP part of a check: from resolving the server to sending a test letter."""

import asyncio
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address
from typing import Any

from worker.domain.addresses import parse_address
from worker.domain.failure.hints import Hint, hint_for
from worker.domain.hosts import IpAddress
from worker.domain.identity import check_letter_token
from worker.domain.letter.headers import NamedAddress, address_field, text_field, token_field
from worker.domain.letter.mime import Boundaries, text_part
from worker.domain.letter.model import ComposedLetter
from worker.domain.probe import ResolvedHost, SmtpOffer, TlsFacts
from worker.domain.results.models import CheckStepResult, server_reply
from worker.domain.snapshot.model import Mailbox, NoAuth, SmtpServer
from worker.domain.transmission import DeliveryFailure, Reply, Transmission
from worker.domain.vocabulary import Reason, Scope, Security
from worker.operations.mailbox_check.messages import (
    ENDS_SOON,
    SIGN_IN_REASONS,
    judge_smtp,
    offers_no_tls,
    other_way,
    smtp_facts,
)
from worker.operations.mailbox_check.ports import SmtpVisit, Subject, Visitors
from worker.operations.mailbox_check.steps import Part

_SUBJECT = "Test letter / Проверочное письмо"
_TEXT = """\
This letter was sent to test the settings of the mailbox {address}.
It arrived, so letters can be sent from there. Nothing needs to be done.

Это письмо отправлено, чтобы проверить настройки ящика {address}.
Оно дошло, значит, письма из этого ящика уходят. Делать ничего не нужно.
"""


def test_message_id(mailbox: Mailbox, key: str) -> str:
    """The Message-ID of the request's test letter, sent or not."""
    return f"<{check_letter_token(key)}@{parse_address(mailbox.address).domain}>"


def compose_test_letter(mailbox: Mailbox, recipient: str, key: str, date: datetime) -> ComposedLetter:
    """A short letter from the mailbox; its Message-ID depends only on the request, not on when it is composed."""
    sender, to = parse_address(mailbox.address), parse_address(recipient)
    token, message_id = check_letter_token(key), test_message_id(mailbox, key)
    header = "".join(
        (
            token_field("Date", [format_datetime(date)]),
            address_field("From", [NamedAddress(mailbox.display_name, sender)]),
            address_field("To", [NamedAddress("", to)]),
            text_field("Subject", _SUBJECT),
            token_field("Message-ID", [message_id]),
            token_field("Auto-Submitted", ["auto-generated"]),
            token_field("X-Auto-Response-Suppress", ["All"]),
            token_field("MIME-Version", ["1.0"]),
        )
    )
    wire = header.encode() + text_part("plain", _TEXT.format(address=mailbox.address), Boundaries(token))
    return ComposedLetter(
        message_id=message_id,
        date=date,
        envelope_from=sender.wire,
        envelope_to=(to.wire,),
        wire=wire,
        copy=wire,
        needs_smtputf8=sender.needs_smtputf8 or to.needs_smtputf8,
    )


ENDS_SOON_DAYS = 21
_OTHER_WAY_S = 8.0
_USUAL_SMTP = ((465, Security.TLS), (587, Security.STARTTLS))
_USUAL_IMAP = (993, Security.TLS)
# The other reasons are sufficient: no other port helps.
_WORTH = frozenset(
    {Reason.CONNECT_FAILED, Reason.TLS_FAILED, Reason.TIMEOUT, Reason.DISCONNECTED, Reason.TEMPORARILY_UNAVAILABLE}
)


def is_worth_another_way(part: Part, failure: CheckStepResult, entrance: Container[str]) -> bool:
    """Whether port or security may be wrong: not if TLS was established or the server refused with a reply."""
    is_tls_good = any(step.ok and step.name.endswith("tls") for step in part.results())
    return failure.name in entrance and failure.reason in _WORTH and failure.reply is None and not is_tls_good


def counted(host: ResolvedHost) -> str:
    """The number of addresses. Not the addresses: names in the operator's network resolve to private ones."""
    v4 = sum(isinstance(address, IPv4Address) for address in host.addresses)
    return f"addresses that may be connected to: {v4} IPv4, {len(host.addresses) - v4} IPv6"


def tls_step(facts: TlsFacts, now: datetime) -> dict[str, Any]:
    """The fields of a successful TLS step: version, and a warning if the certificate expires soon."""
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
    """How the server can be reached if not as configured. Tries only the usual mail ports, without sign-in."""
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
            if way.security is Security.STARTTLS and isinstance(await visit.greet(), DeliveryFailure):
                return None
            if not isinstance(await visit.secure(), DeliveryFailure):
                return other_way(way.port, way.security, is_same_port=is_same_port)
            # The server greets in plain text. We never suggest going unencrypted, but it explains the failure.
            return offers_no_tls(way.port) if way.security is Security.STARTTLS and is_same_port else None
    except TimeoutError:
        return None


async def other_imap_way(visitors: Visitors, subject: Subject) -> Hint | None:
    """The same for IMAP, which is tried only with TLS from the first byte."""
    server = subject.imap
    if server is None:
        return None
    port, security = _USUAL_IMAP
    ways = [_Way(server.port, security)] if server.security is not security else []
    ways += [_Way(port, security)] if server.port != port else []
    hints = await asyncio.gather(*(_try_imap(visitors, subject, way, server.port) for way in ways))
    return _first(hints)


async def _try_imap(visitors: Visitors, subject: Subject, way: _Way, configured_port: int) -> Hint | None:
    assert subject.imap is not None  # noqa: S101 - the caller checked
    server = subject.imap.model_copy(update={"port": way.port, "security": way.security})
    visiting = visitors.imap(subject.account_id, server, subject.imap_auth, is_trusted=subject.is_trusted)
    try:
        async with asyncio.timeout(_OTHER_WAY_S), visiting as visit:
            if await visit.connect() is not None or isinstance(await visit.secure(), DeliveryFailure):
                return None
            return other_way(way.port, way.security, is_same_port=way.port == configured_port)
    except TimeoutError:
        return None


def _first(hints: Sequence[Hint | None]) -> Hint | None:
    return next((hint for hint in hints if hint is not None), None)


_ENTRANCE = frozenset({"connect", "tls", "greeting"})
_MEETING = {
    Security.TLS: ("tls", "greeting"),
    Security.STARTTLS: ("greeting", "tls"),
    Security.NONE: ("greeting",),
}


@dataclass(slots=True)
class SmtpFindings:
    """Findings that the other parts need."""

    addresses: tuple[IpAddress, ...] = ()
    is_sign_in_refused: bool = False
    test_letter: ComposedLetter | None = None  # accepted by the server


def smtp_steps(subject: Subject) -> dict[str, bool]:
    """Step names in order, and whether each is required."""
    meeting = _MEETING[subject.mailbox.smtp.security]
    return dict.fromkeys(("dns", "connect", *meeting, "capabilities", "auth", "sender", "test_letter"), True)


class SmtpPart:
    """Runs the SMTP steps and records each."""

    def __init__(self, part: Part, subject: Subject, visitors: Visitors, now: Callable[[], datetime]) -> None:
        self._part = part
        self._subject = subject
        self._visitors = visitors
        self._now = now
        self.findings = SmtpFindings()
        self._is_without_tls = False

    async def run(self) -> None:
        """Run the steps until one fails."""
        async with self._visitors.smtp(self._subject.route, is_trusted=self._subject.is_trusted) as visit:
            if await self._enter(visit) and await self._sign_in(visit):
                await self._propose(visit)
                await self._send_test(visit)
        await self._look_for_another_way()

    async def _enter(self, visit: SmtpVisit) -> bool:
        part = self._part
        part.begin("dns")
        resolved = await visit.resolve()
        if isinstance(resolved, DeliveryFailure):
            return self._fail(resolved)
        self.findings.addresses = resolved.addresses
        part.passed(detail=counted(resolved))
        part.begin("connect")
        if (trouble := await visit.connect()) is not None:
            return self._fail(trouble)
        part.passed()
        for name in _MEETING[self._subject.mailbox.smtp.security]:
            if not await self._meet(visit, name):
                return False
        part.begin("capabilities")
        part.passed(detail=_offered(visit.offer()))
        return True

    async def _meet(self, visit: SmtpVisit, name: str) -> bool:
        self._part.begin(name)
        met: TlsFacts | str | DeliveryFailure = await (visit.secure() if name == "tls" else visit.greet())
        if isinstance(met, DeliveryFailure):
            is_greeted = name == "tls" and self._subject.mailbox.smtp.security is Security.STARTTLS
            self._is_without_tls = is_greeted and "starttls" not in visit.offer().extensions
            return self._fail(met)
        if isinstance(met, TlsFacts):
            self._part.passed(**tls_step(met, self._now()))
        else:
            self._part.passed(reply=server_reply(Reply(220, None, met)))
        return True

    async def _sign_in(self, visit: SmtpVisit) -> bool:
        self._part.begin("auth")
        trouble = await visit.sign_in()
        if trouble is not None:
            self.findings.is_sign_in_refused = judge_smtp(trouble, self._subject.provider).reason in SIGN_IN_REASONS
            return self._fail(trouble)
        is_without = isinstance(self._subject.mailbox.smtp.auth, NoAuth)
        self._part.passed(detail="no sign-in is configured" if is_without else None)
        return True

    async def _propose(self, visit: SmtpVisit) -> None:
        """Refusing the mailbox's own address as a recipient does not mean refusing it as a sender."""
        self._part.begin("sender")
        answer = await visit.propose(self._subject.mailbox.address)
        if not isinstance(answer, DeliveryFailure):
            self._part.passed(reply=server_reply(answer))
            return
        judged = judge_smtp(answer, self._subject.provider)
        detail = "the sender was accepted; the server would not take a letter to the same address now"
        if judged.reason is Reason.RECIPIENT_REFUSED:  # ambiguous replies, such as `relaying denied`
            self._part.undecided(
                reply=server_reply(answer.reply), hint=hint_for(judged.reason, judged.remedy), detail=detail
            )
        elif judged.scope is Scope.RECIPIENT:
            self._part.passed(reply=server_reply(answer.reply), detail=detail)
        else:
            self._fail(answer)

    async def _send_test(self, visit: SmtpVisit) -> None:
        subject, part = self._subject, self._part
        if subject.test_to is None:
            part.skip("test_letter", subject.why_no_test)
            return
        if part.failure is not None:
            return
        part.begin("test_letter")
        letter = compose_test_letter(subject.mailbox, subject.test_to, subject.key, self._now())
        self._judge_test(await visit.send(letter), letter)

    def _judge_test(self, transmission: Transmission, letter: ComposedLetter) -> None:
        for reply in transmission.accepted.values():
            self.findings.test_letter = letter
            self._part.passed(reply=server_reply(reply))
            return
        for trouble in transmission.uncertain.values():
            self._part.failed(Reason.OUTCOME_UNKNOWN, reply=server_reply(trouble.reply), detail=trouble.detail or None)
            return
        self._fail(next(iter(transmission.refused.values())))

    def _fail(self, trouble: DeliveryFailure) -> bool:
        self._part.failed(**smtp_facts(trouble, self._subject.provider, self._subject.mailbox.smtp.auth))
        return False

    async def _look_for_another_way(self) -> None:
        failure = self._part.failure
        if failure is None or not is_worth_another_way(self._part, failure, _ENTRANCE):
            return
        hint = await other_smtp_way(self._visitors, self._subject)
        if hint is None and self._is_without_tls:
            hint = offers_no_tls(self._subject.mailbox.smtp.port)
        if hint is not None:
            self._part.amend(failure.name, hint)


def _offered(offer: SmtpOffer) -> str:
    size = f"letters up to {offer.max_letter_bytes} bytes; " if offer.max_letter_bytes is not None else ""
    mechanisms = ", ".join(offer.mechanisms) or "none"
    return f"{size}sign-in by: {mechanisms}; extensions: {', '.join(offer.extensions) or 'none'}"
