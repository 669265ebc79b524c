"""An in-memory DNS server."""

from collections import defaultdict

from worker.domain.probe import Lookup, LookupOutcome, RecordType


class TableNameServer:
    """Answers from a table; unknown names do not exist. Counts queries."""

    def __init__(self, *records: tuple[str, str, str]) -> None:
        self._records: defaultdict[str, defaultdict[RecordType, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.failing: set[str] = set()
        self.asked: list[tuple[str, RecordType]] = []
        for name, kind, value in records:
            self.add(name, kind, value)

    def add(self, name: str, kind: str, value: str) -> None:
        """Add a record; hosts of MX and PTR records get the root dot, as from DNS."""
        is_name = kind in ("MX", "PTR") and not value.endswith(".")
        self._records[name.lower()][RecordType(kind)].append(value + "." if is_name else value)

    async def ask(self, name: str, kind: RecordType) -> Lookup:
        """See `NameServer`."""
        self.asked.append((name, kind))
        wanted = name.lower().rstrip(".")
        if wanted in self.failing:
            return Lookup(LookupOutcome.FAILED)
        if wanted not in self._records:
            return Lookup(LookupOutcome.NO_NAME)
        found = tuple(self._records[wanted][kind])
        return Lookup(LookupOutcome.FOUND, found) if found else Lookup(LookupOutcome.NO_RECORDS)
