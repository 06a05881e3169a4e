"""What became of an action, told once on the next page: one line for all workers whose outcome is the same.

It travels in the session's cookie, which holds 4 KB: 24 names at most, the rest as a number.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import flash

from app.actions.workers import WorkerOutcome
from app.pool.status import listed

LINES_MOST = 6
NAMES_MOST = 24


def tell(outcomes: Sequence[WorkerOutcome]) -> None:
    """Keep these outcomes for the next page."""
    if not outcomes:
        flash("No worker matches any more; nothing was done.", "wrong")
    lines = list(_alike(outcomes).items())
    names_most = max(4, NAMES_MOST // max(1, len(lines)))
    for (ok, detail), names in lines[:LINES_MOST]:
        flash(f"{listed(names, names_most)}: {detail}.", "saved" if ok else "wrong")
    untold = sum(len(names) for _, names in lines[LINES_MOST:])
    if untold:
        flash(f"Of {untold} more the page of each tells.", "wrong")


def _alike(outcomes: Sequence[WorkerOutcome]) -> dict[tuple[bool, str], list[str]]:
    """Workers' names by outcome, the bad outcomes first."""
    names: dict[tuple[bool, str], list[str]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.ok):
        names.setdefault((outcome.ok, outcome.detail), []).append(outcome.name or outcome.worker)
    return names
