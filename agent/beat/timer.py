"""When main beats out of turn: something has changed of which the pool should hear before the next beat."""

from __future__ import annotations

import math
import time

APART_S = 0.1  # between two beats out of turn: jobs that last moments change what a worker has all the time
SOON_S = 0.05  # after such a change, which a claim on its way need not share the processors with


class BeatTimer:
    """The moment of the next beat out of turn; the first is due at once."""

    def __init__(self) -> None:
        self._wanted_at = 0.0
        self._last_at = -math.inf

    def within(self, seconds: float) -> None:
        """Beat within these seconds."""
        self._wanted_at = min(self._wanted_at, time.monotonic() + seconds)

    def hurry(self) -> None:
        """Beat at once, however short the last beat is ago: the pool may be waiting for just this one."""
        self._last_at = -math.inf
        self.within(0.0)

    @property
    def due_at(self) -> float:
        """When, by time.monotonic(); infinite when nothing has changed."""
        return max(self._wanted_at, self._last_at + APART_S)

    def take(self, now: float) -> bool:
        """True when a beat out of turn is due; it then counts as sent."""
        if now < self.due_at:
            return False
        self._wanted_at, self._last_at = math.inf, now
        return True
