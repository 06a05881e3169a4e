"""Durations, and work that was lost in them, as people read them."""

from __future__ import annotations

from app.pool.status import counted


def duration(seconds: float | None) -> str:
    """The duration in its two largest units, rounded down: 42 s, 12 min, 3 h 05 min, 2 d 4 h; a dash for None."""
    if seconds is None:
        return "–"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def lost_work(seconds: float | None, steps: int | None = None) -> str:
    """The work since the last checkpoint, also in steps where its workflow counts them: "12 s, 15 steps of work".

    Nothing where it is less than a second and no step.
    """
    parts = [duration(seconds)] if seconds and seconds >= 1 else []
    parts += [counted(steps, "step")] if steps else []
    return f"{', '.join(parts)} of work" if parts else ""
