"""One attempt to send a letter: what was sent, and what the server refused of it."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from worker.delivery.context import EventContext, LetterContext
from worker.delivery.ledger import HandOver
from worker.delivery.mailboxes.gate import MailboxSlot, Slot
from worker.delivery.mailboxes.state import Suspension
from worker.delivery.results import Facts
from worker.domain.addresses import masked, parse_address
from worker.domain.failure.classify import Classification, classify
from worker.domain.letter.model import ComposedLetter
from worker.domain.providers import provider_of
from worker.domain.results.models import MAX_WORDS_CHARS
from worker.domain.text import one_line
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply, Transmission, rewritten_message_id
from worker.domain.vocabulary import Action, Scope

log = structlog.get_logger(__name__)

_RELAY_PAUSE_S = 300
_AT_A_TIME = 10
_ADDRESS = re.compile(r"[^\s<>\"'(),;:@]+@[\w.-]+")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a letter: its bytes, its slot, and its ledger record.

    `envelope` maps each address to the recipient's position; `hand_over` is recorded before the final dot.
    """

    letter: LetterContext
    composed: ComposedLetter
    envelope: Mapping[str, int]
    slot: Slot
    hand_over: HandOver

    def positions(self, addresses: Iterable[str]) -> tuple[int, ...]:
        """Positions of the recipients with these envelope addresses, in their order."""
        return tuple(sorted([self.envelope[address] for address in addresses]))

    def provider_message_id(self, transmission: Transmission) -> str | None:
        """The Message-ID that the server assigned instead of the letter's own, where it said so."""
        mailbox, reply = self.letter.context.sender.mailbox, next(iter(transmission.accepted.values()), None)
        if mailbox is None or reply is None:
            return None
        host = mailbox.smtp.host
        return rewritten_message_id(reply, self.composed.message_id, provider_of(host), host)

    @property
    def provider(self) -> str:
        """Name of the provider that the letter leaves through."""
        mailbox = self.letter.context.sender.mailbox
        return provider_of(mailbox.smtp.host).name if mailbox else "platform"

    def is_accepted_for_all(self, transmission: Transmission) -> bool:
        """True when the server accepted the letter for every recipient of this attempt."""
        return len(transmission.accepted) == len(self.envelope)


@dataclass(slots=True)
class Refusal:
    """Recipients refused for the same reason, with one of the troubles that gave it."""

    why: Classification
    trouble: DeliveryFailure
    replies: dict[int, Reply | None] = field(default_factory=dict)

    @property
    def positions(self) -> tuple[int, ...]:
        return tuple(sorted(self.replies))

    def facts(self, message_id: str | None, timings_s: Mapping[str, float]) -> Facts:
        """The refusal as a result states it."""
        return Facts(self.positions, self.replies, message_id, detail=self.trouble.detail or None, timings_s=timings_s)


async def refusals_of(attempt: Attempt, transmission: Transmission) -> list[Refusal]:
    """The refused recipients, grouped by reason.

    A server may refuse each of a thousand recipients in different words; classifying them takes a second in total.
    """
    refusals: dict[Classification, Refusal] = {}
    for number, (address, trouble) in enumerate(transmission.refused.items(), 1):
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
        why = classify(trouble, attempt.provider, attempt.hand_over.at)
        if attempt.letter.context.sender.mailbox is None:
            why = _of_the_relay(why, trouble)
        refusals.setdefault(why, Refusal(why, trouble)).replies[attempt.envelope[address]] = trouble.reply
    return list(refusals.values())


def _of_the_relay(why: Classification, trouble: DeliveryFailure) -> Classification:
    """The platform's own relay has no administrator who could resume it: it cools down, and the log says so."""
    if why.action is Action.SUSPEND:
        log.error("relay.refused", reason=why.reason.value, detail=trouble.detail)
        return Classification(why.reason, Scope.PLATFORM, Action.PAUSE, _RELAY_PAUSE_S, why.remedy)
    return replace(why, scope=Scope.PLATFORM) if why.scope is Scope.MAILBOX else why


def without_utf8(attempt: Attempt, transmission: Transmission) -> LetterContext | None:
    """The letter without recipients whose addresses need SMTPUTF8 (RFC 6531), when the lack of it caused the refusal.

    None when the cause was another, when no recipient would be left, or when the letter needs the extension anyway.
    The others' copies do not name such an address either: a header field with it could not be sent.
    """
    troubles = transmission.refused.values()
    if not troubles or any(trouble.fault is not FailureKind.NO_SMTPUTF8 for trouble in troubles):
        return None
    letter, planned = attempt.letter, attempt.letter.planned
    recipients = letter.context.event.data.recipients
    named = tuple(p for p in planned.named if not parse_address(recipients[p].address).needs_smtputf8)
    envelope = tuple(p for p in planned.envelope if p in named)
    if not envelope or named == planned.named:
        return None
    return replace(letter, planned=replace(planned, named=named, envelope=envelope))


def refused_beside(attempt: Attempt, transmission: Transmission, narrower: LetterContext) -> Transmission:
    """The refusals of only those recipients that are not in the narrower letter."""
    kept = set(narrower.positions)
    refused = {a: trouble for a, trouble in transmission.refused.items() if attempt.envelope[a] not in kept}
    return replace(transmission, refused=refused)


def suspension_of(context: EventContext, slot: MailboxSlot, refusal: Refusal, at: datetime) -> Suspension:
    """The suspension that follows from a refusal; people see it for as long as it lasts."""
    mailbox, reply = context.sender.mailbox, refusal.trouble.reply
    return Suspension(
        key=slot.key,
        revision=slot.revision,
        reason=refusal.why.reason,
        since=at,
        address=mailbox.address if mailbox else None,
        code=reply.code if reply else None,
        enhanced=reply.enhanced if reply else None,
        words=_said(reply.text) if reply else None,
        detail=_said(refusal.trouble.detail) or None,
        event_id=context.event.id,
        traceparent=context.event.traceparent,
    )


def _said(words: str) -> str:
    """The server's words on one line, with the addresses removed."""
    return _ADDRESS.sub(lambda found: masked(found[0]), one_line(words[:MAX_WORDS_CHARS]))
