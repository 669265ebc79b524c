"""Message-IDs that a server gave a letter in the place of its own, out of what it says when it accepts the letter."""

import re

from worker.domain.providers import Provider
from worker.domain.transmission import Reply

_MAX_CHARS = 300
_MESSAGE_ID = re.compile(r"<[!-;=?A-~]{1,200}@[!-;=?A-~]{1,100}>")
# Exchange says it so everywhere: "2.6.0 <id> [InternalId=…, Hostname=…] Queued mail for delivery".
_EXCHANGE = re.compile(r"\[(?:InternalId|Hostname)=", re.IGNORECASE)
_SES_ID = re.compile(r"ok:? ([0-9a-f-]{40,100})", re.IGNORECASE)
_SES_HOST = re.compile(r"email-smtp(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com")
_SES_FIRST_REGION = "us-east-1"


def rewritten_message_id(reply: Reply, own: str, provider: Provider, smtp_host: str) -> str | None:
    """The Message-ID that recipients see, angle brackets and all; None when it is the letter's own, as far as is known.

    A server's words are believed only where it is known what they mean: many name an id of their own queue.
    """
    if provider.name == "ses":
        return _of_ses(reply, smtp_host)
    if provider.keeps_message_id and not _EXCHANGE.search(reply.text):
        return None
    found = _MESSAGE_ID.search(reply.text)
    return found[0] if found and found[0] != own and len(found[0]) <= _MAX_CHARS else None


def _of_ses(reply: Reply, smtp_host: str) -> str | None:
    """SES says the part before the @; the domain is the region's (docs.aws.amazon.com/ses, header fields)."""
    found = _SES_ID.fullmatch(reply.text.strip())
    host = _SES_HOST.fullmatch(smtp_host.strip().lower().rstrip("."))
    if found is None or host is None:
        return None
    region = "email" if host[1] == _SES_FIRST_REGION else host[1]
    return f"<{found[1]}@{region}.amazonses.com>"
