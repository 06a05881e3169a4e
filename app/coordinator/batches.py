"""Batches: a large fleet is looked at part by part, so that no look takes long and no worker is left out.

A small fleet is looked at whole each time. What needs attention at once is found by hints; the batches
are the sweep that puts right what no hint named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from app.pool.model import WorkerId

WHOLE = 1_000  # workers that are looked at in a few milliseconds


class Round:
    """One pass over the workers, some at a time. A worker that leaves meanwhile is passed over."""

    def __init__(self) -> None:
        self._left: list[WorkerId] = []

    @property
    def over(self) -> bool:
        """True when nobody is left, and before the first round."""
        return not self._left

    def begin(self, workers: Iterable[WorkerId]) -> None:
        """Begin again with these workers; what was left of the round before is forgotten."""
        self._left = list(workers)

    def next(self, fleet: Mapping[WorkerId, object], size: int) -> list[WorkerId]:
        """The next `size` of the workers that are left."""
        batch, self._left = self._left[:size], self._left[size:]
        return [worker for worker in batch if worker in fleet]


class Batches:
    """The whole fleet at first; then, when asked each `every_s`, each worker within `within_s`."""

    def __init__(self, every_s: float, within_s: float) -> None:
        self._share = every_s / within_s
        self._begun = False
        self._round = Round()

    def restart(self) -> None:
        """The whole fleet is next."""
        self._begun = False

    def next(self, fleet: Mapping[WorkerId, object]) -> list[WorkerId]:
        """The workers whose turn it is now. Who joins meanwhile comes up in the next round."""
        size = max(WHOLE, math.ceil(len(fleet) * self._share))
        if not self._begun or len(fleet) <= size:
            self._begun, size = True, len(fleet)
            self._round.begin(fleet)
        elif self._round.over:
            self._round.begin(fleet)
        return self._round.next(fleet, size)
