"""Times in the viewer's zone, taken from a cookie that the browser or the person sets; UTC without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from starlette.requests import Request

COOKIE = "sendas_zone"


@cache
def zones() -> Sequence[str]:
    """Names of all zones, UTC first."""
    named = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix/")))
    return ("UTC", *(name for name in named if not name.startswith(("right/", "SystemV/"))))


@cache
def _known() -> frozenset[str]:
    return frozenset(zones())


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone and its name."""

    name: str
    info: tzinfo

    def show(self, moment: datetime) -> str:
        """Format a time for people, to the second, without the zone, which the page names once."""
        return moment.astimezone(self.info).strftime("%Y-%m-%d %H:%M:%S")

    def read(self, text: str) -> datetime | None:
        """Parse a time from a form: local to the zone unless it names one. None if it is invalid."""
        try:
            given = datetime.fromisoformat(text.strip())
            return (given if given.tzinfo else given.replace(tzinfo=self.info)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None


_UTC = Zone("UTC", UTC)


def zone_named(name: str | None) -> Zone:
    """The zone with this name; UTC if there is none."""
    return Zone(name, ZoneInfo(name)) if name and name != "UTC" and name in _known() else _UTC


def zone_of(request: Request) -> Zone:
    """The viewer's zone."""
    return zone_named(request.cookies.get(COOKIE))


def span(seconds: float) -> str:
    """Format a duration for people by its two largest units, such as `2 h 5 min`."""
    left = max(int(seconds), 0)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        if len(parts) == 2:
            break
    return " ".join(parts)
