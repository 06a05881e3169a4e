"""Figures of a run: durations, percentiles, a table for people, JSON for the next comparison."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

T = TypeVar("T")
FOLDER = Path("build/bench")


def timed(act: Callable[[], T]) -> tuple[float, T]:
    """How many seconds it took, and its answer."""
    began = time.perf_counter()
    answer = act()
    return time.perf_counter() - began, answer


def percentile(values: Sequence[float], share: float) -> float:
    """The value up to which this share (0 to 1) of the values lies; the nearest rank."""
    rank = math.ceil(round(share * len(values), 6))  # 0.07 * 100 is more than 7
    return sorted(values)[max(0, rank - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Count, least, median, 99th percentile, most."""
    return {
        "n": len(values),
        "min": min(values),
        "p50": statistics.median(values),
        "p99": percentile(values, 0.99),
        "max": max(values),
    }


def circumstances() -> dict[str, Any]:
    """When and on what something was measured."""
    return {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def publish(name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], facts: Any = None) -> None:
    """Print the table and write it, with what it was measured on, to build/bench/<name>.json."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*[_shown(cell) for cell in row])
    Console(width=140).print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({**circumstances(), "columns": columns, "rows": rows, "facts": facts}, indent=1) + "\n")
    print(f"written to {path}; repeat: {' '.join(['python -m', f'bench.{Path(sys.argv[0]).stem}', *sys.argv[1:]])}")


def _shown(cell: Any) -> str:
    if cell is None:
        return "–"
    return (
        f"{cell:,.3g}"
        if isinstance(cell, float) and abs(cell) < 1000
        else f"{cell:,.0f}"
        if isinstance(cell, float)
        else str(cell)
    )
