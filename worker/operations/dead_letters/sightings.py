"""Whether filters are right: a value that nothing has is refused, with the values there are.

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
    """What was seen of a selection's filters in a look at the whole queue.

    Args:
        selection: the filters.
        topology: names the queues that letters can die in.
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
        """Note a letter, whether or not it is meant."""
        self._census.add(letter)
        for name in [name for name, value in self._unseen.items() if FACETS[name](letter) == value]:
            del self._unseen[name]
        if self._is_digest_unseen and letter.digest.startswith(self._selection.digest or ""):
            self._is_digest_unseen = False

    def complaint(self) -> str | None:
        """What is wrong with a filter, when the selection matched nothing: no letter has its value, and none could.

        A value of a closed list may be had by no letter now; and where there is no letter, only a closed list says no.
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
        """How many letters there are at all, for an answer that is empty."""
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
