"""How long a server's reply asks to wait."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

from worker.domain.failure.judgements import DAY, HOUR, MINUTE

MIN_PAUSE_S = 30
MAX_PAUSE_S = DAY

# Only after words that ask to wait: other times in a reply belong to a limit, such as "100 messages in 60 seconds".
_CUE = (
    r"(?:\b(?:again|wait|retry|back|listed|after|blocked|paused|locked|reset|resets|until|till|resumes?|available|lifted"
    r"|expires?|suspended for|unblocked|(?:re-?)?enabled|attends|patientez|riprovare|erneut|warten|nach|ponownie"
    r"|odczekaj|znovu)\b"
    r"|через|повтор\w{0,10}|подожд\w{0,6}|请.{0,4}|后重试)"
)
_UNITS: Mapping[str, int] = MappingProxyType(
    {
        r"s(?:ec(?:ond)?s?)?|sekunden?|secondes?|segundos?|secondi?|сек\w*|秒": 1,
        r"m(?:in(?:ute)?s?)?|minuten|minut[aiosy]?|мин\w*|分钟?": MINUTE,
        r"h(?:(?:ou)?rs?)?|stunden?|heures?|horas?|or[ae]|godzin\w?|hodin\w?|час\w*|小时|時間": HOUR,
        r"days?|d|tag(?:en?)?|jours?|d[ií]as?|giorn[io]|dni|dn[íůy]|д(?:ень|ня|ней)|天": DAY,
    }
)
_UNIT = "|".join(f"(?P<u{seconds}>{names})" for names, seconds in _UNITS.items())
_AMOUNT = rf"(?P<number>\d{{1,6}}(?:[.,]\d{{1,4}})?)[ -]?(?:{_UNIT})(?![a-zа-я])"
_CUES = re.compile(_CUE, re.IGNORECASE)
_BETWEEN = re.compile(r"\D{0,30}")
_THOUSANDS = re.compile(r"\d{1,3},\d{3}")
_ONE = re.compile(_AMOUNT, re.IGNORECASE)
_JOINT = re.compile(r",? ?(?:and|und|et|e|y|i|и)? ?", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2}):(\d\d):(\d\d)(?![\d:])")
_BARE_SECONDS = re.compile(r"\bretry[- ]after:? ?(\d{1,6})\b(?![.,:/-]?\d)", re.IGNORECASE)
_IN_WORDS = re.compile(
    r"\b(?:in|for|after|within|wait) (?:about )?(?:(?P<half>half an hour)|(?:an|one) (?:(?P<hour>hour)|(?P<day>day)))\b"
    r"|\b(?P<tomorrow>try (?:again )?tomorrow|again tomorrow|until tomorrow)\b",
    re.IGNORECASE,
)
_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d(?::\d\d)?)(?:\.\d{1,9})? ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?"
    r"|(?P<as_in_mail>\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d(?: (?:GMT|UTC|[+-]\d{4}))?)"  # RFC 5322 section 3.3
)


def stated_pause_s(words: str, now: datetime | None = None) -> int | None:
    """The wait that the words ask for, in seconds and within bounds; None when they ask for none.

    A moment ("until 2026-11-29T10:00:00Z") counts only where `now` is known; one without a zone is taken for UTC.
    """
    seconds = _duration_s(words)
    if seconds is None and now is not None:
        seconds = _until_moment_s(words, now)
    return None if seconds is None else max(MIN_PAUSE_S, min(round(seconds), MAX_PAUSE_S))


def _duration_s(words: str) -> float | None:
    for cue in _CUES.finditer(words):
        between = _BETWEEN.match(words, cue.end())
        seconds = _sum_s(words, between.end() if between else cue.end())
        if seconds is not None:
            return seconds
    if found := _BARE_SECONDS.search(words):
        return float(found[1])
    if found := _IN_WORDS.search(words):
        return HOUR / 2 if found["half"] else HOUR if found["hour"] else DAY
    return None


def _sum_s(words: str, at: int) -> float | None:
    """The duration written here, such as `1 hour 30 minutes`, `3.43 hours` or `00:05:00`."""
    if clock := _CLOCK.match(words, at):
        return int(clock[1]) * HOUR + int(clock[2]) * MINUTE + int(clock[3])
    seconds, part = None, _ONE.match(words, at)
    while part is not None:
        seconds = (seconds or 0.0) + _number(part["number"]) * _unit_s(part)
        joint = _JOINT.match(words, part.end())
        part = _ONE.match(words, joint.end() if joint else part.end())
    return seconds


def _number(text: str) -> float:
    return float(text.replace(",", "" if _THOUSANDS.fullmatch(text) else "."))


def _unit_s(part: re.Match[str]) -> int:
    return next(seconds for seconds in _UNITS.values() if part[f"u{seconds}"])


def _until_moment_s(words: str, now: datetime) -> float | None:
    for cue in _CUES.finditer(words):
        found = _MOMENT.search(words, cue.end(), cue.end() + 60)
        if found is None:
            continue
        try:
            moment = _moment(found)
        except ValueError:  # no such day or hour
            continue
        left_s = (moment - now).total_seconds()
        return left_s if left_s > 0 else None
    return None


def _moment(found: re.Match[str]) -> datetime:
    if found["as_in_mail"]:
        moment = parsedate_to_datetime(found["as_in_mail"])
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.fromisoformat(f"{found['date']}T{found['time']}{_offset(found['zone'])}")


def _offset(zone: str | None) -> str:
    return "+00:00" if zone in (None, "Z", "UTC", "GMT") else str(zone)
