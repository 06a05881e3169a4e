"""What people should look at of a result: a success whose files are empty, or missing against its workflow's habit.

Written with the result, by what the ledger knew then: what comes later makes no earlier success doubtful.
"""

from __future__ import annotations

from app.ledger.db import Ledger
from app.pool.model import FileFact
from app.pool.protocol import Report

BEFORE = 10  # successes of the workflow that are looked at
FEWEST = 3  # of which a habit can be told


def warnings(tx: Ledger, report: Report) -> list[str]:
    """Sentences on the result that this report brings; most often none. Call it in the transaction that accepts it."""
    empty = [file for file in report.files if file.size == 0]
    if empty:
        return [_empty(empty)]
    if report.files:
        return []
    row = tx.one("results_before", job=report.job, most=BEFORE)
    if row is None or row["results"] < FEWEST or row["without_files"]:
        return []
    return [f"it left no file, though the last {row['results']} successes of {row['workflow']} all did"]


def _empty(files: list[FileFact]) -> str:
    first = f"its output {files[0].name}"
    return f"{first} is empty" if len(files) == 1 else f"{first} and {len(files) - 1} more are empty"
