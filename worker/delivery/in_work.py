"""What this process is working on: the ledger tells processes apart, not the tasks of one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class InWork:
    """Entries of the ledger, by key and position, that a task of this process works on."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, int]] = set()

    @contextmanager
    def taking(self, key: str, positions: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Those of the positions that nobody here works on; they are taken while the context lasts."""
        mine = tuple(p for p in positions if (key, p) not in self._taken)
        keys = {(key, p) for p in mine}
        self._taken |= keys
        try:
            yield mine
        finally:
            self._taken -= keys
