"""Reading SMTP replies (RFC 5321 section 4.2, RFC 2034)."""

import re

from worker.domain.text import one_line
from worker.domain.transmission import Reply

_CODE = re.compile(r"([2-5][0-9]{2})(?:[ -]|$)")
_DIGIT = re.compile(r"[2-5]")
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s|$)")
_MAX_TEXT = 1_000


def parse_reply(text: str) -> Reply:
    """Parse a complete reply, on one line or several.

    A malformed code counts by its first digit (RFC 5321 section 4.3.2): it becomes that digit and two zeros.

    Raises:
        ValueError: when it does not even begin with a digit from 2 to 5.
    """
    lines = [line.strip() for line in text.strip().splitlines()] or [""]
    code = _CODE.match(lines[0])
    if code is not None:
        texts = [line[4:] if _CODE.match(line) and line[:3] == code[1] else line for line in lines]
        return make_reply(int(code[1]), texts)
    digit = _DIGIT.match(lines[0])
    if digit is None:
        raise ValueError("a reply begins with a three-digit code from 200 to 599")
    return make_reply(int(digit[0]) * 100, lines)


def make_reply(code: int, texts: list[str]) -> Reply:
    """A reply from its code and the texts of its lines; removes the enhanced code from each line.

    An enhanced code whose class contradicts the code is no enhanced code (RFC 2034 section 4) and stays in the text.
    """
    enhanced = None
    cleaned = []
    for text in texts:
        text = text.strip()
        found = _ENHANCED.match(text)
        if found and found[1][0] == str(code)[0]:
            enhanced = enhanced or found[1]
            text = text[found.end() :]
        cleaned.append(text)
    return Reply(code, enhanced, one_line(" ".join(cleaned)[: 4 * _MAX_TEXT])[:_MAX_TEXT].rstrip())


_URL = re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.|mailto:)[^\s<>\"]+", re.IGNORECASE)
_BRACKETED = re.compile(r"<[^<>]*>")
_QUOTED_LOCAL_PART = re.compile(r'"[^"<>]*"@[^\s<>"]+')
_PIECE = re.compile(r"[^\s<>()\[\]{},;\"'|=:]+(?::\d{1,5}(?!\S))?")
# An all-lower-case label ends a host name: identifiers such as `RESOLVER.ADR.RecipNotFound` are the server's words.
# Some servers omit the space between two sentences.
_HOST = re.compile(
    r"(?:[A-Za-z0-9_-]{1,63}\.){1,20}"
    r"(?!(?:please|try|contact|see|visit|the|this|your|you|message|for|if|more|error|learn|retry|wait|sorry)\b)"
    r"(?:xn--[a-z0-9-]{1,59}|[a-z]{2,24})(?:/.*|[.!?]+|:\d{1,5})?"
)
_KEY_WITHOUT_VALUE = re.compile(r"(?<![\w.-])[\w.-]{1,30}=(?![^\s)>\],;])")
_LONE_PUNCTUATION = re.compile(r"(?<!\S)[:;,\"'()\[\]{}=|]+(?!\S)")


def evidence(text: str) -> str:
    """The text without addresses, host names, URLs and anything in angle brackets."""
    for named in (_URL, _BRACKETED, _QUOTED_LOCAL_PART):
        text = named.sub(" ", text)
    text = _PIECE.sub(_without_names, text)
    text = _KEY_WITHOUT_VALUE.sub("", text)
    return " ".join(_LONE_PUNCTUATION.sub(" ", text).split())


def _without_names(piece: re.Match[str]) -> str:
    return "" if "@" in piece[0] or _HOST.fullmatch(piece[0]) else piece[0]
