"""How long an attempt has worked: the time since its beginning, without that in which its files were saved."""

from __future__ import annotations


class WorkTime:
    """The clock that a time limit is held against. Moments are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._saved_s = 0.0
        self._saving_since: float | None = None

    @property
    def saving(self) -> bool:
        """True while files are saved: silence does not count then either."""
        return self._saving_since is not None

    def begin(self, now: float) -> None:
        """Begin to count."""
        self._began = now

    def save(self, begins: bool, now: float) -> None:
        """Stop counting while files are saved, or go on. Saying it twice changes nothing."""
        self._saved_s = self.saved_s(now)
        self._saving_since = now if begins else None

    def saved_s(self, now: float) -> float:
        """How long files were saved by now."""
        return self._saved_s + (0.0 if self._saving_since is None else now - self._saving_since)

    def worked_s(self, now: float) -> float | None:
        """How long the attempt has worked by now; None when it has not begun."""
        return None if self._began is None else now - self._began - self.saved_s(now)
