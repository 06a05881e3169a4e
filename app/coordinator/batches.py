"""Whose turn it is: a large fleet is looked at in turns, so that no look takes long and nobody is left out.

A small fleet is looked at whole each time. What needs attention now is found by hints; turns are the
sweep that makes right what no hint told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from app.pool.model import WorkerId

WHOLE = 1_000  # so many at once cost a few milliseconds


class Batches:
    """Everybody at first; then, when asked each `every_s`, everybody within `within_s`, and a small fleet each time."""

    def __init__(self, every_s: float, within_s: float) -> None:
        self._share = every_s / within_s
        self._begun = False
        self._left: list[WorkerId] = []

    def restart(self) -> None:
        """Everybody is next."""
        self._begun = False

    def next(self, fleet: Mapping[WorkerId, object]) -> list[WorkerId]:
        """Those whose turn it is now. Who joins meanwhile comes up in the next round."""
        size = max(WHOLE, math.ceil(len(fleet) * self._share))
        if not self._begun or len(fleet) <= size:
            self._begun, self._left = True, []
            return list(fleet)
        if not self._left:
            self._left = list(fleet)
        turn, self._left = self._left[:size], self._left[size:]
        return [worker for worker in turn if worker in fleet]
