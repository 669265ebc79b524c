"""What processes cost, read from the kernel."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.process import Child

_TICKS = os.sysconf("SC_CLK_TCK")


def group_cpu_s(leader: int) -> float:
    """Seconds of processor time of a process and of those in its group, as far as they live."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # proc(5): the fields after the name in parentheses; the third is the group, 12 and 13 are the times.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == leader:
                total += int(fields[11]) + int(fields[12])
    return total / _TICKS


@dataclass(frozen=True, slots=True)
class AtWork:
    """A contestant at work: how many letters it has sent until now, and its processes."""

    sent: Callable[[], int]
    children: Sequence[Child]

    def cpu_s(self) -> float:
        """Seconds of processor time that all its processes have taken until now."""
        return sum(group_cpu_s(child.pid) for child in self.children if child.pid is not None)
