"""How busy the host's processors are, from /proc/stat."""

from __future__ import annotations

from pathlib import Path

STAT = Path("/proc/stat")


class Cpu:
    """The meter of the host's processors."""

    def __init__(self) -> None:
        self._last = _times()

    def use(self) -> float | None:
        """The share of processor time (0 to 1) that was used since the last call; None where nobody says."""
        now = _times()
        if now is None or self._last is None:
            return None
        total, idle = now[0] - self._last[0], now[1] - self._last[1]
        if total < 100:  # ticks: a second of one processor; too short a time says nothing
            return self._value
        self._last = now
        # The kernel's count of waiting for devices may go back: then idle time is less than none, or more than all.
        self._value = round(min(1.0, max(0.0, 1 - idle / total)), 3)
        return self._value

    _value: float | None = None


def _times() -> tuple[int, int] | None:
    """(all ticks, idle ticks) since boot."""
    try:
        fields = [int(field) for field in STAT.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return sum(fields), fields[3] + fields[4]
