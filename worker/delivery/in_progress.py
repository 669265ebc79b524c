"""What this process is working on: the ledger tells processes apart, not the tasks of one."""

from collections.abc import Sequence


class InProgress:
    """Entries of the ledger, by key and position, that a task of this process works on."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, int]] = set()

    def begin(self, key: str, positions: Sequence[int]) -> tuple[int, ...]:
        """Those of the positions that no other task works on; they are this one's until `end`."""
        mine = tuple([p for p in positions if (key, p) not in self._taken])
        self._taken.update((key, p) for p in mine)
        return mine

    def end(self, key: str, positions: Sequence[int]) -> None:
        """This task works on these no longer."""
        self._taken.difference_update((key, p) for p in positions)
