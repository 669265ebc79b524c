"""What is known about some recipients of a letter, for the results that tell of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.domain.transmission import Reply


@dataclass(frozen=True, slots=True)
class Facts:
    """Which recipients (positions), and what the server said to each."""

    positions: tuple[int, ...]
    replies: Mapping[int, Reply | None] = field(default_factory=dict)
    message_id: str | None = None
    provider_message_id: str | None = None
    detail: str | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)
