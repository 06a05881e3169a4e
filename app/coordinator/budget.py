"""Time budgets: what one thing may take of a step of the leader, so that the others have their turn."""

from __future__ import annotations

from collections.abc import Callable

DISPATCH_S = 1.0  # placing; then reports and health come first again
LOOK_S = 0.05  # whatever else looks at the fleet for jobs that wait


class Budget:
    """So many seconds from now on, by a monotonic clock."""

    def __init__(self, now: Callable[[], float], seconds: float) -> None:
        self._now = now
        self.began = now()
        self._until = self.began + seconds

    @property
    def is_spent(self) -> bool:
        """True once the time is over."""
        return self._now() > self._until

    @property
    def used_s(self) -> float:
        """Seconds since the budget began."""
        return self._now() - self.began
