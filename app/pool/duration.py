"""Durations as people read them."""

from __future__ import annotations


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
