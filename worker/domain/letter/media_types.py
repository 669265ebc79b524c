"""Media types of files (RFC 2045 section 5.1), with the parameters that programs need to read a file."""

import re

OCTET_STREAM = "application/octet-stream"
MAX_CHARS = 1_000

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,127}"
_TYPE = re.compile(rf"\s*({_WORD}/{_WORD})\s*")
_PARAMETER = re.compile(rf";\s*({_WORD})\s*=\s*(?:\"({_WORD})\"|({_WORD}))\s*")
# Text encoding and wrapping (RFC 2046, RFC 3676), a calendar's method and component (RFC 5545), a vCard's version.
_KEPT = {
    "text": frozenset({"charset", "format", "delsp", "method", "component", "version", "profile"}),
    "application": frozenset({"method", "component", "version", "profile"}),
}


def media_type(text: str) -> str:
    """The type in lower case, with the parameters that matter; an invalid one becomes `application/octet-stream`.

    So do messages and multiparts: RFC 2046 section 5.2.1 does not allow encoding them, and unencoded they could have
    lines of any length.
    """
    text = text[:MAX_CHARS]
    match = _TYPE.match(text)
    if match is None or (match.end() < len(text) and text[match.end()] != ";"):
        return OCTET_STREAM
    name = match[1].lower()
    main = name.partition("/")[0]
    if main in ("message", "multipart"):
        return OCTET_STREAM
    kept: dict[str, str] = {}
    for parameter in _PARAMETER.finditer(text, match.end()):
        attribute = parameter[1].lower()
        if attribute in _KEPT.get(main, ()):
            kept.setdefault(attribute, parameter[2] or parameter[3])
    return "; ".join([name, *(f"{attribute}={value}" for attribute, value in kept.items())])
