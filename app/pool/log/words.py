"""Words about a log that people and programs read wherever it is shown. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

ALL = "all"  # in the place of an attempt's number: the logs of all attempts, read as one
STREAM_NAMES: Mapping[str, str] = {"o": "stdout", "e": "stderr", "m": "muster"}


def stamp(at: datetime) -> str:
    """The time of a line, in UTC to the millisecond."""
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def missing(lines: int, size: int) -> str:
    """What stands in the place of lines that are not there; `size` in bytes."""
    noun = "line is" if lines == 1 else "lines are"
    return f"… {lines:,} {noun} missing here ({_bytes(size)}) …"


def attempt_head(attempt: int) -> str:
    """What stands before the lines of an attempt where several are read as one."""
    return f"-- attempt {attempt}"


def _bytes(size: int) -> str:
    for unit, worth in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= worth:
            return f"{size / worth:.3g} {unit}" if size < 100 * worth else f"{size / worth:.0f} {unit}"
    return f"{size} bytes"
