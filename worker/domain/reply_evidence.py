"""What of a reply's text is evidence: the server's own words, without the names that it repeats.

A reply quotes addresses, hosts and URLs, and those are chosen by customers and recipients: `<no-spam@…>: User unknown`
says nothing about spam. They are taken out wherever they stand, so that the words around them are read as one
sentence. The work is proportional to the text's length, which the caller bounds.
"""

import re

_URL = re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.|mailto:)[^\s<>\"]+", re.IGNORECASE)
_BRACKETED = re.compile(r"<[^<>]*>")
_QUOTED_LOCAL_PART = re.compile(r'"[^"<>]*"@[^\s<>"]+')
_PIECE = re.compile(r"[^\s<>()\[\]{},;\"'|=:]+(?::\d{1,5}(?!\S))?")
# A label that is all lower case ends a host name: identifiers such as `RESOLVER.ADR.RecipNotFound` are words of the
# server. Some servers forget the space between two sentences.
_HOST = re.compile(
    r"(?:[A-Za-z0-9_-]{1,63}\.){1,20}"
    r"(?!(?:please|try|contact|see|visit|the|this|your|you|message|for|if|more|error|learn|retry|wait|sorry)\b)"
    r"(?:xn--[a-z0-9-]{1,59}|[a-z]{2,24})(?:/.*|[.!?]+|:\d{1,5})?"
)
_KEY_WITHOUT_VALUE = re.compile(r"(?<![\w.-])[\w.-]{1,30}=(?![^\s)>\],;])")
_LONE_PUNCTUATION = re.compile(r"(?<!\S)[:;,\"'()\[\]{}=|]+(?!\S)")


def evidence(text: str) -> str:
    """The text without addresses, host names, URLs and whatever stands in angle brackets."""
    for named in (_URL, _BRACKETED, _QUOTED_LOCAL_PART):
        text = named.sub(" ", text)
    text = _PIECE.sub(_without_names, text)
    text = _KEY_WITHOUT_VALUE.sub("", text)
    return " ".join(_LONE_PUNCTUATION.sub(" ", text).split())


def _without_names(piece: re.Match[str]) -> str:
    return "" if "@" in piece[0] or _HOST.fullmatch(piece[0]) else piece[0]
