"""What this process is working on: the ledger distinguishes processes, not the tasks of one."""

from collections.abc import Sequence


class InProgress:
    """Ledger entries, by key and position, that a task of this process is working on."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, int]] = set()

    def begin(self, key: str, positions: Sequence[int]) -> tuple[int, ...]:
        """Reserve and return those positions that no other task works on; they stay reserved until `end`."""
        mine = tuple([p for p in positions if (key, p) not in self._taken])
        self._taken.update((key, p) for p in mine)
        return mine

    def end(self, key: str, positions: Sequence[int]) -> None:
        """End this task's work on these positions."""
        self._taken.difference_update((key, p) for p in positions)
