"""In-Reply-To and References: what puts a letter beside those it answers (RFC 5322 section 3.6.4)."""

import re
from collections.abc import Iterator

from worker.domain.events import Thread

# Deliberately wider than the grammar of msg-id, which wants an `@`: an odd Message-ID that a mail program did write
# must come back as it was, or the thread falls apart. Without white space and brackets it can do no harm. The length
# leaves room for `In-Reply-To: ` on a line of 998 characters.
_MESSAGE_ID = re.compile(r"(?=.{3,985}\Z)<[!-;=?-~]+>")

# The first says what the conversation began with, the last ones are what mail programs hold in their folders. Some
# servers refuse a letter with more than some ten kilobytes in its header.
MAX_REFERENCES = 40
MAX_REFERENCES_CHARS = 8_000


def is_message_id(text: str) -> bool:
    """True when the text can stand in a header as a Message-ID; what looks like an encoded word cannot."""
    return _MESSAGE_ID.fullmatch(text) is not None and "=?" not in text


def parent(thread: Thread) -> str | None:
    """The Message-ID of the letter that is answered, or None."""
    if thread.in_reply_to is None:
        return None
    text = thread.in_reply_to.strip(" ")
    return text if is_message_id(text) else None


def references(thread: Thread) -> list[str]:
    """The conversation's Message-IDs, oldest first and the parent last; of a long one the first and the last ones."""
    answered = parent(thread)
    first = next((text for text in _valid(thread.references) if text != answered), None)
    kept: list[str] = [] if answered is None else [answered]
    seen = {first, answered}
    chars = sum(len(text) for text in seen if text is not None)
    # Backwards and lazily, so that ten thousand references cost no more than forty.
    for text in _valid(thread.references[::-1]):
        if text in seen:
            continue
        chars += len(text)
        if len(kept) + 1 >= MAX_REFERENCES or chars > MAX_REFERENCES_CHARS:
            break
        kept.append(text)
        seen.add(text)
    if first is not None:
        kept.append(first)
    return kept[::-1]


def _valid(texts: tuple[str, ...]) -> Iterator[str]:
    return (stripped for text in texts if is_message_id(stripped := text.strip(" ")))
