"""Words about a log that people and programs read wherever it is shown. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from app.pool.status import size

ALL = "all"  # in the place of an attempt's number: the logs of all attempts, read as one
STREAM_NAMES: Mapping[str, str] = {"o": "stdout", "e": "stderr", "m": "muster"}


def stamp(at: datetime) -> str:
    """The time of a line, in UTC to the millisecond."""
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def missing(lines: int, count: int) -> str:
    """What stands in the place of lines that are not there; `count`: of their bytes."""
    noun = "line is" if lines == 1 else "lines are"
    return f"… {lines:,} {noun} missing here ({size(count)}) …"


def attempt_head(attempt: int) -> str:
    """What stands before the lines of an attempt where several are read as one."""
    return f"-- attempt {attempt}"
