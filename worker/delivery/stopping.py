"""What is kept of the refusal that stops a mailbox."""

import re
from datetime import datetime

from worker.delivery.case import Case
from worker.delivery.mailbox_states import Suspension
from worker.delivery.refusals import Refusal
from worker.delivery.ways import MailboxWay
from worker.domain.addresses import masked
from worker.domain.results import MAX_WORDS_CHARS
from worker.domain.text import one_line

_ADDRESS = re.compile(r"[^\s<>\"'(),;:@]+@[\w.-]+")


def suspension_of(case: Case, way: MailboxWay, refusal: Refusal, at: datetime) -> Suspension:
    """The suspension that follows from a refusal; it is shown to people for as long as it lasts."""
    mailbox, reply = case.sender.mailbox, refusal.trouble.reply
    return Suspension(
        key=way.key,
        revision=way.revision,
        reason=refusal.why.reason,
        since=at,
        address=mailbox.address if mailbox else None,
        code=reply.code if reply else None,
        enhanced=reply.enhanced if reply else None,
        words=_said(reply.text) if reply else None,
        detail=_said(refusal.trouble.detail) or None,
        event_id=case.event.id,
        traceparent=case.event.traceparent,
    )


def _said(words: str) -> str:
    """The server's words on one line, without the addresses in them."""
    return _ADDRESS.sub(lambda found: masked(found[0]), one_line(words[:MAX_WORDS_CHARS]))
