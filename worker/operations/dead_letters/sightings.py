"""Checks filters: a value that no letter has is refused, with the values that exist.

An operator who mistypes an account must not read "nothing there" and go back to sleep.
"""

import difflib
from collections.abc import Collection, Mapping

from worker.domain.topology import Topology
from worker.domain.vocabulary import EventType, Reason
from worker.operations.dead_letters.death import BROKERS_REASONS, UNKNOWN
from worker.operations.dead_letters.filter import FACETS, OTHER, FacetCounts, Selection
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.terminal import printable_line

_SHOWN = 20
_SHOWN_CHARS = 80


class Sightings:
    """Values seen for a selection's filters during a scan of the whole queue.

    Args:
        selection: the filters.
        topology: names the queues where letters can die.
    """

    def __init__(self, selection: Selection, topology: Topology) -> None:
        self._selection = selection
        self._census = FacetCounts()
        self._unseen = selection.facets()
        self._is_digest_unseen = selection.digest is not None
        self._closed: Mapping[str, Collection[str]] = {
            "reason": (*Reason, *BROKERS_REASONS, UNKNOWN),
            "type": (*EventType, UNKNOWN),
            "queue": (*topology.work_queues, UNKNOWN),
        }

    def add(self, letter: DeadLetter) -> None:
        """Record a letter, whether or not the selection matches it."""
        self._census.add(letter)
        for name in [name for name, value in self._unseen.items() if FACETS[name](letter) == value]:
            del self._unseen[name]
        if self._is_digest_unseen and letter.digest.startswith(self._selection.digest or ""):
            self._is_digest_unseen = False

    def complaint(self) -> str | None:
        """The problem with a filter, if nothing matched: no letter has its value.

        A value from a closed list is valid even if no letter has it now. An empty queue has only closed lists checked.
        """
        for name, value in self._unseen.items():
            closed = self._closed.get(name)
            if (closed is not None and value not in closed) or (closed is None and self._census.total):
                option = f"--{name.replace('_', '-')}"
                return f"{option}: no dead letter has {_shown(value)!r}; {self._values(name, value)}"
        if self._is_digest_unseen and self._census.total:
            return f"--digest: no dead letter has one that begins with {self._selection.digest}; `list` shows them"
        position, total = self._selection.position, self._census.total
        if position is not None and position > total > 0:
            return f"--position: there are {total} dead letters"
        return None

    def summary(self) -> str:
        """Total number of letters, to accompany an empty answer."""
        census = self._census
        if not census.total:
            return "there are no dead letters"
        return f"none of the {census.total} dead letters matches{census.times()}"

    def _values(self, name: str, wanted: str) -> str:
        counts = self._census.counts[name]
        if not counts:
            known = self._closed.get(name)
            return f"there can be: {', '.join(known)}" if known else "there is none at all"
        near = difflib.get_close_matches(wanted, counts, n=3)
        first = [*near, *(value for value, _ in counts.most_common(_SHOWN) if value not in near)][:_SHOWN]
        left = len(counts) - len(first)
        more = f", and {'many' if OTHER in counts else left} more" if left > 0 else ""
        return "there are: " + ", ".join(f"{_shown(value)} ({counts[value]})" for value in first) + more


def _shown(value: str) -> str:
    return printable_line(value[:_SHOWN_CHARS])
