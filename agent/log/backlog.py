"""The backlog: which portions wait in the spool, whose turn it is, and which of them go when there are too many."""

from __future__ import annotations

from collections.abc import Iterable

from agent.log.spool import Portion
from app.pool.model import JobId

LogOf = tuple[JobId, int]


class Backlog:
    """The portions that wait, oldest first for each attempt; attempts take turns."""

    def __init__(self) -> None:
        self._waiting: dict[LogOf, list[Portion]] = {}  # the first attempt is next
        self._known: dict[LogOf, int] = {}  # the highest number that was added
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, portions: Iterable[Portion]) -> None:
        """Add an attempt's portions in their order; harmless for those that were added before."""
        for portion in portions:
            whose = (portion.job, portion.attempt)
            if portion.head.number > self._known.get(whose, 0):
                self._known[whose] = portion.head.number
                self._waiting.setdefault(whose, []).append(portion)
                self.bytes += portion.size

    def waits(self, whose: LogOf) -> bool:
        """True when portions of this attempt wait."""
        return whose in self._waiting

    def forget(self, whose: LogOf) -> None:
        """Forget an attempt of which nothing waits and nothing more will come."""
        self._known.pop(whose, None)

    def next(self) -> Portion:
        """The portion whose turn it is; after that it is another attempt's. One must wait."""
        whose = next(iter(self._waiting))
        self._waiting[whose] = waiting = self._waiting.pop(whose)
        return waiting[0]

    def remove(self, portion: Portion) -> None:
        """Take a portion out that waits."""
        whose = (portion.job, portion.attempt)
        self._waiting[whose].remove(portion)
        self.bytes -= portion.size
        if not self._waiting[whose]:
            del self._waiting[whose]

    def least_missed(self) -> Portion:
        """A portion in the middle of the attempt of which most waits; it must be there.

        A log's beginning tells how its program was set up, its end why it failed: of two portions the first one goes.
        """
        largest = max(self._waiting.values(), key=lambda waiting: sum(portion.size for portion in waiting))
        return largest[(len(largest) - 1) // 2]
