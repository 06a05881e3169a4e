"""Figures and times as people read them: the templates' filters. PURE but for the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from app.pool import status
from app.pool.duration import duration
from app.pool.model import Json
from app.pool.status import STANDING, JobStatus, WorkerStatus, capitalised, counted, sentence

# In a parameter's name: its value is hidden from whoever looks over a shoulder.
SECRET_WORDS = ("password", "passwd", "secret", "token", "api_key", "apikey", "credential")


def since(moment: datetime | None) -> str:
    """The time since this moment, as a duration."""
    return duration((datetime.now(timezone.utc) - moment).total_seconds()) if moment else "–"


def iso(moment: datetime) -> str:
    """A moment by RFC 3339 in UTC, as <time datetime> takes it."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(moment: datetime) -> str:
    """A moment as date and time in UTC; the browser rewrites it in its own zone."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def percent(fraction: float | None) -> str:
    """A fraction as whole percent."""
    return "–" if fraction is None else f"{round(100 * fraction)} %"


def gib(mebibytes: float | None) -> str:
    """Memory in GiB: one decimal below ten."""
    if mebibytes is None:
        return "–"
    size = mebibytes / 1024
    return f"{size:.1f}" if 0 < size < 9.95 else f"{size:.0f}"


def number(value: float | None) -> str:
    """A number with all its digits; nothing for None."""
    return "" if value is None else status.number(value)


def parameter(value: Json, name: str) -> str:
    """A parameter's value, unless its name says that it is a secret."""
    if value is None:
        return "–"
    if any(word in name.lower() for word in SECRET_WORDS):
        return "•••••• (hidden)"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def short(id_: str) -> str:
    """The first letters of an id, enough to tell two workers of one name apart."""
    return id_[:6]


FILTERS: dict[str, Callable[..., Any]] = {
    "duration": duration,
    "since": since,
    "iso": iso,
    "clock": clock,
    "percent": percent,
    "gib": gib,
    "size": lambda count: status.size(count or 0),
    "number": number,
    "parameter": parameter,
    "short": short,
    "counted": counted,
    "capitalised": capitalised,
    "sentence": sentence,
}
# What templates decide by.
GLOBALS: dict[str, Any] = {"JobStatus": JobStatus, "WorkerStatus": WorkerStatus, "STANDING": STANDING}
