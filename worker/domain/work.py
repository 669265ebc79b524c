"""One piece of work on an event, as encoded in the headers of a work-queue message.

Our own headers carry what the broker does not track reliably: attempts, age, and the recipients that still wait.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.domain.letter.model import LetterMode

ATTEMPT = "sendas-attempt"
FIRST_SEEN = "sendas-first-seen"
MODE = "sendas-mode"
RECIPIENTS = "sendas-recipients"
LAST_REASON = "sendas-last-reason"
LAST_REPLY = "sendas-last-reply"
TURN = "sendas-turn"
LANE = "sendas-lane"
SENDER_MISSING_SINCE = "sendas-sender-missing-since"
REPLAYED_DOUBT = "sendas-replay-uncertain"

MAX_ATTEMPTS = 1_000_000
_MAX_WORDS = 1_000  # headers must fit into one frame, whatever a server says


@dataclass(frozen=True, slots=True)
class Work:
    """The remaining work of an event.

    `attempts` were made already; `mode` and `recipients` (positions in the event's list) are None until planned;
    `last_reason` and `last_reply` are those of the last attempt or pause. `turn`: when a letter that waits for its busy
    mailbox is due, and `lane` is that mailbox's (`identity.lane_token`). `sender_missing_since`: since when no snapshot
    has known the sender.
    `is_replayed_doubt`: an operator replayed it although its outcome was uncertain; the ledger holds the consent.
    """

    first_seen: datetime
    attempts: int = 0
    mode: LetterMode | None = None
    recipients: tuple[int, ...] | None = None
    last_reason: str | None = None
    last_reply: str | None = None
    turn: datetime | None = None
    lane: str | None = None
    sender_missing_since: datetime | None = None
    is_replayed_doubt: bool = False

    def headers(self) -> dict[str, str | int]:
        """Encode the work as message headers."""
        headers: dict[str, str | int] = {ATTEMPT: self.attempts, FIRST_SEEN: self.first_seen.isoformat()}
        if self.mode is not None:
            headers[MODE] = self.mode.value
        if self.recipients is not None:
            headers[RECIPIENTS] = format_positions(self.recipients)
        if self.last_reason is not None:
            headers[LAST_REASON] = self.last_reason[:_MAX_WORDS]
        if self.last_reply is not None:
            headers[LAST_REPLY] = self.last_reply[:_MAX_WORDS]
        if self.turn is not None:
            headers[TURN] = self.turn.isoformat()
        if self.lane is not None:
            headers[LANE] = self.lane
        if self.sender_missing_since is not None:
            headers[SENDER_MISSING_SINCE] = self.sender_missing_since.isoformat()
        if self.is_replayed_doubt:
            headers[REPLAYED_DOUBT] = 1
        return headers


def read_work(headers: Mapping[str, object], now: datetime) -> Work:
    """Decode the work from a message's headers; a message fresh from the product has none and is first seen now.

    Raises:
        ValueError: when a header of ours is malformed, which only a hand-made message can be.
    """
    try:
        return _read_work(headers, now)
    except ValueError:  # its text may repeat the value, which would reach logs and results
        raise ValueError(
            f"a header of the work is malformed: {ATTEMPT}, {FIRST_SEEN}, {MODE} or {RECIPIENTS}"
        ) from None


def _read_work(headers: Mapping[str, object], now: datetime) -> Work:
    if FIRST_SEEN not in headers:
        return Work(first_seen=now)
    mode, recipients = headers.get(MODE), headers.get(RECIPIENTS)
    return Work(
        # A letter from the future would never be too old; workers' clocks differ, if only by moments.
        first_seen=min(_moment(headers[FIRST_SEEN]), now),
        attempts=_number(headers.get(ATTEMPT, 0)),
        mode=None if mode is None else LetterMode(str(mode)),
        recipients=None if recipients is None else parse_positions(str(recipients)),
        last_reason=_text(headers.get(LAST_REASON)),
        last_reply=_text(headers.get(LAST_REPLY)),
        turn=_moment(headers[TURN]) if TURN in headers else None,
        lane=_text(headers.get(LANE)),
        sender_missing_since=_moment(headers[SENDER_MISSING_SINCE]) if SENDER_MISSING_SINCE in headers else None,
        is_replayed_doubt=REPLAYED_DOUBT in headers,
    )


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _number(value: object) -> int:
    number = int(str(value))
    if not 0 <= number < MAX_ATTEMPTS:
        raise ValueError(f"{ATTEMPT}: not a number of attempts")
    return number


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def format_positions(positions: Iterable[int]) -> str:
    """Positions as ranges (`0-3,7`): headers must fit into one frame, whatever the number of recipients."""
    ranges: list[tuple[int, int]] = []
    for position in sorted(set(positions)):
        if ranges and ranges[-1][1] == position - 1:
            ranges[-1] = (ranges[-1][0], position)
        else:
            ranges.append((position, position))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


_MAX_POSITIONS = 10_000


def parse_positions(text: str) -> tuple[int, ...]:
    """Parse what `format_positions` wrote. Raises `ValueError` when the text is anything else."""
    positions: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = int(first), int(last if dash else first)
        if not (positions[-1] if positions else -1) < begin <= end < _MAX_POSITIONS:
            raise ValueError(f"{RECIPIENTS}: not ascending ranges of small numbers")
        positions.extend(range(begin, end + 1))
    return tuple(positions)
