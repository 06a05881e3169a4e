"""A worker's use over the last minutes as points of an SVG; a gap in the figures is a gap in the line. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from app.ledger.registry.samples import MinuteSample

WIDTH = 120
HEIGHT = 28
GAP_S = 100  # samples come once a minute


@dataclass(frozen=True)
class Spark:
    """Lines, each as the `points` of an SVG polyline, and the same in words."""

    lines: tuple[str, ...]
    words: str


def draw(samples: Sequence[MinuteSample], live: float | None, seconds: float, now: datetime | None = None) -> Spark:
    """The use over the last `seconds`, each 0 to 1, with the `live` figure at the right end."""
    now = (now or datetime.now(timezone.utc)).replace(second=0, microsecond=0)  # moves once a minute, as samples do
    points = [((now - s.at).total_seconds(), u) for s in samples if (u := _use(s)) is not None]
    points = [(age, use) for age, use in points if age <= seconds]
    if live is not None:
        points = [*(p for p in points if p[0] > 0), (0.0, live)]
    lines = tuple(" ".join(_point(age, use, seconds) for age, use in line) for line in _lines(points) if len(line) > 1)
    return Spark(lines, _words([use for _, use in points]))


def _use(sample: MinuteSample) -> float | None:
    return sample.load if sample.utilisation is None else sample.utilisation


def _lines(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    lines: list[list[tuple[float, float]]] = []
    for point in points:
        if lines and lines[-1][-1][0] - point[0] <= GAP_S:
            lines[-1].append(point)
        else:
            lines.append([point])
    return lines


def _point(age: float, use: float, seconds: float) -> str:
    x = WIDTH * (1 - max(0.0, age) / seconds)
    y = (HEIGHT - 3) * (1 - min(1.0, max(0.0, use))) + 1.5
    return f"{x:.1f},{y:.1f}"


def _words(uses: Sequence[float]) -> str:
    if not uses:
        return "no figures of the last 10 minutes"
    mean = sum(uses) / len(uses)
    return f"use over 10 minutes: mean {mean:.0%}, highest {max(uses):.0%}".replace("%", " %")
